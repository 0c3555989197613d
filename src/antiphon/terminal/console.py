"""The console of a person: what is told on standard error, what is answered on standard output, what is asked.

Questions are asked on a terminal only, by prompt-toolkit, which is imported at the first one.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from antiphon.errors import AntiphonError, Problem, UsageError
from antiphon.language import N_, catalogue
from antiphon.printable import printable

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

Value = TypeVar("Value")

RED = 31

_UNANSWERED = Problem(N_("The input ended before an answer came."))


class Console:
    """One person's terminal, or the pipes that stand for it."""

    def __init__(self, language: str, *, may_ask: bool = True, verbose: bool = False) -> None:
        """Speak `language`; ask only if `may_ask` and both ends are a terminal in the foreground."""
        self.language = language
        self.verbose = verbose
        self.translations = catalogue(language)
        self.can_ask = may_ask and _at_terminal()
        self.answers_to_terminal = sys.stdout.isatty()
        self.thought = 0.0
        """Seconds that the person has taken for answers, in all."""
        self._above: list[Callable[[], None]] = []
        """What waits for room above the line that is being typed; it is drawn again once for all of them."""

    def _(self, message: str) -> str:
        return self.translations.gettext(message)

    def tell(self, text: str, colour: int | None = None) -> None:
        """Print one line about what goes on to standard error.

        Control characters are escaped, line feeds too: a greeting or a name from a server must not look like a
        line of the program's own. `colour` is one of ECMA-48 (SGR), and shows on a terminal only.
        """
        text = printable(text)
        if colour is not None and sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
            text = f"\x1b[{colour}m{text}\x1b[0m"
        print(text, file=sys.stderr, flush=True)

    def tell_error(self, error: AntiphonError) -> None:
        """Say what went wrong and what to do."""
        self.tell(error.full(self.translations.gettext), RED)

    def above(self, action: Callable[[], None]) -> None:
        """Do what writes to the screen, above a line that is being typed if there is one, in order."""
        self._above.append(action)
        if self.can_ask:
            from prompt_toolkit.application import get_app_or_none, run_in_terminal  # noqa: PLC0415 - as below

            if get_app_or_none() is not None:  # this line's, or a question's
                if len(self._above) == 1:  # else it is making room already
                    asyncio.ensure_future(run_in_terminal(self._do_above))  # noqa: RUF006 - the application holds it
                return
        self._do_above()

    def _do_above(self) -> None:
        actions, self._above = self._above, []
        for action in actions:
            action()

    def answer(self, message: str | bytes) -> None:
        """Put out an answer: as it is into a pipe, without what a terminal would obey onto a terminal."""
        if self.answers_to_terminal:
            text = message if isinstance(message, str) else message.decode("utf-8", "backslashreplace")
            print(printable(text, keep="\n\t"), flush=True)
        else:
            sys.stdout.buffer.write((message.encode() if isinstance(message, str) else message) + b"\n")
            sys.stdout.buffer.flush()

    async def ask(self, question: str, check: Callable[[str], Value], default: str = "") -> Value:
        """Ask until `check` takes the answer; Enter gives the default, which stands in brackets.

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
        """Ask for something that is not shown and not kept; may be empty.

        `hint` says something about what is typed so far, below it; it must repeat nothing of it.
        """
        return await self._read(f"{question}: ", hidden=True, hint=hint)

    async def confirm(self, question: str) -> bool:
        """Ask for a yes; anything else is a no."""
        answer = await self._read(f"{question} [{self._('y/N')}]: ", hidden=False)
        return answer.strip().casefold() in ("y", "yes", self._("y").casefold(), self._("yes").casefold())

    async def _read(self, shown: str, *, hidden: bool, hint: Callable[[str], str] | None = None) -> str:
        shown = printable(shown)  # it may hold a name from a server
        session = _question_session()
        below = None if hint is None else lambda: hint(session.default_buffer.text)
        asked_at = time.perf_counter()
        try:
            return await session.prompt_async(
                shown, is_password=hidden, bottom_toolbar=below, set_exception_handler=False
            )
        except EOFError:
            raise UsageError(problem=_UNANSWERED) from None
        finally:
            self.thought += time.perf_counter() - asked_at


def _question_session() -> "PromptSession[str]":
    """Return a prompt of its own, without history, on standard error: standard output is for answers."""
    from prompt_toolkit import PromptSession  # noqa: PLC0415 - 0.1 s that a pipe need not pay
    from prompt_toolkit.output import create_output  # noqa: PLC0415

    return PromptSession(output=create_output(stdout=sys.stderr))


def _at_terminal() -> bool:
    """Return whether there is a terminal and we are in its foreground: elsewhere a question would stop us."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (AttributeError, OSError):  # no process groups on this system: whoever has the terminal is in front
        return sys.platform == "win32"
