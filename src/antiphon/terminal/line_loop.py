"""Line loop of `antiphon connect`: sends each input line as a message and prints the answers.

The input is a terminal (`typed_lines.py`) or a pipe. `exit` alone on a line, Ctrl-D and the end of the input end
the session, after every answer has come.
"""

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError
from functools import partial
from typing import Any, NamedTuple

from antiphon import streams
from antiphon.client.aio.answers import Answers
from antiphon.client.aio.session import ClientSession
from antiphon.client.protocol.window import WINDOW
from antiphon.errors import (
    AntiphonError,
    InputFailed,
    MessageTooLarge,
    OutcomeUnknown,
    SessionClosed,
    TooManyRefusals,
)
from antiphon.files import problem_of
from antiphon.language import N_
from antiphon.terminal.console import Console
from antiphon.wire.frames import Payload
from antiphon.wire.kinds import MESSAGE_LIMIT_MOST

LEAVE = "exit"
ESCAPED_LEAVE = "//exit"
"""Sends the text `exit` itself."""
READ_SIZE = 64 * 1024
ANSWER_FIRST_SECONDS = 0.25
"""How long the next prompt waits for the answer, so that the answer is printed above it."""

END_SECONDS = 0.25
"""How long the end of piped input may take to be found once the session is over; else input is left."""

QUOTED_MOST = 60
"""Characters of a message that are shown if its outcome is unknown."""

_SENT = N_("Bytes sent: {size}.")
_RECEIVED = N_("Bytes received: {size}.")
_LOST = N_("The connection is lost; trying again.")
_BACK = N_("Back after {seconds} s.")
_NO_ANSWER = N_("Lines that got no answer: {count}.")
_LEFT = N_("The input had not ended: what was left of it was not sent.")
_SPOILED = N_("This line is sent with a wrong token: one of its bits is flipped.")


class _SentLine(NamedTuple):
    """A line that was sent, with its answers."""

    message: Payload
    answers: Answers
    answered: asyncio.Event
    """Set when the first answer, or a failure, was printed."""
    spoiled: bool
    """The line was sent with a wrong token."""


