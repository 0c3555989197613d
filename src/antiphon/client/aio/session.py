"""Client session for asyncio: ask, take answers, take what the service sends by itself; reconnect when needed.

The rules of a session are in `protocol/session.py`; `reconnect.py` brings a lost connection back.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any, TypeVar, overload

from antiphon.client.aio.alone import SessionAlone
from antiphon.client.aio.answers import Answers
from antiphon.client.aio.ask_many import ask_ahead, ask_as_they_come
from antiphon.client.aio.connection import ClientConnection
from antiphon.client.aio.pushes import OnPush, Pushes
from antiphon.client.aio.reconnect import AsyncReconnector
from antiphon.client.aio.window import WaitingWindow
from antiphon.client.protocol.sign_in import expect
from antiphon.client.protocol.values import AnswerReader, message_of, reader_of
from antiphon.client.protocol.window import check_message
from antiphon.client.seconds import check_seconds
from antiphon.errors import AntiphonError, OutcomeUnknown, TimedOut
from antiphon.wire.bodies import EndOthers, OthersEnded, Welcome
from antiphon.wire.frames import Payload
from antiphon.wire.kinds import KIB, Kind

News = TypeVar("News")
Value = TypeVar("Value")

INBOX_LIMIT = 256 * KIB
"""Bytes that may wait for the program to take them, 64 more counted for each payload; then reading pauses."""
FAREWELL_SECONDS = 1.0
"""Seconds that `hang_up` waits for the server's BYE."""


