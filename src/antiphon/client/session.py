"""An open session, as a program uses it: ask, be answered, hear what the service says; links come and go below.

Which messages are sent again after a lost link, and which are not, is `continuity.py`'s; how a link comes back is
`link.py`'s.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable

from antiphon.client.answers import Answers, Inbox
from antiphon.client.connection import ClientConnection
from antiphon.client.continuity import Continuity, Sent
from antiphon.client.info import SessionInfo
from antiphon.client.link import Link, lost_for_now
from antiphon.client.manners import check_message
from antiphon.errors import AntiphonError, OutcomeUnknown, SessionEnded, TimedOut, TokenRefused
from antiphon.wire.bodies import Welcome
from antiphon.wire.frames import HEADER_SIZE, Payload, encode_message
from antiphon.wire.kinds import KIB

WINDOW = 256
"""Messages that may be on their way at once: enough to fill any path, few enough to hold."""
INBOX_LIMIT = 256 * KIB
"""Bytes that may wait for the program to take them; then nothing more is read."""
ACK_EVERY = 64 * KIB
"""Bytes that may come before the server is told that they have (docs/protocol.md, "Continuity")."""
FAREWELL_SECONDS = 1.0
"""How long a session that is left in haste waits for the server's goodbye."""


class Session:
    """An open session. Made by `connect`; iterating over it gives what the service says by itself."""

    def __init__(self, connection: ClientConnection, welcome: Welcome, link: Link) -> None:
        """Speak on `connection`, which has got `welcome`, and on those that `link` brings about after it."""
        self._continuity: Continuity[Answers] = Continuity()
        self._room = asyncio.Semaphore(WINDOW)
        self._waiting = 0
        """Bytes that have come and nobody has taken."""
        self._unacknowledged = 0
        self._pushes = Inbox(self._taken)
        self._leaving = False
        self._error: AntiphonError | None = None
        self._ended = asyncio.Event()
        self._answered = asyncio.Event()
        self._answered.set()
        self._link = link
        self._connection = connection
        self._limits = connection.limits
        self.on_lost: Callable[[AntiphonError], object] = _ignore
        """Called when the link is lost, with the reason; it is tried again."""
        self.on_back: Callable[[float], object] = _ignore
        """Called when the link is back, with the seconds that it was away."""
        self.info = SessionInfo.of(welcome)
        """What the server said at the door."""
        self._keeper = asyncio.create_task(self._keep())

    @property
    def connection(self) -> ClientConnection:
        """What carries the session now, for what is asked of it beside messages."""
        return self._connection

    # --- asking -----------------------------------------------------------------------------------------------

    async def ask(
        self,
        message: Payload,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - what every caller wants, and with CANCEL
        retry: bool = False,
    ) -> Payload | None:
        """Send a message and return its answer, None where the service gives none.

        Of a service that answers many times it is the first answer; the rest is not wanted and is taken back. So
        is a message that is given up, by `timeout` or by cancelling.

        Args:
            message: text or bytes, of as many bytes as the server takes in one message (1 MiB by default).
            timeout: seconds for the answer; by default any time.
            retry: ask again where the outcome is unknown; say so only where it may be done twice.

        Raises:
            OutcomeUnknown: nobody knows whether it was handled, because the link or the server broke.
            MessageTooLarge: it was not sent.
            TimedOut: no answer came in time.
            AntiphonError: as the server refused it, or why the session is over.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    answers = await self.begin(message)
                    try:
                        return await answers.next()
                    except OutcomeUnknown:
                        if not retry or self.over:
                            raise
                    finally:
                        answers.close()
        except TimeoutError:
            raise TimedOut(address=self._link.shown, seconds=f"{timeout:g}") from None

    async def ask_stream(self, message: Payload) -> AsyncIterator[Payload]:
        """Send a message and yield every answer to it; leaving the iteration early has the service stop.

        The answers wait at the server while they are not taken. So do the answers to whatever is asked meanwhile:
        ask from within the loop only where the stream is short.

        Raises:
            AntiphonError: as `ask`; what came before has been yielded.
        """
        answers = await self.begin(message)
        try:
            async for answer in answers:
                yield answer
        finally:
            answers.close()

    async def ask_many(
        self, messages: Iterable[Payload] | AsyncIterable[Payload]
    ) -> AsyncIterator[Payload | None]:
        """Send messages one behind the other, without waiting for answers, and yield the answer to each in order.

        At most 256 are on their way at once.

        Raises:
            AntiphonError: as `ask`, for the first message that fails; those behind it are taken back.
        """
        begun: asyncio.Queue[Answers | None] = asyncio.Queue()
        room = asyncio.Semaphore(WINDOW)

        async def send() -> None:
            try:
                async for message in _each(messages):
                    await room.acquire()
                    begun.put_nowait(await self.begin(message))
            finally:
                begun.put_nowait(None)

        sender = asyncio.create_task(send())
        answers: Answers | None = None
        try:
            while (answers := await begun.get()) is not None:
                yield await answers.next()
                answers.close()
                room.release()
            await sender
        finally:
            sender.cancel()
            while answers is not None:
                answers.close()
                answers = await begun.get()
            await asyncio.wait({sender})

    async def send(self, message: Payload) -> None:
        """Send a message and want no answer; like any other, it is sent again if the link is lost on the way.

        Raises:
            MessageTooLarge: it was not sent.
            AntiphonError: why the session is over.
        """
        (await self.begin(message)).ignore()

    async def begin(self, message: Payload, *, spoiled: bool = False) -> Answers:
        """Send a message and return where its answers come; waits while 256 messages are on their way.

        Call `close` on what is returned as soon as no more answers are wanted. One that is `spoiled` goes with a
        wrong token, to see it refused with `TokenRefused`; the third on a connection ends that connection.

        Raises:
            MessageTooLarge: it was not sent.
            AntiphonError: why the session is over.
        """
        check_message(message, self._limits)
        await self._room.acquire()
        try:
            if self._connection.open:
                await self._connection.ready()
            self._check_open()
        except BaseException:
            self._room.release()
            raise
        answers = Answers(self._taken, self._take_back)
        answers.sent = self._continuity.send(message, answers)
        answers.sent.spoiled = spoiled
        self._answered.clear()
        if self._connection.open:
            self._write(answers.sent)
        return answers

    def __aiter__(self) -> AsyncIterator[Payload]:
        """Iterate over what the service says by itself; ends with the session.

        What nobody takes waits, up to 256 KiB; then nothing more is read, no answer either: whoever talks to a
        service that says much by itself must iterate.
        """
        return self._pushes

    def _check_open(self) -> None:
        if self.over or self._leaving:
            raise self._error or SessionEnded()

    def _write(self, sent: Sent[Answers]) -> None:
        sent.written = True
        token = self._connection.conversation.token
        if sent.spoiled:
            token = token[:-1] + bytes([token[-1] ^ 1])
        self._connection.send(encode_message(sent.id, sent.message, token=token))

    def _take_back(self, sent: Sent[Answers]) -> None:
        """Have the service stop with a message; its END still comes."""
        sent.taken_back = True
        if self._connection.open and sent.written:
            self._connection.send(self._connection.conversation.cancel(sent.id))

    # --- what comes (Receiver) --------------------------------------------------------------------------------

    def message(self, id: int, payload: Payload, *, last: bool) -> None:
        """Take an answer, or what the service says by itself."""
        sent = self._continuity.take(id, last=last)
        self._came(len(payload))
        if sent is None:
            self._put(self._pushes, payload)
        elif sent.gap and not last:
            sent.asker.end(OutcomeUnknown())
        else:
            self._put(sent.asker, payload)
            if last:
                self._finish(sent, None)
        self._tell_unknown()

    def end(self, id: int, error: AntiphonError | None) -> None:
        """Take note that nothing more comes for a message."""
        sent = self._continuity.take(id, last=True)
        self._came(0)
        if sent is not None:
            self._finish(sent, OutcomeUnknown() if sent.gap and error is None else error)
        self._tell_unknown()

    def acknowledgement(self) -> bytes:
        """Return an ACK, if the server does not know yet how much has come."""
        if not self._unacknowledged:
            return b""
        self._unacknowledged = 0
        return self._connection.conversation.ack(self._continuity.received)

    def _came(self, size: int) -> None:
        self._link.used = True
        self._unacknowledged += size + HEADER_SIZE
        if self._unacknowledged >= ACK_EVERY and self._connection.open:
            self._connection.send(self.acknowledgement())

    def _put(self, inbox: Inbox, payload: Payload) -> None:
        if not inbox.ended:
            inbox.put(payload)
            self._waiting += len(payload)
            if self._waiting > INBOX_LIMIT and not self._leaving:
                self._connection.read_on(wanted=False)

    def _taken(self, size: int) -> None:
        self._waiting -= size
        if self._waiting <= INBOX_LIMIT // 2:
            self._connection.read_on(wanted=True)

    def _finish(self, sent: Sent[Answers], error: AntiphonError | None) -> None:
        sent.asker.end(error)
        self._room.release()
        if not self._continuity.unanswered:
            self._answered.set()

    def _tell_unknown(self) -> None:
        for sent in self._continuity.unknown():
            self._finish(sent, _unheard(sent))

    # --- links come and go ------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Take the session up again whenever its link is lost, until it is over."""
        reason: AntiphonError | None
        try:
            self._connection.attach(self)
            while True:
                reason = await asyncio.shield(self._connection.closed)
                if self._leaving or not (lost_for_now(reason) and self._link.patient):
                    break
                assert reason is not None
                self.on_lost(reason)
                lost_at = asyncio.get_running_loop().time()
                connection, welcome = await self._link.restore(reason, lambda: self._continuity.received)
                self._go_on(connection, welcome)
                self.on_back(asyncio.get_running_loop().time() - lost_at)
        except AntiphonError as error:
            reason = error
            self._connection.abort()
        self._end(reason)

    def _go_on(self, connection: ClientConnection, welcome: Welcome) -> None:
        """Say again what the server has not got, on a connection that has just resumed the session."""
        self._connection = connection
        again = self._continuity.resume(
            welcome.received, missed=welcome.missed, sent=welcome.sent, at_work=welcome.open
        )
        self._unacknowledged = 0
        if self._waiting > INBOX_LIMIT and not self._leaving:
            connection.read_on(wanted=False)
        self._tell_unknown()
        connection.attach(self)
        if connection.open:
            for sent in again:
                self._write(sent)
            for sent in list(self._continuity.unanswered):
                if sent.taken_back:
                    self._take_back(sent)

    def _end(self, reason: AntiphonError | None) -> None:
        """End for good; `reason` is None where it was left."""
        if self.over:
            return
        self._error = reason
        for sent in list(self._continuity.unanswered):
            error = reason or SessionEnded()
            if sent.written:
                error, error.__cause__ = _unheard(sent), error
            sent.asker.end(error)
            self._room.release()
        self._pushes.end(reason)
        self._answered.set()
        self._ended.set()

    @property
    def over(self) -> bool:
        """Whether the session has ended, or has been given up."""
        return self._ended.is_set()

    async def ended(self) -> AntiphonError | None:
        """Wait until the session is over; return why, None where it was left."""
        await self._ended.wait()
        return self._error

    # --- leaving ----------------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """End the session: wait for the answers that are due, say goodbye, close. Streams are taken back.

        While the link is lost nobody hears the goodbye: the session ends when its time without a link is over.
        """
        await self._leave(in_haste=False)

    async def hang_up(self) -> None:
        """End the session at once: what is on its way is not waited for."""
        await self._leave(in_haste=True)

    async def _leave(self, *, in_haste: bool) -> None:
        if not self.over:
            self._leaving = True
            self._connection.read_on(wanted=True)
            if not in_haste:
                await self._answered.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS if in_haste else None):
                    await self._connection.leave()
        self._keeper.cancel()
        await asyncio.wait({self._keeper})
        self._connection.abort()
        self._end(None)


def _unheard(sent: Sent[Answers]) -> AntiphonError:
    """Return what is known of a message whose answer was lost: a wrong token is never let through."""
    return TokenRefused() if sent.spoiled else OutcomeUnknown()


async def _each(messages: Iterable[Payload] | AsyncIterable[Payload]) -> AsyncIterator[Payload]:
    if isinstance(messages, AsyncIterable):
        async for message in messages:
            yield message
    else:
        for message in messages:
            yield message


def _ignore(_: object) -> None:
    """Do nothing about a link that comes or goes."""
