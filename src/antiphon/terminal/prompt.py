"""Prompts of prompt-toolkit, made fit for people who interrupt a line or change the width of their terminal.

Import this module only when a prompt is shown: prompt-toolkit takes 0.1 s to load.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.application import Application, get_app
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout.screen import Screen
from prompt_toolkit.output import create_output
from prompt_toolkit.renderer import CPR_Support

PATIENCE = 1.0
"""Seconds to wait for the terminal's answer where the cursor is."""
PAUSE = 0.05
"""Seconds until the terminal is asked again while its width goes on changing."""
ASKED_MOST = 10
"""Questions until the line is drawn in any case."""


def prompt_session(stream: TextIO | None = None, *, clears: bool = False) -> "PromptSession[str]":
    """Return a prompt on `stream`, by default standard output.

    With `clears`, Ctrl-C clears a half-typed line, and interrupts only on an empty one, as in a shell.
    """
    keys = KeyBindings()
    if clears:
        keys.add("c-c", filter=Condition(_line_is_begun) & ~is_searching)(_clear_line)
    session: PromptSession[str] = PromptSession(
        output=None if stream is None else create_output(stdout=stream), key_bindings=keys
    )
    Reflow(session.app).follow(keys)
    return session


def _line_is_begun() -> bool:
    return bool(get_app().current_buffer.text)


def _clear_line(event: KeyPressEvent) -> None:
    event.current_buffer.reset()


class Reflow:
    """Erases the copy of a typed line that a terminal leaves above it when it becomes narrower.

    Many terminals reflow: a row that is longer than the new width becomes two. prompt-toolkit then erases as many
    rows as it has drawn, which are too few. Other terminals cut such a row, and their rows above must not be
    touched. The column of the cursor tells which of the two has happened.
    """

    def __init__(self, app: "Application[str]") -> None:
        """Follow the changes of size of `app`, which has not been run yet. There is no public way to do that."""
        self._app = app
        self._draw_anew: Callable[[], None] = app._on_resize  # noqa: SLF001
        self._draw: Callable[[bool], None] = app._redraw  # noqa: SLF001
        app._on_resize = self._resized  # type: ignore[method-assign] # noqa: SLF001
        app._redraw = self._redrawn  # type: ignore[method-assign] # noqa: SLF001
        self._waits_for: tuple[Screen, int] | None = None
        """What is drawn, and the new width, while the terminal is asked for the cursor; nothing is drawn then."""
        self._earlier = 0
        """Answers that the renderer has asked for before."""
        self._asked = 0
        """Questions for the cursor since the size began to change."""
        self._reflows = False
        """The terminal has been seen to reflow."""

    def follow(self, keys: KeyBindings) -> None:
        """Receive the terminal's answers as a key of `keys`."""
        keys.add(Keys.CPRResponse, save_before=lambda _: False)(self._answered)

    def _redrawn(self, render_as_done: bool = False) -> None:  # noqa: FBT001, FBT002 - as prompt-toolkit calls it
        """Draw, but not over what a change of size has left: the signal that tells of it may come later."""
        if render_as_done:
            self._draw(True)  # noqa: FBT003
            return
        with self._one_size():
            if self._waits_for is None and not self._ask():
                self._draw(False)  # noqa: FBT003

    @contextlib.contextmanager
    def _one_size(self) -> Iterator[None]:
        """Have all in the block see the same size: it may change between the question and the drawing."""
        output, size = self._app.output, self._app.output.get_size()
        asks = output.get_size
        output.get_size = lambda: size  # type: ignore[method-assign]
        try:
            yield
        finally:
            output.get_size = asks  # type: ignore[method-assign]

    def _resized(self) -> None:
        """Draw the line anew; first ask for the cursor where a reflow would have moved it.

        prompt-toolkit notices each change twice, by a signal and by looking twice a second. The second time there
        is nothing to do.
        """
        if self._app.renderer._last_size == self._app.output.get_size():  # noqa: SLF001
            return
        if self._waits_for is None and not self._ask():
            self._draw_anew()

    def _ask(self) -> bool:
        """Ask the terminal for the cursor if it may have reflowed; return whether an answer is awaited."""
        renderer, columns = self._app.renderer, self._app.output.get_size().columns
        screen, drawn_for = renderer.last_rendered_screen, renderer._last_size  # noqa: SLF001
        if (
            screen is None
            or drawn_for is None
            or columns >= drawn_for.columns
            or renderer.cpr_support != CPR_Support.SUPPORTED
            or not self._rows_added(screen, columns)
        ):
            return False
        waits_for = self._waits_for = screen, columns
        self._asked += 1
        self._earlier = len(renderer._waiting_for_cpr_futures)  # noqa: SLF001
        self._app.output.ask_for_cpr()
        self._app.output.flush()
        asyncio.get_running_loop().call_later(PATIENCE, self._give_up, waits_for)
        return True

    def _give_up(self, waits_for: tuple[Screen, int]) -> None:
        """Draw without an answer, if it is still awaited."""
        if self._waits_for is waits_for:
            self._waits_for, self._asked = None, 0
            self._draw_anew()

    def _answered(self, event: KeyPressEvent) -> None:
        """Take the position of the cursor, which the renderer has asked for, or `_ask`."""
        row, column = map(int, event.data[2:-1].split(";"))
        if self._waits_for is None or self._earlier:
            self._earlier -= self._earlier > 0
            self._app.renderer.report_absolute_cursor_row(row)
            return
        screen, columns = self._waits_for
        moved = self._moved(self._cursor(screen)[0], columns, column)
        if columns != self._app.output.get_size().columns or moved is None:
            if self._asked < ASKED_MOST:
                asyncio.get_running_loop().call_later(PAUSE, self._ask_again, self._waits_for)
                return
            moved = False
        self._waits_for, self._asked, self._reflows = None, 0, moved
        if moved and screen is self._app.renderer.last_rendered_screen:  # and was not erased for an answer
            self._app.output.cursor_up(self._rows_added(screen, columns))
        self._draw_anew()

    def _moved(self, x: int, columns: int, column: int) -> bool | None:
        """Return whether the terminal has reflowed; None if its width has changed once more.

        `x` is where the cursor was, from 0; `column` is where it is in rows of `columns`, from 1.
        """
        reflowed, cut = x % columns + 1, columns
        if x < columns or reflowed == cut:  # no difference
            return self._reflows
        return column == reflowed if column in (reflowed, cut) else None

    def _ask_again(self, waits_for: tuple[Screen, int]) -> None:
        """Ask once more, when the width may have settled."""
        if self._waits_for is waits_for:
            self._waits_for = None
            self._resized()

    def _cursor(self, screen: Screen) -> tuple[int, int]:
        point = screen.get_cursor_position(self._app.layout.current_window)
        return point.x, point.y

    def _rows_added(self, screen: Screen, columns: int) -> int:
        """Return by how many rows a reflow to `columns` moves the cursor down from the first row."""
        x, y = self._cursor(screen)
        widths = (_width(screen, row) for row in range(y))
        return x // columns + sum((width - 1) // columns for width in widths if width)


def _width(screen: Screen, row: int) -> int:
    """Return the columns of a row up to its last character that is not a space."""
    cells = screen.data_buffer[row]
    used = itertools.chain([0], (at + cell.width for at, cell in cells.items() if cell.char.strip()))
    return max(used)
