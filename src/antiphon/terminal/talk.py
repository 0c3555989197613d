"""The conversation of an open session: lines in, answers out, from a terminal or through pipes.

`exit` alone on a line, Ctrl-D and the end of the input leave politely, when every answer is there. Where a person
types, `/password` changes the password.
"""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import CancelledError
from functools import partial
from typing import Any

from antiphon.client.connection import ClientConnection
from antiphon.errors import AntiphonError, MessageTooLarge
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
WINDOW = 256
"""Messages that may be on their way at once: enough to fill any path, few enough to hold."""
CHUNK = 64 * 1024
NEAT_SECONDS = 0.25
"""How long the prompt waits for an answer to stand above it rather than below."""

Answer = asyncio.Future[Payload | None]

_SENT = N_("Bytes sent: {size}.")
_RECEIVED = N_("Bytes received: {size}.")


class Talk:
    """One conversation, on `connection`, with the person at `console`."""

    def __init__(self, console: Console, connection: ClientConnection) -> None:
        """Talk on an open session."""
        self._console = console
        self._connection = connection
        self._pending: asyncio.Queue[Answer | None] = asyncio.Queue(WINDOW)
        self._exit_code = 0
        self._show: Callable[[Callable[[], None]], object] = lambda show: show()
        """Puts something on the screen without breaking a line that is being typed."""

    async def run(self, lines: AsyncIterator[Payload]) -> int:
        """Send each line, put out each answer, leave; return the exit code.

        Raises:
            AntiphonError: the connection was lost or ended by the server, or a line could not be sent.
        """
        sender: asyncio.Task[Any] = asyncio.create_task(self._send(lines))
        printer: asyncio.Task[Any] = asyncio.create_task(self._print_answers())
        try:
            await asyncio.wait({sender, printer, self._connection.closed}, return_when=asyncio.FIRST_COMPLETED)
            sender.cancel()  # no effect on one that has sent everything
            await asyncio.wait({sender})
            await self._connection.leave()
            last = asyncio.create_task(self._pending.put(None))
            await asyncio.wait({last, printer}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({printer})
        finally:
            sender.cancel()
            printer.cancel()
        for task in (sender, printer):
            if not task.cancelled():
                task.result()
        if (reason := self._connection.closed.result()) is not None:
            raise reason
        return self._exit_code

    async def _send(self, lines: AsyncIterator[Payload]) -> None:
        async for line in lines:
            if line == LEAVE:
                return
            message = LEAVE if line == SAY_LEAVE else line
            try:
                answer = self._connection.ask(message)
            except MessageTooLarge as error:
                if not self._console.can_ask:
                    raise
                self._console.tell_error(error)
                continue
            self._tell_size(_SENT, message)
            await self._pending.put(answer)
            await self._connection.ready()
            if self._console.can_ask:
                await asyncio.wait({answer}, timeout=NEAT_SECONDS)

    async def _print_answers(self) -> None:
        while (pending := await self._pending.get()) is not None:
            try:
                answer = await pending
            except AntiphonError as error:
                if self._connection.closed.done():  # `closed` says why, once for all that wait
                    return
                self._exit_code = error.exit_code
                self._show(partial(self._console.tell_error, error))
                continue
            if answer is not None:
                self._tell_size(_RECEIVED, answer)
                self._show(partial(self._console.answer, answer))

    def _tell_size(self, what: str, message: Payload) -> None:
        if self._console.verbose:
            size = len(message.encode() if isinstance(message, str) else message)
            text = self._console.translations.gettext(what).format(size=size)
            self._show(partial(self._console.tell, text))

    # --- where lines come from ------------------------------------------------------------------------------

    async def typed_lines(
        self, prompt: str, change: Callable[[], Awaitable[None]] | None
    ) -> AsyncIterator[Payload]:
        """Yield what a person types, with history and editing; the end is Ctrl-D.

        `change` is what CHANGE does, if anything.
        """
        from prompt_toolkit import PromptSession  # noqa: PLC0415 - 0.1 s that a pipe need not pay
        from prompt_toolkit.application import get_app_or_none, run_in_terminal  # noqa: PLC0415

        session: PromptSession[str] = PromptSession()

        def show(action: Callable[[], None]) -> None:
            if get_app_or_none() is not None:  # this line's, or a question's
                asyncio.ensure_future(run_in_terminal(action))  # noqa: RUF006 - the application holds it
            else:
                action()

        self._show = show
        while True:
            try:
                line = await session.prompt_async(printable(prompt), set_exception_handler=False)
            except EOFError:
                return
            if line == CHANGE and change is not None:
                await change()
            else:
                yield CHANGE if line == SAY_CHANGE else line


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
