"""Tracebacks for the person who writes a service: their own frames, escaped."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon.observe.faults import AGAIN_SECONDS, INDENT, FaultPrinter, readable
from antiphon.printable import printable
from antiphon.server.handler.guard import call

SHOP = """
import json
from antiphon.printable import printable

def answer(message):
    return price(message)

def price(message):
    if message == "ours":
        return printable(5)
    if message == "library":
        return json.loads("{")
    try:
        raise KeyError(message)
    except KeyError as error:
        raise ValueError("no\\n price for " + message) from error
"""


@pytest.fixture
def answer(tmp_path: Path) -> Callable[[str], str]:
    file = tmp_path / "shop.py"
    file.write_text(SHOP, "utf-8")
    names: dict[str, Any] = {}
    exec(compile(SHOP, str(file), "exec"), names)
    return names["answer"]  # type: ignore[no-any-return]


def fault(answer: Callable[[str], str], message: str) -> BaseException:
    with pytest.raises(Exception) as raised:
        call(answer, message)
    return raised.value


def places(text: str) -> list[str]:
    return [line.rpartition(" in ")[2] for line in text.splitlines() if line.startswith("  File ")]


def test_a_traceback_shows_the_frames_of_the_user(answer: Callable[[str], str]) -> None:
    text = readable(fault(answer, "ours"))
    assert places(text)[-2:] == ["answer", "price"]
    assert "antiphon/" not in text
    assert text.splitlines()[-1].startswith("TypeError: ") or text.splitlines()[-1].startswith("AttributeError: ")


def test_frames_of_other_libraries_below_stay(answer: Callable[[str], str]) -> None:
    text = readable(fault(answer, "library"))
    assert json.decoder.__file__ in text
    assert text.splitlines()[-1].startswith("json.decoder.JSONDecodeError: ")


def test_causes_are_shown_and_nothing_in_a_message_acts_on_the_terminal(answer: Callable[[str], str]) -> None:
    lines = readable(fault(answer, "\x1b[2J\r")).splitlines()
    assert "KeyError: '\\x1b[2J\\r'" in lines
    assert lines[-2:] == ["ValueError: no", f"{INDENT} price for \\x1b[2J\\r"]
    assert "The above exception was the direct cause of the following exception:" in lines


def test_messages_are_red_where_colours_are_wanted(answer: Callable[[str], str]) -> None:
    error = fault(answer, "x")
    assert readable(error, colour=True).count("\x1b[31m") == 3
    assert "\x1b" not in readable(error)


def test_an_error_without_a_frame_of_the_user_is_one_line() -> None:
    with pytest.raises(AttributeError) as raised:
        call(printable, 5)
    error = raised.value.with_traceback(raised.tb.tb_next)  # without this test
    assert readable(error) == f"AttributeError: {error}"


def test_the_errors_of_a_group_are_shown() -> None:
    assert "ValueError: two" in readable(ExceptionGroup("all", [ValueError("one"), ValueError("two")]))


def test_equal_faults_at_once_are_counted(
    answer: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    printer = FaultPrinter("en", lambda: now)
    for _ in range(5):
        printer(fault(answer, "x"))
    assert capsys.readouterr().err.count("Traceback") == 2, "a cause and what it led to"
    now += AGAIN_SECONDS
    printer(fault(answer, "x"))
    printer(fault(answer, "ours"))
    told = capsys.readouterr().err
    assert told.startswith("The last error came 4 more times.\nTraceback")
    assert told.count("Traceback") == 3
