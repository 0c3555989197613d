"""An open session, as a program uses it: ask, be answered, hear what the service says; links come and go below.

What a link brings and what is said on the next one is `exchange.py`'s; how a link comes back is `link.py`'s.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import TypeVar

from antiphon.client.answers import Answers
from antiphon.client.connection import ClientConnection
from antiphon.client.continuity import Sent
from antiphon.client.exchange import Exchange, Window
from antiphon.client.link import Link
from antiphon.client.manners import check_message
from antiphon.client.way_back import lost_for_now
from antiphon.errors import AntiphonError, OutcomeUnknown, TimedOut
from antiphon.wire.bodies import Welcome
from antiphon.wire.frames import Payload
from antiphon.wire.kinds import KIB

Told = TypeVar("Told")

INBOX_LIMIT = 256 * KIB
"""Bytes that may wait for the program to take them; then nothing more is read."""
FAREWELL_SECONDS = 1.0
"""How long a session that is left in haste waits for the server's goodbye."""


class Room(Window):
    """A window at which whoever has something to send waits, first come, first served."""

    def __init__(self) -> None:
        """Begin with nothing on its way."""
        super().__init__()
        self._turn = asyncio.Lock()
        self._less = asyncio.Event()

    async def enter(self, size: int) -> None:
        """Note a message of `size` bytes as soon as it may be sent."""
        if self.full or self._turn.locked():
            async with self._turn:
                while self.full:
                    self._less.clear()
                    await self._less.wait()
                self.add(size)
        else:
            self.add(size)

    def remove(self, size: int) -> None:
        """Note that a message is on its way no longer."""
        super().remove(size)
        self._less.set()


class Session(Exchange[ClientConnection, Answers]):
    """An open session. Made by `connect`; iterating over it gives what the service says by itself."""

    def __init__(self, connection: ClientConnection, welcome: Welcome, link: Link) -> None:
        """Speak on `connection`, which has got `welcome`, and on those that `link` brings about after it."""
        self._room = Room()
        super().__init__(connection, welcome, link, Answers, self._room)
        self._way_back = link
        self._waiting = 0
        """Bytes that have come and nobody has taken."""
        self._ended = asyncio.Event()
        self._answered = asyncio.Event()
        self._answered.set()
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

        At most 256 are on their way at once, and no further one while those have 256 KiB.

        Raises:
            AntiphonError: as `ask`, for the first message that fails; those behind it are taken back.
        """
        begun: asyncio.Queue[Answers | None] = asyncio.Queue()
        room = Room()

        async def send() -> None:
            try:
                async for message in _each(messages):
                    await room.enter(check_message(message, self._limits))
                    begun.put_nowait(await self.begin(message))
            finally:
                begun.put_nowait(None)

        sender = asyncio.create_task(send())
        answers: Answers | None = None
        try:
            while (answers := await begun.get()) is not None:
                yield await answers.next()
                answers.close()
                room.remove(answers.size)
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
        """Send a message and return where its answers come; waits while 256, or 256 KiB of them, are on their way.

        Call `close` on what is returned as soon as no more answers are wanted. One that is `spoiled` goes with a
        wrong token, to see it refused with `TokenRefused`; the third on a connection ends that connection.

        Raises:
            MessageTooLarge: it was not sent.
            AntiphonError: why the session is over.
        """
        size = check_message(message, self._limits)
        await self._room.enter(size)
        try:
            if self._connection.open:
                await self._connection.ready()
            self._check_open()
        except BaseException:
            self._room.remove(size)
            raise
        self._answered.clear()
        return self._say(message, size, spoiled=spoiled)

    def __aiter__(self) -> AsyncIterator[Payload]:
        """Iterate over what the service says by itself; ends with the session.

        What nobody takes waits, up to 256 KiB; then nothing more is read, no answer either: whoever talks to a
        service that says much by itself must iterate.
        """
        return self._pushes

    # --- what comes -------------------------------------------------------------------------------------------

    def _kept(self, payload: Payload) -> None:
        self._waiting += len(payload)
        self._heed_waiting()

    def _taken(self, payload: Payload) -> None:
        self._waiting -= len(payload)
        if self._waiting <= INBOX_LIMIT // 2:
            self._connection.read_on(wanted=True)

    def _heed_waiting(self) -> None:
        if self._waiting > INBOX_LIMIT and not self._leaving:
            self._connection.read_on(wanted=False)

    def _finish(self, sent: Sent[Answers], error: AntiphonError | None) -> None:
        super()._finish(sent, error)
        if not self._continuity.unanswered:
            self._answered.set()

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
                _tell(self.on_lost, reason)
                lost_at = asyncio.get_running_loop().time()
                connection, welcome = await self._way_back.restore(reason, lambda: self._continuity.received)
                self._go_on(connection, welcome)
                _tell(self.on_back, asyncio.get_running_loop().time() - lost_at)
        except AntiphonError as error:
            reason = error
            self._connection.abort()
        self._end(reason)

    def _go_on(self, connection: ClientConnection, welcome: Welcome) -> None:
        super()._go_on(connection, welcome)
        self._heed_waiting()

    def _end(self, reason: AntiphonError | None) -> None:
        super()._end(reason)
        self._answered.set()
        self._ended.set()

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


def _tell(callback: Callable[[Told], object], news: Told) -> None:
    """Tell the program; what fails in it is the event loop's to report, and the link comes back all the same."""
    try:
        callback(news)
    except Exception as error:  # noqa: BLE001 - the program's own
        told = {"message": f"{callback!r} failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(told)


async def _each(messages: Iterable[Payload] | AsyncIterable[Payload]) -> AsyncIterator[Payload]:
    if isinstance(messages, AsyncIterable):
        async for message in messages:
            yield message
    else:
        for message in messages:
            yield message