class LineLoop:
    """Sends lines in `session` and prints its answers and pushes on `console`."""

    def __init__(self, console: Console, session: ClientSession) -> None:
        """Use an open session; its lost and resumed connections are told on the console."""
        self._console = console
        self._session = session
        self._pending: asyncio.Queue[_SentLine | None] = asyncio.Queue(WINDOW)
        self._exit_code = 0
        self._unanswered = 0
        """Lines that got no answer, which is a service's right, unless it has ended the session."""
        self._show = console.above
        session.on_lost = self._tell_lost
        session.on_back = lambda seconds: self._tell(_BACK, seconds=f"{seconds:.0f}")

    async def run(self, lines: AsyncIterator[Payload]) -> int:
        """Send each line, print each answer, leave the session and return the exit code.

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
            if not self._console.can_ask:  # the end of the input may be there, and not read yet
                await asyncio.wait({sender}, timeout=END_SECONDS)
            sender.cancel()  # has no effect if everything is sent
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
            if not self._console.can_ask and (sender.cancelled() or self._unanswered):
                self._tell_missing(unsent=sender.cancelled())
                return self._exit_code or reason.exit_code
        elif reason is not None:
            raise reason
        return self._exit_code

    async def _send(self, lines: AsyncIterator[Payload]) -> None:
        async for line in lines:
            if line == LEAVE:
                return
            await self._send_line(LEAVE if line == ESCAPED_LEAVE else line)

    async def send_spoiled(self, message: Payload) -> None:
        """Send a line with a wrong token, to show how the server refuses it."""
        self._tell(_SPOILED)
        await self._send_line(message, spoiled=True)

    async def _send_line(self, message: Payload, *, spoiled: bool = False) -> None:
        try:
            answers = await self._session.begin(message, spoiled=spoiled)
        except MessageTooLarge as error:
            if not self._console.can_ask:
                raise
            self._console.tell_error(error)
            return
        line = _SentLine(message, answers, asyncio.Event(), spoiled)
        self._tell_size(_SENT, message)
        await self._pending.put(line)
        if self._console.can_ask:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_FIRST_SECONDS):
                    await line.answered.wait()

    async def _print_answers(self) -> None:
        while (line := await self._pending.get()) is not None:
            try:
                async for answer in line.answers:
                    self._print(answer)
                    line.answered.set()
                self._unanswered += not line.answered.is_set()
            except AntiphonError as error:
                if not line.spoiled:  # the refusal of a spoiled line is what the person wanted to see
                    self._exit_code = error.exit_code
                if self._session.over:  # `run` reports the reason once, not for each line
                    return
                self._show(partial(self._tell_failed, line.message, error))
            line.answered.set()

    async def _print_pushes(self) -> None:
        with contextlib.suppress(AntiphonError):  # `run` reports the reason
            async for push in self._session:
                self._print(push)

    def _print(self, message: Payload) -> None:
        self._tell_size(_RECEIVED, message)
        self._show(partial(self._console.answer, message))

    def _tell_failed(self, message: Payload, error: AntiphonError) -> None:
        """Tell what went wrong; quote a message whose outcome is unknown: it may not be the last one sent."""
        if isinstance(error, OutcomeUnknown):
            text = message if isinstance(message, str) else message.decode("utf-8", "backslashreplace")
            self._console.tell(f"“{text[:QUOTED_MOST]}{'…' if len(text) > QUOTED_MOST else ''}”:")
        self._console.tell_error(error)

    def _tell_missing(self, *, unsent: bool) -> None:
        """Tell what the end of the session left without an answer."""
        _ = self._console.translations.gettext
        if self._unanswered:
            self._console.tell(_(_NO_ANSWER).format(count=self._unanswered))
        if unsent:
            self._console.tell(_(_LEFT))

    def _tell_lost(self, reason: AntiphonError) -> None:
        if isinstance(reason, TooManyRefusals):  # the person has caused this, with /spoil
            self._show(partial(self._console.tell, reason.text(self._console.translations.gettext)))
        self._tell(_LOST)

    def _tell(self, what: str, **fields: str) -> None:
        text = self._console.translations.gettext(what).format(**fields)
        self._show(partial(self._console.tell, text))

    def _tell_size(self, what: str, message: Payload) -> None:
        if self._console.verbose:
            size = len(message.encode() if isinstance(message, str) else message)
            self._tell(what, size=str(size))


async def piped_lines() -> AsyncIterator[Payload]:
    """Yield the lines of standard input as they come: text, or bytes if a line is not UTF-8.

    Raises:
        MessageTooLarge: a line is longer than any server may allow; the lines before it were yielded.
        InputFailed: it cannot be read any more; the whole lines before were yielded.
    """
    loop = asyncio.get_running_loop()
    source = sys.stdin.fileno()
    chunks: asyncio.Queue[bytes | InputFailed] = asyncio.Queue(4)

    def read() -> None:
        """Read standard input in its own thread: it may be a file, a pipe or closed, and a read may never return.

        Read from the descriptor: `sys.stdin` would stay locked by this thread, and Python takes that lock at exit.
        """
        while True:
            chunk: bytes | InputFailed
            try:
                chunk = streams.read_some(source, READ_SIZE)
            except OSError as error:  # for example a terminal that has hung up
                chunk = InputFailed(problem=problem_of(error))
            put = chunks.put(chunk)
            try:
                asyncio.run_coroutine_threadsafe(put, loop).result()
            except (RuntimeError, CancelledError):  # the event loop has ended, and with it the reader of the queue
                put.close()
                return
            if not chunk or isinstance(chunk, InputFailed):
                return

    threading.Thread(target=read, daemon=True).start()
    rest = b""
    while chunk := await chunks.get():
        if isinstance(chunk, InputFailed):
            raise chunk
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
