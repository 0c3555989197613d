"""The conversation of an open session: lines in, answers out, from a terminal or through pipes.

`exit` alone on a line, Ctrl-D and the end of the input leave politely, when every answer is there. Where a person
types, `/password` changes the password, and `/spoil` shows how a message with a wrong token is refused.
"""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import CancelledError
from functools import partial
from typing import Any, NamedTuple

from antiphon.client.aio.answers import Answers
from antiphon.client.aio.session import ClientSession
from antiphon.client.protocol.window import WINDOW
from antiphon.errors import AntiphonError, MessageTooLarge, OutcomeUnknown, SessionClosed, TooManyRefusals
from antiphon.language import N_
from antiphon.printable import printable
from antiphon.terminal.console import Console
from antiphon.wire.frames import Payload
from antiphon.wire.kinds import MESSAGE_LIMIT_MOST

LEAVE = "exit"
SAY_LEAVE = "//exit"
"""How to say the word that leaves."""
CHANGE = "/password"
SAY_CHANGE = "//password"
"""Words of a person at a terminal only: through a pipe nobody could be asked, these are messages as others are."""
SPOIL = "/spoil"
SAY_SPOIL = "//spoil"
"""Likewise: what follows is sent with a wrong token, so that the refusal can be seen."""
CHUNK = 64 * 1024
NEAT_SECONDS = 0.25
"""How long the prompt waits for an answer to stand above it rather than below."""

QUOTED = 60
"""Characters of a message that are shown where its outcome is unknown."""

_SENT = N_("Bytes sent: {size}.")
_RECEIVED = N_("Bytes received: {size}.")
_LOST = N_("The connection is lost; trying again.")
_BACK = N_("Back after {seconds} s.")
_SPOILED = N_("This goes with a spoiled token: one of its bits is flipped.")


class _Said(NamedTuple):
    """A line that was sent."""

    message: Payload
    answers: Answers
    answered: asyncio.Event
    """Something has been put out for it."""
    spoiled: bool
    """It went with a wrong token, to be refused."""


