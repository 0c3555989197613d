"""Tests of the prompts, in memory."""

import asyncio
import io

import pytest
from prompt_toolkit import PromptSession
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.output.vt100 import Vt100_Output

from antiphon.terminal.prompt import Reflow

ASKS_FOR_CURSOR = "\x1b[6n"


class Paper(io.StringIO):
    """What a terminal has been sent."""

    def isatty(self) -> bool:
        return True


class Shrinking:
    """Columns of a terminal that become fewer right after somebody has looked."""

    def __init__(self) -> None:
        self.columns = 80
        self.shrinks = False

    def __call__(self) -> Size:
        seen = Size(rows=24, columns=self.columns)
        if self.shrinks:
            self.columns = 40
        return seen


async def test_a_width_that_changes_while_a_line_is_drawn_is_asked_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PROMPT_TOOLKIT_NO_CPR", raising=False)
    size, out, keys = Shrinking(), Paper(), KeyBindings()
    with create_pipe_input() as keyboard:
        session: PromptSession[str] = PromptSession(
            input=keyboard, output=Vt100_Output(out, size, enable_cpr=True), key_bindings=keys
        )
        Reflow(session.app).follow(keys)
        answer = asyncio.create_task(session.prompt_async("ann> "))
        while ASKS_FOR_CURSOR not in out.getvalue():
            await asyncio.sleep(0)
        keyboard.send_text("\x1b[9;1R" + "x" * 60)
        while out.getvalue().count("x") < 60:
            await asyncio.sleep(0)
        drawn = len(out.getvalue())
        size.shrinks = True
        session.app._redraw()
        session.app._redraw()
        assert ASKS_FOR_CURSOR in out.getvalue()[drawn:]
        keyboard.send_text("\x1b[10;26R\r")  # 65 columns are a row of 40 and one of 25
        assert await answer == "x" * 60
        assert "\x1b[A" in out.getvalue()[drawn:].partition("\x1b[J")[0]