class ClientSession(SessionAlone):
    """An open session, made by `connect`. Iterate over it, or set `on_push`, for what the service sends by itself.

    Use it in the process that opened it: in a child that is forked meanwhile, sending raises `UsageError`, and
    leaving it there touches nothing.
    """

    def __init__(self, connection: ClientConnection, welcome: Welcome, reconnector: AsyncReconnector) -> None:
        """Use `connection`, which has got `welcome`, and after it those that `reconnector` restores."""
        self._room = WaitingWindow()
        super().__init__(
            connection, welcome, reconnector.policy, Answers, waiting_limit=INBOX_LIMIT, window=self._room
        )
        self._exchange_on(connection)
        self._pushes: Pushes = Pushes(*self._callbacks)  # type: ignore[arg-type] # as in the base class
        self._reconnector = reconnector
        self._ended = asyncio.Event()
        self._moved = asyncio.Event()
        """Set when the session has another connection, or is over; cleared by the one that waits for it."""
        self._answered = asyncio.Event()
        """Set when no answer is due; cleared by the one that waits for it."""
        self._keeper = asyncio.create_task(self._keep())

    @property
    def connection(self) -> ClientConnection:
        """The connection that the session has now, for requests beside messages."""
        return self._connection

    # --- asking -----------------------------------------------------------------------------------------------

    @overload
    async def ask(
        self,
        message: object,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as below
        retry: bool = False,
    ) -> Payload | None: ...
    @overload
    async def ask(
        self,
        message: object,
        *,
        returns: type[Value],
        timeout: float | None = None,  # noqa: ASYNC109 - as below
        retry: bool = False,
    ) -> Value: ...
    @overload
    async def ask(
        self,
        message: object,
        *,
        returns: Any,
        timeout: float | None = None,  # noqa: ASYNC109 - as below
        retry: bool = False,
    ) -> Any: ...
    async def ask(
        self,
        message: object,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - every caller wants it, and it sends CANCEL
        retry: bool = False,
        returns: Any = None,
    ) -> Any:
        """Send a message and return its answer; None if the service gives no answer.

        If the service gives several answers, the first one is returned and the service is told to stop. It is
        also told to stop if the call ends early, by `timeout` or by cancelling.

        Args:
            message: text, bytes, or a value that is sent as JSON; as many bytes as the server takes in one message
                (1 MiB by default).
            timeout: seconds for the answer; by default, and with `math.inf`, without limit.
            retry: ask again if the outcome is unknown. Set it only if the message may be handled twice.
            returns: a type: the answer is returned as a value of it. By default it is text or bytes, as the
                service likes.

        Raises:
            AnswerInvalid: the answer does not fit `returns`; the session goes on.
            MessageInvalid: the service takes values of a type that this message does not fit.
            OutcomeUnknown: nobody knows whether it was handled, because the connection or the server broke.
            MessageTooLarge: it was not sent.
            TimedOut: no answer came in time.
            SettingInvalid: `timeout` is not a number from 0 on.
            AntiphonError: the server refused the message, or the session is over.
        """
        if returns is not None:
            read = AnswerReader(returns)
            return read(await self.ask(message, timeout=timeout, retry=retry))
        if timeout is not None:
            check_seconds("timeout", timeout)
            try:
                async with asyncio.timeout(timeout if timeout < math.inf else None):
                    return await self.ask(message, retry=retry)
            except TimeoutError:
                raise TimedOut(address=self._reconnector.shown, seconds=f"{timeout:g}") from None
        if not isinstance(message, (str, bytes)):
            self._connection.home.check()
            message = message_of(message)
        while True:
            if (asking := self._ask_alone(message)) is None:
                answers = self._begin_now(message, awaited=True) or await self.begin(message)
            else:
                try:
                    if (answer := await asking) is not None:
                        return answer
                except BaseException:  # cancelled
                    self._exchange.leave()
                    if asking.answers is not None:
                        asking.answers.close()
                    raise
                answers = asking.answers
                answers.on_news = None
            try:
                while not answers.ready:
                    await answers.news()
                return answers.take()
            except OutcomeUnknown:
                if not retry or self.over:
                    raise
            finally:
                answers.close()

    @overload
    def ask_stream(self, message: object) -> AsyncIterator[Payload]: ...
    @overload
    def ask_stream(self, message: object, *, returns: type[Value]) -> AsyncIterator[Value]: ...
    @overload
    def ask_stream(self, message: object, *, returns: Any) -> AsyncIterator[Any]: ...
    def ask_stream(self, message: object, *, returns: Any = None) -> AsyncIterator[Any]:
        """Send a message and yield every answer to it. Leaving the iteration early stops the service.

        Answers that the program does not take wait at the server, and so do the answers to other messages: ask
        from within the loop only if the stream is short. If the session is left, the stream ends.

        Raises:
            AntiphonError: as `ask`; the answers that came before it have been yielded.
        """
        return self._stream(message, reader_of(returns))

    async def _stream(self, message: object, read: AnswerReader | None) -> AsyncIterator[Any]:
        answers = await self.begin(message)
        answers.stream = True
        try:
            async for answer in answers:
                yield answer if read is None else read(answer)
        finally:
            answers.close()

    @overload
    def ask_many(self, messages: Iterable[object] | AsyncIterable[object]) -> AsyncIterator[Payload | None]: ...
    @overload
    def ask_many(
        self, messages: Iterable[object] | AsyncIterable[object], *, returns: type[Value]
    ) -> AsyncIterator[Value]: ...
    @overload
    def ask_many(
        self, messages: Iterable[object] | AsyncIterable[object], *, returns: Any
    ) -> AsyncIterator[Any]: ...
    def ask_many(
        self, messages: Iterable[object] | AsyncIterable[object], *, returns: Any = None
    ) -> AsyncIterator[Any]:
        """Send messages ahead of the answers, and yield the answer to each in order.

        At most 256 messages are unanswered at once, and no further one is sent while they have 256 KiB.

        Raises:
            AntiphonError: as `ask`, for the first message that fails; the service is told to stop with those
                behind it.
        """
        read = reader_of(returns)
        if isinstance(messages, AsyncIterable):
            return ask_as_they_come(self.begin, messages, self._limits, read)
        return ask_ahead(self.begin, self._begin_now, messages, read)

    async def send(self, message: object) -> None:
        """Send a message and drop its answer.

        If the connection is lost before the server has it, it is sent again. If the server was killed, nobody can
        know.

        Raises:
            MessageTooLarge: it was not sent.
            AntiphonError: the session is over.
        """
        (await self.begin(message)).ignore()

    async def begin(self, message: object, *, spoiled: bool = False) -> Answers:
        """Send a message and return its answers as they come.

        It waits while 256 messages, or 256 KiB of them, are unanswered. Call `close` on what is returned as soon
        as no more answers are wanted. A `spoiled` message is sent with a wrong token, so that it is refused with
        `TokenRefused`; the third on a connection ends that connection.

        Raises:
            MessageTooLarge: it was not sent.
            AntiphonError: the session is over.
        """
        if not spoiled and (answers := self._begin_now(message)) is not None:
            return answers
        self._connection.home.check()
        self._end_exchange()
        if not isinstance(message, (str, bytes)):
            message = message_of(message)
        size = check_message(message, self._limits)
        await self._room.enter(size)
        try:
            if self._connection.open:
                await self._connection.ready()
            self._check_open()
        except BaseException:
            self._room.remove(size)
            raise
        return self._say(message, size, spoiled=spoiled)

    def _begin_now(self, message: object, *, awaited: bool = False) -> Answers | None:
        """Send a message as `begin` does, unless it would wait: then return None.

        If it is the only message without an answer and its answer is `awaited`, it does not wait for others.

        Raises:
            AntiphonError: as `begin`.
        """
        connection = self._connection
        connection.home.check()
        self._end_exchange()
        if not isinstance(message, (str, bytes)):
            message = message_of(message)
        size = check_message(message, self._limits)
        if self._room.blocked or not connection.takes_more:
            return None
        self._check_open()
        self._room.add(size)
        return self._say(message, size, alone=awaited and not self._replay.unanswered)

    async def end_others(self) -> int:
        """End all other sessions of this account, on every server; return how many there were.

        Whoever uses one reads `EndedElsewhere`. If the connection is lost meanwhile, the request is repeated on
        the next one; sessions that had ended by then are not counted.

        Raises:
            UsageError: the server does not offer it (`can_end_others`).
            AntiphonError: the server cannot do it now, or this session is over.
        """
        while True:
            connection = self._connection
            connection.home.check()
            self._check_can_end_others()
            try:
                return expect(await connection.request(Kind.END_OTHERS, EndOthers()), OthersEnded).sessions
            except AntiphonError:
                if connection.open:
                    raise
            while self._connection is connection and not self.over:
                self._moved.clear()
                await self._moved.wait()

    def __aiter__(self) -> AsyncIterator[Payload]:
        """Iterate over what the service sends by itself; ends with the session.

        Payloads that the program does not take wait, up to 256 KiB, each counted with 64 bytes more. Then reading
        pauses, and no answer comes either: if the service sends much by itself, iterate.
        """
        return self._pushes

    @property
    def on_push(self) -> OnPush | None:
        """The function that gets what the service sends by itself; None, the default: it waits for an iteration.

        Set it at any time: it gets what waits, and then each message as it comes, in order. It may be a coroutine
        function, and is never called before the call for the message before has ended. If it raises, the event
        loop reports that (`call_exception_handler`), and the next message follows. `leave` waits until it has had
        all that came; `hang_up` cancels it. What is said at `__aiter__` of messages that wait holds here too.

        Messages go to the function or to an iteration: while it is set, iterating raises `UsageError`, and so does
        setting it while an iteration waits.
        """
        return self._pushes.callback

    @on_push.setter
    def on_push(self, callback: OnPush | None) -> None:
        self._pushes.give_to(callback)

    # --- receiving --------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        if not self._leaving:
            self._connection.read_on(wanted=False)

    def _drain(self) -> None:
        self._connection.read_on(wanted=True)

    def _all_answered(self) -> None:
        self._answered.set()

    async def _all_answers(self) -> None:
        """Wait until no answer is due, or the session is over."""
        while self._replay.unanswered and not self.over:
            self._answered.clear()
            await self._answered.wait()

    # --- connections come and go ---------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Resume the session whenever its connection is lost, until it is over."""
        reason: AntiphonError | None
        try:
            self._connection.attach(self)
            while True:
                reason = await asyncio.shield(self._connection.closed)
                if not self._may_resume(reason):
                    break
                assert reason is not None
                _tell(self.on_lost, reason)
                lost_at = asyncio.get_running_loop().time()
                connection, welcome = await self._reconnector.restore(reason, lambda: self._replay.received)
                self._go_on(connection, welcome)
                _tell(self.on_back, asyncio.get_running_loop().time() - lost_at)
        except AntiphonError as error:
            reason = error
            self._connection.abort()
        self._end(reason)

    def _go_on(self, connection: ClientConnection, welcome: Welcome) -> None:
        super()._go_on(connection, welcome)
        self._exchange_on(connection)
        self._moved.set()
        if self._full:
            self._fill()

    def _end(self, reason: AntiphonError | None) -> None:
        self._exchange.leave()
        super()._end(reason)
        self._answered.set()
        self._moved.set()
        self._ended.set()

    async def ended(self) -> AntiphonError | None:
        """Wait until the session is over; return the reason, None if the program left."""
        await self._ended.wait()
        return self._error

    # --- leaving ----------------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """End the session: wait for the answers that are due, say BYE, close. Streams are stopped.

        While the connection is lost the server hears no BYE: then the session ends when its time without a
        connection is over.
        """
        await self._leave(in_haste=False)

    async def hang_up(self) -> None:
        """End the session at once, without waiting for answers."""
        await self._leave(in_haste=True)

    async def _leave(self, *, in_haste: bool) -> None:
        if self._connection.home.is_elsewhere:
            return
        self._exchange.leave()
        if not self.over:
            self._leaving = True
            self._connection.read_on(wanted=True)
            if not in_haste:
                self._take_back_streams()
                await self._all_answers()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS if in_haste else None):
                    await self._connection.leave()
        self._keeper.cancel()
        await asyncio.wait({self._keeper})
        self._connection.abort()
        self._end(None)
        await (self._pushes.stop() if in_haste else self._pushes.delivered())


def _tell(callback: Callable[[News], object], news: News) -> None:
    """Call the program's callback; if it fails, the event loop reports it and the session goes on."""
    try:
        callback(news)
    except Exception as error:  # noqa: BLE001 - the program's own
        failure = {"message": f"{callback!r} failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(failure)