class Talk:
    """One conversation, in `session`, with the person at `console`."""

    def __init__(self, console: Console, session: ClientSession) -> None:
        """Talk in an open session."""
        self._console = console
        self._session = session
        self._pending: asyncio.Queue[_Said | None] = asyncio.Queue(WINDOW)
        self._exit_code = 0
        self._show = console.above
        session.on_lost = self._tell_lost
        session.on_back = lambda seconds: self._tell(_BACK, seconds=f"{seconds:.0f}")

    async def run(self, lines: AsyncIterator[Payload]) -> int:
        """Send each line, put out each answer, leave; return the exit code.

        Raises:
            AntiphonError: the session was lost or ended by the server, or a line could not be sent.
        """
        sender = asyncio.create_task(self._send(lines))
        printer = asyncio.create_task(self._print_answers())
        listener = asyncio.create_task(self._print_pushes())
        ended = asyncio.create_task(self._session.ended())
        tasks: list[asyncio.Task[Any]] = [sender, printer, listener, ended]
        try:
            await asyncio.wait({sender, ended, printer}, return_when=asyncio.FIRST_COMPLETED)
            sender.cancel()  # no effect on one that has sent everything
            await asyncio.wait({sender})
            last = asyncio.create_task(self._pending.put(None))
            await asyncio.wait({last, printer}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({printer})
            await self._session.leave()
            await asyncio.wait({listener})
        finally:
            for task in tasks:
                task.cancel()
        for task in (sender, printer):
            if not task.cancelled():
                task.result()
        reason = await self._session.ended()
        if isinstance(reason, SessionClosed):
            self._console.tell(reason.full(self._console.translations.gettext))
        elif reason is not None:
            raise reason
        return self._exit_code

    async def _send(self, lines: AsyncIterator[Payload]) -> None:
        async for line in lines:
            if line == LEAVE:
                return
            await self._say(LEAVE if line == SAY_LEAVE else line)

    async def _say(self, message: Payload, *, spoiled: bool = False) -> None:
        try:
            answers = await self._session.begin(message, spoiled=spoiled)
        except MessageTooLarge as error:
            if not self._console.can_ask:
                raise
            self._console.tell_error(error)
            return
        said = _Said(message, answers, asyncio.Event(), spoiled)
        self._tell_size(_SENT, message)
        await self._pending.put(said)
        if self._console.can_ask:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(NEAT_SECONDS):
                    await said.answered.wait()

    async def _print_answers(self) -> None:
        while (said := await self._pending.get()) is not None:
            try:
                async for answer in said.answers:
                    self._print(answer)
                    said.answered.set()
            except AntiphonError as error:
                if not said.spoiled:  # a refusal that was asked for is no failure
                    self._exit_code = error.exit_code
                if self._session.over:  # `ended` says why, once for all that wait
                    return
                self._show(partial(self._tell_failed, said.message, error))
            said.answered.set()

    async def _print_pushes(self) -> None:
        with contextlib.suppress(AntiphonError):  # `ended` says why
            async for push in self._session:
                self._print(push)

    def _print(self, message: Payload) -> None:
        self._tell_size(_RECEIVED, message)
        self._show(partial(self._console.answer, message))

    def _tell_failed(self, message: Payload, error: AntiphonError) -> None:
        """Say what went wrong; of which message, where that is not the one just said."""
        if isinstance(error, OutcomeUnknown):
            text = message if isinstance(message, str) else message.decode("utf-8", "backslashreplace")
            self._console.tell(f"“{text[:QUOTED]}{'…' if len(text) > QUOTED else ''}”:")
        self._console.tell_error(error)

    def _tell_lost(self, reason: AntiphonError) -> None:
        if isinstance(reason, TooManyRefusals):  # no bad luck, but what was asked for
            self._show(partial(self._console.tell, reason.text(self._console.translations.gettext)))
        self._tell(_LOST)

    def _tell(self, what: str, **fields: str) -> None:
        text = self._console.translations.gettext(what).format(**fields)
        self._show(partial(self._console.tell, text))

    def _tell_size(self, what: str, message: Payload) -> None:
        if self._console.verbose:
            size = len(message.encode() if isinstance(message, str) else message)
            self._tell(what, size=str(size))

    # --- where lines come from ------------------------------------------------------------------------------

    async def typed_lines(
        self, prompt: str, change: Callable[[], Awaitable[None]] | None
    ) -> AsyncIterator[Payload]:
        """Yield what a person types, with history and editing; the end is Ctrl-D.

        `change` is what CHANGE does, if anything.
        """
        from prompt_toolkit import PromptSession  # noqa: PLC0415 - 0.1 s that a pipe need not pay

        session: PromptSession[str] = PromptSession()
        while True:
            try:
                line = await session.prompt_async(printable(prompt), set_exception_handler=False)
            except EOFError:
                return
            if line == CHANGE and change is not None:
                await change()
            elif line.split(" ")[0] == SPOIL:
                self._tell(_SPOILED)
                await self._say(line[len(SPOIL) + 1 :], spoiled=True)
            else:
                yield line[1:] if line == SAY_CHANGE or line.split(" ")[0] == SAY_SPOIL else line


async def piped_lines() -> AsyncIterator[Payload]:
    """Yield the lines of standard input as they come: text, or bytes where a line is not UTF-8.

    Raises:
        MessageTooLarge: a line is longer than any server may allow; what came before was yielded.
    """
    loop = asyncio.get_running_loop()
    source = sys.stdin.fileno()
    chunks: asyncio.Queue[bytes] = asyncio.Queue(4)

    def read() -> None:
        """Read on a thread of its own: standard input may be a file, a pipe or nothing, and may never end.

        Python's own reader would be locked by this thread, and its lock is wanted when the program ends.
        """
        while True:
            try:
                chunk = os.read(source, CHUNK)
            except OSError:  # a terminal that has hung up, for one
                chunk = b""
            put = chunks.put(chunk)
            try:
                asyncio.run_coroutine_threadsafe(put, loop).result()
            except (RuntimeError, CancelledError):  # the loop has ended, and with it everybody who wanted to know
                put.close()
                return
            if not chunk:
                return

    threading.Thread(target=read, daemon=True).start()
    rest = b""
    while chunk := await chunks.get():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield _decoded(line)
        if len(rest) > MESSAGE_LIMIT_MOST:
            raise MessageTooLarge(size=len(rest), limit=MESSAGE_LIMIT_MOST)
    if rest:
        yield _decoded(rest)


def _decoded(line: bytes) -> Payload:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line
