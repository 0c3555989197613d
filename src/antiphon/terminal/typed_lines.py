"""Lines that a person types at the prompt of a session, and the commands that the prompt understands.

`/password` changes the password, `/end-others` ends the other sessions, `/name` corrects the name, `/spoil TEXT`
sends TEXT with a wrong token, `/help` names them all. Through a pipe nobody could be asked, so there these lines
are ordinary messages.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from antiphon.language import N_
from antiphon.printable import printable
from antiphon.terminal.console import Console
from antiphon.terminal.name_sign_in import RENAME
from antiphon.wire.frames import Payload

HELP = "/help"
CHANGE = "/password"
END_OTHERS = "/end-others"
SPOIL = "/spoil"
COLUMN = 15
"""Columns from the beginning of a line of the help to its text."""

_EXIT = N_("leaves; so does Ctrl-D, or Ctrl-C on an empty line")
_HELP = N_("shows this, and asks the service what it understands")
_CHANGE = N_("changes your password")
_END_OTHERS = N_("ends all your other sessions")
_RENAME = N_("corrects your name")
_SPOIL = N_("sends TEXT with a wrong token, to see it refused")
_ESCAPED = N_("sends the word itself, as two slashes do with each of these words")
_EDITING = N_("clears a half-typed line; arrow up brings back the lines before")


class TypedLines:
    """The prompt of one session."""

    def __init__(
        self,
        console: Console,
        name: str,
        *,
        spoil: Callable[[str], Awaitable[None]],
        change: Callable[[], Awaitable[None]] | None = None,
        end_others: Callable[[], Awaitable[None]] | None = None,
        renames: bool = False,
    ) -> None:
        """Prompt with `name`; `spoil` sends a text with a wrong token.

        `change` is run for CHANGE, and `end_others` for END_OTHERS; without it, that word is an ordinary message.
        `renames` says whether RENAME, which
        is yielded as any line, is a command to the caller.
        """
        self._console = console
        self._name = name
        self._spoil = spoil
        self._change = change
        self._end_others = end_others
        self._renames = renames

    async def lines(self) -> AsyncIterator[Payload]:
        """Yield the lines that a person types, with history and editing, until Ctrl-D.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed on an empty line.
        """
        from antiphon.terminal.prompt import prompt_session  # noqa: PLC0415 - as it asks for

        session = prompt_session(clears=True)
        while True:
            try:
                line = await session.prompt_async(printable(f"{self._name}> "), set_exception_handler=False)
            except EOFError:
                return
            if line == CHANGE and self._change is not None:
                await self._change()
            elif line == END_OTHERS and self._end_others is not None:
                await self._end_others()
            elif line.split(" ")[0] == SPOIL:
                await self._spoil(line[len(SPOIL) + 1 :])
            elif line == HELP:
                self._tell_help()
                yield line  # the service may have commands of its own
            else:
                yield line[1:] if self._is_escaped(line) else line

    def _is_escaped(self, line: str) -> bool:
        return line in (f"/{HELP}", f"/{CHANGE}", f"/{END_OTHERS}") or line.partition(" ")[0] == f"/{SPOIL}"

    def _tell_help(self) -> None:
        _ = self._console.translations.gettext
        for word, text in self._help():
            self._console.tell(f"  {word:{COLUMN - 2}}{_(text)}", hang=COLUMN - 2)

    def _help(self) -> Iterator[tuple[str, str]]:
        """Yield what the prompt understands, and what it does."""
        yield "exit", _EXIT
        yield HELP, _HELP
        if self._change is not None:
            yield CHANGE, _CHANGE
        if self._end_others is not None:
            yield END_OTHERS, _END_OTHERS
        if self._renames:
            yield RENAME, _RENAME
        yield f"{SPOIL} TEXT", _SPOIL
        yield "//exit", _ESCAPED
        yield "Ctrl-C", _EDITING
