"""A person's console: messages on standard error, answers on standard output, and questions.

Questions are asked on a terminal only, by prompt-toolkit, which is imported for the first question.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from antiphon import streams
from antiphon.errors import AntiphonError, Problem, UsageError
from antiphon.language import N_, catalogue
from antiphon.printable import printable

Value = TypeVar("Value")

RED = 31

_UNANSWERED = Problem(N_("The input ended before an answer came."))


class Console:
    """One person's terminal, or the pipes in its place."""

    def __init__(self, language: str, *, may_ask: bool = True, verbose: bool = False) -> None:
        """Speak `language`; ask only if `may_ask` and this process is in the foreground of a terminal."""
        self.language = language
        self.verbose = verbose
        self.translations = catalogue(language)
        self.can_ask = may_ask and _at_terminal()
        self.answers_to_terminal = streams.stdout.isatty()
        self.seconds_asking = 0.0
        """Seconds that questions have waited for the person, in total."""
        self._above: list[Callable[[], None]] = []
        """Actions that wait to write above the prompt, which is redrawn once for all of them."""

    def _(self, message: str) -> str:
        return self.translations.gettext(message)

    @property
    def columns(self) -> int | None:
        """Columns of the terminal that messages go to; None if it is no terminal."""
        return streams.stderr.columns()

    def tell(self, text: str, colour: int | None = None, hang: int = 0) -> None:
        """Print one line on standard error; on a terminal it is wrapped at words.

        Control characters are escaped, line feeds too: a greeting or a name from a server must not look like a
        line of the program's own. `colour` is an SGR code (ECMA-48); it is used on a terminal only. `hang` indents
        later lines by so many columns more than the first.

        Raises:
            OutputFailed: it cannot be written.
        """
        text = streams.stderr.fitted(printable(text), hang)
        if colour is not None and streams.stderr.isatty() and not os.environ.get("NO_COLOR"):
            text = f"\x1b[{colour}m{text}\x1b[0m"
        streams.stderr.line(text)

    def tell_error(self, error: AntiphonError) -> None:
        """Print what went wrong and what to do."""
        self.tell(error.full(self.translations.gettext), RED)

    def tell_to_copy(self, text: str) -> None:
        """Print a command that a person copies: indented, and never wrapped, so that it is copied in one piece.

        Raises:
            OutputFailed: it cannot be written.
        """
        streams.stderr.line("    " + printable(text))

    def above(self, action: Callable[[], None]) -> None:
        """Run an action that writes to the screen, above the prompt if there is one; actions keep their order.

        Callbacks of a connection may call it: output that fails ends the command and raises nothing here.
        """
        self._above.append(action)
        if self.can_ask:
            from prompt_toolkit.application import get_app_or_none, run_in_terminal  # noqa: PLC0415 - as below

            if get_app_or_none() is not None:  # a prompt is on the screen
                if len(self._above) == 1:  # for a second action the call is scheduled already
                    asyncio.ensure_future(run_in_terminal(self._do_above))  # noqa: RUF006 - the application holds it
                return
        self._do_above()

    def _do_above(self) -> None:
        actions, self._above = self._above, []
        for action in actions:
            with streams.ends_command():
                action()

    def answer(self, message: str | bytes) -> None:
        """Print an answer on standard output; on a terminal, control characters in it are escaped.

        Raises:
            OutputFailed: it cannot be written.
        """
        if self.answers_to_terminal:
            text = message if isinstance(message, str) else message.decode("utf-8", "backslashreplace")
            streams.stdout.line(printable(text, keep="\n\t"))
        else:
            streams.stdout.write((message.encode() if isinstance(message, str) else message) + b"\n")

    async def ask(self, question: str, check: Callable[[str], Value], default: str = "") -> Value:
        """Ask until `check` accepts the answer, and return what it makes of it; Enter takes the default.

        Raises:
            UsageError: the input ended before there was an answer.
        """
        shown = f"{question} [{default}]: " if default else f"{question}: "
        while True:
            answer = await self._read(shown, hidden=False)
            try:
                return check(answer.strip() or default)
            except UsageError as error:
                self.tell_error(error)

    async def ask_secret(self, question: str, hint: Callable[[str], str] | None = None) -> str:
        """Ask for a secret: it is neither shown nor kept in a history, and may be empty.

        `hint` returns the line to show below the secret typed so far; it must not repeat any of it.
        """
        return await self._read(f"{question}: ", hidden=True, hint=hint)

    async def confirm(self, question: str) -> bool:
        """Ask a yes-or-no question; any other answer means no."""
        answer = await self._read(f"{question} [{self._('y/N')}]: ", hidden=False)
        return answer.strip().casefold() in ("y", "yes", self._("y").casefold(), self._("yes").casefold())

    async def _read(self, shown: str, *, hidden: bool, hint: Callable[[str], str] | None = None) -> str:
        shown = streams.stderr.fitted(printable(shown).rstrip()) + " "  # it may hold a name from a server
        from antiphon.terminal.prompt import prompt_session  # noqa: PLC0415 - as it asks for

        session = prompt_session(sys.stderr)  # a new one, without history; standard output is for answers
        below = None if hint is None else lambda: streams.stderr.fitted(hint(session.default_buffer.text))
        asked_at = time.perf_counter()
        try:
            return await session.prompt_async(
                shown, is_password=hidden, bottom_toolbar=below, set_exception_handler=False
            )
        except EOFError:
            raise UsageError(problem=_UNANSWERED) from None
        finally:
            self.seconds_asking += time.perf_counter() - asked_at


def _at_terminal() -> bool:
    """Return whether this process is in the foreground of a terminal; in the background a read would stop it."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (AttributeError, OSError):  # Windows has no process groups, and no background either
        return sys.platform == "win32"
