"""Session of the blocking client: ask, take answers, take what the service sends by itself.

There is no thread and no event loop behind it: everything happens inside the calls, heartbeats and reconnection
too. The rules of a session are in `protocol/session.py`.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from antiphon.client.blocking.connection import BlockingConnection, Deadline
from antiphon.client.blocking.reconnect import BlockingReconnector
from antiphon.client.protocol.inbox import Inbox
from antiphon.client.protocol.session import SessionProtocol
from antiphon.client.protocol.sign_in import expect
from antiphon.client.protocol.values import AnswerReader, message_of, reader_of
from antiphon.client.protocol.window import Window, check_message
from antiphon.client.seconds import check_seconds
from antiphon.errors import AntiphonError, OutcomeUnknown, PeerTooSlow, TimedOut
from antiphon.wire.bodies import EndOthers, OthersEnded, Welcome
from antiphon.wire.frames import Payload
from antiphon.wire.kinds import MESSAGE_LIMIT_MOST, Kind

Value = TypeVar("Value")

BACKLOG_LIMIT = MESSAGE_LIMIT_MOST
"""Bytes that may wait for the program while an answer behind them is awaited, 64 more counted for each payload.

Reading cannot pause as in the asyncio client, because the awaited answer would not come: the connection is
closed.
"""


class Session(SessionProtocol[BlockingConnection, Inbox]):
    """An open session; a context manager that ends the session with its block.

    Use it from one thread at a time, in the process that opened it: in a forked child every use raises
    `UsageError`, and leaving the session there has no effect. A lost connection is restored inside the calls,
    within their time limit. The server closes a connection on which it receives nothing for its silence limit
    (40 s by default). If your program has nothing to send and must keep the connection, call `heartbeat` before
    that. Calls that wait send heartbeats by themselves.

    Every `timeout` is in seconds, by default that of `connect`: 0 takes only what is there, `math.inf` waits for
    as long as the session lives. Anything but a number from 0 on raises `SettingInvalid`, before anything is sent.
    """

    def __init__(
        self, connection: BlockingConnection, welcome: Welcome, reconnector: BlockingReconnector, timeout: float
    ) -> None:
        """Use `connect`."""
        super().__init__(connection, welcome, reconnector.policy, Inbox, waiting_limit=BACKLOG_LIMIT)
        self._reconnector = reconnector
        self._lost_at: float | None = None
        self._timeout = timeout
        connection.attach(self)

    def __repr__(self) -> str:
        """Show name and address, no secret."""
        return f"<Session of {self.info.name} at {self.address}>"

    @property
    def address(self) -> str:
        """The server's address, without name and fingerprint."""
        return self._reconnector.shown

    # --- asking -----------------------------------------------------------------------------------------------

    @overload
    def ask(self, message: object, *, timeout: float | None = None, retry: bool = False) -> Payload | None: ...
    @overload
    def ask(
        self, message: object, *, returns: type[Value], timeout: float | None = None, retry: bool = False
    ) -> Value: ...
    @overload
    def ask(self, message: object, *, returns: Any, timeout: float | None = None, retry: bool = False) -> Any: ...
    def ask(
        self, message: object, *, timeout: float | None = None, retry: bool = False, returns: Any = None
    ) -> Any:
        """Send `message` and return its answer; None if the service gives no answer.

        A message that is neither text nor bytes is sent as JSON. If the service gives several answers, the first
        one is returned: as a value of the type `returns`, or else as text or bytes, as the service likes.
        After `TimedOut` the service is told to stop, the message may have been handled, and the session goes on.
        With `retry`, a message whose outcome is unknown is asked again: set it only if the message may be handled
        twice.

        Raises:
            MessageTooLarge, NotText: the message cannot be sent.
            MessageInvalid: the service takes values of a type that it does not fit.
            AnswerInvalid: the answer does not fit `returns`; the session goes on.
            OutcomeUnknown: nobody knows whether it was handled, because the connection or the server broke.
            ServiceFailed: the service failed on it; the session goes on.
            TimedOut: no answer came in time.
            ConnectError, SignInError, ProtocolError, ServerError: the session is over.
        """
        read = reader_of(returns)
        deadline = self._deadline(timeout)
        while True:
            box = self._begin(message, deadline)
            try:
                answer = self._take(box, deadline)
                return answer if read is None else read(answer)
            except OutcomeUnknown:
                if not retry or self.over:
                    raise
            finally:
                box.close()

    @overload
    def ask_stream(self, message: object, *, timeout: float | None = None) -> Iterator[Payload]: ...
    @overload
    def ask_stream(
        self, message: object, *, returns: type[Value], timeout: float | None = None
    ) -> Iterator[Value]: ...
    @overload
    def ask_stream(self, message: object, *, returns: Any, timeout: float | None = None) -> Iterator[Any]: ...
    def ask_stream(self, message: object, *, timeout: float | None = None, returns: Any = None) -> Iterator[Any]:
        """Send `message` now, and return an iterator over all its answers; each may take `timeout` seconds.

        Leaving the iteration early stops the service. If the session is left, the stream ends.

        Raises:
            AntiphonError: as `ask`; errors of the answers are raised by the iterator.
        """
        read = reader_of(returns)
        box = self._begin(message, self._deadline(timeout))
        box.stream = True
        return self._answers(box, timeout, read)

    def _answers(self, box: Inbox, timeout: float | None, read: AnswerReader | None) -> Iterator[Any]:
        try:
            while (answer := self._take(box, self._deadline(timeout))) is not None:
                yield answer if read is None else read(answer)
        finally:
            box.close()

    @overload
    def ask_many(
        self, messages: Iterable[object], *, timeout: float | None = None
    ) -> Iterator[Payload | None]: ...
    @overload
    def ask_many(
        self, messages: Iterable[object], *, returns: type[Value], timeout: float | None = None
    ) -> Iterator[Value]: ...
    @overload
    def ask_many(
        self, messages: Iterable[object], *, returns: Any, timeout: float | None = None
    ) -> Iterator[Any]: ...
    def ask_many(
        self, messages: Iterable[object], *, timeout: float | None = None, returns: Any = None
    ) -> Iterator[Any]:
        """Send messages ahead of the answers, and yield the answer to each in order.

        At most 256 messages are unanswered at once, and no further one is sent while they have 256 KiB. Nothing is
        sent before the first answer is asked for. Messages of a collection, such as a list, are sent many at once;
        those of a generator as they come, because the next one may take long.

        Raises:
            AntiphonError: as `ask`, for the first message that fails; the service is told to stop with those
                behind it.
        """
        return self._ask_many(messages, timeout, reader_of(returns))

    def _ask_many(
        self, messages: Iterable[object], timeout: float | None, read: AnswerReader | None
    ) -> Iterator[Any]:
        rest, at_hand = iter(messages), isinstance(messages, Collection)
        waiting: deque[Inbox] = deque()
        ahead = Window()
        failure: AntiphonError | None = None
        try:
            more = True
            while more:
                try:
                    more = self._send_ahead(rest, waiting, ahead, timeout, many=at_hand)
                except AntiphonError as error:  # raised behind the answers to those before it
                    failure, more = error, False
                while waiting and not (more and (ahead.low if at_hand else not (waiting[0].ready or ahead.full))):
                    box = waiting[0]
                    answer = box.take() if box.ready else self._take(box, self._deadline(timeout))
                    waiting.popleft()
                    box.close()
                    ahead.remove(box.size)
                    yield answer if read is None else read(answer)
            if failure is not None:
                raise failure
        finally:
            for box in waiting:
                box.close()

    def _send_ahead(
        self,
        messages: Iterator[object],
        waiting: deque[Inbox],
        ahead: Window,
        timeout: float | None,
        *,
        many: bool,
    ) -> bool:
        """Send a message, or as `many` as may be unanswered; return False if there is none left."""
        if not many:
            for message in messages:
                waiting.append(self._begin(message, self._deadline(timeout)))
                ahead.add(waiting[-1].size)
                return True
            return False
        self._make_room(self._deadline(timeout))
        with self._connection.together():
            for message in messages:
                payload = message if isinstance(message, (str, bytes)) else message_of(message)
                size = check_message(payload, self._limits)
                ahead.add(size)
                self._window.add(size)
                waiting.append(self._say(payload, size))
                if ahead.full or self._window.full:
                    return True
        return False

    def send(self, message: object) -> None:
        """Send `message` and drop its answer.

        If the connection is lost before the server has it, it is sent again. If the server was killed, nobody can
        know.

        Raises:
            MessageTooLarge, NotText: the message cannot be sent.
            TimedOut: the server does not take it, or cannot be reached.
            AntiphonError: the session is over.
        """
        self._begin(message, self._deadline(None)).ignore()

    def end_others(self, *, timeout: float | None = None) -> int:
        """End all other sessions of this account, on every server; return how many there were.

        Whoever uses one reads `EndedElsewhere`. If the connection is lost meanwhile, the request is repeated on
        the next one; sessions that had ended by then are not counted.

        Raises:
            UsageError: the server does not offer it (`can_end_others`).
            TimedOut: no answer came in time; they may have ended.
            AntiphonError: the server cannot do it now, or this session is over.
        """
        deadline = self._deadline(timeout)
        while True:
            self._connection.home.check()
            self._wait(lambda: self._over or not self._connection.closed, deadline)
            self._check_can_end_others()
            connection, left = self._connection, max(0.0, deadline.at - time.monotonic())
            try:
                body = connection.request(Kind.END_OTHERS, EndOthers(), seconds=left)
                return expect(body, OthersEnded).sessions
            except AntiphonError:
                if connection.open:
                    raise
            self._wait(partial(self._has_left, connection), deadline)

    def _has_left(self, connection: BlockingConnection) -> bool:
        return self._over or self._connection is not connection

    # --- receiving --------------------------------------------------------------------------------------------

    def receive(self, *, timeout: float | None = None) -> Payload | None:
        """Return the next message that the service sends by itself; None after the program has left.

        Raises:
            TimedOut: nothing came in time.
            AntiphonError: the session is over.
        """
        return self._take(self._pushes, self._deadline(timeout))

    def __iter__(self) -> Iterator[Payload]:
        """Yield what the service sends by itself, for as long as the session lives; as `receive`."""
        while (message := self.receive(timeout=math.inf)) is not None:
            yield message

    def heartbeat(self) -> None:
        """Send a heartbeat, and read the frames that have arrived.

        Raises:
            TimedOut: the connection is lost, and is not restored in time.
            AntiphonError: the session is over.
        """
        self._connection.home.check()
        self._connection.look()
        self._wait(lambda: self._over or not self._connection.closed, self._deadline(None))
        self._check_open()
        self._connection.heartbeat()

    # --- leaving ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the session: wait for the answers that are due, say BYE, close. Streams are stopped.

        It takes at most the `timeout` of `connect`. Closing twice is no error. If the connection is lost and no
        answer is due, the server gets no BYE: then the session ends when its time without a connection is over.
        """
        if self._connection.home.is_elsewhere:
            return
        deadline = self._deadline(None)
        self._take_back_streams()
        with suppress(AntiphonError):
            self._wait(lambda: self._over or not self._replay.unanswered, deadline)
        self._leaving = True
        self._connection.leave(max(0.0, deadline.at - time.monotonic()))
        self._end(None)

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the session; without waiting if the program must end at once (Ctrl-C)."""
        if kind is None or issubclass(kind, Exception):
            self.close()
        elif not self._connection.home.is_elsewhere:
            self._leaving = True
            self._connection.hang_up()
            self._end(None)

    # --- waiting ----------------------------------------------------------------------------------------------

    def _deadline(self, timeout: float | None) -> Deadline:
        if timeout is None:
            return Deadline(self._timeout)
        check_seconds("timeout", timeout)
        return Deadline(timeout)

    def _begin(self, message: object, deadline: Deadline) -> Inbox:
        """Send a message as soon as there is a connection, and room in the window."""
        if not isinstance(message, (str, bytes)):
            message = message_of(message)
        size = check_message(message, self._limits)
        self._make_room(deadline)
        self._window.add(size)
        return self._say(message, size)

    def _make_room(self, deadline: Deadline) -> None:
        """Wait until there is a connection, and room for a message in the window."""
        self._connection.home.check()
        self._check_open()
        self._connection.look()  # so that a lost connection is known as such, and given nothing
        if self._window.full or self._connection.closed:
            self._wait(lambda: self._over or not (self._window.full or self._connection.closed), deadline)
            self._check_open()

    def _take(self, box: Inbox, deadline: Deadline) -> Payload | None:
        if not box.ready:
            self._wait(box.is_ready, deadline)
        return box.take()

    def _wait(self, until: Callable[[], bool], deadline: Deadline) -> None:
        """Read, on one connection after another, until `until` returns true.

        Raises:
            TimedOut: it did not in time.
            UsageError: this process was forked after the session was opened.
        """
        self._connection.home.check()
        while True:
            try:
                if not self._connection.closed:
                    if self._connection.wait(until, deadline):
                        return
                elif until():
                    return
                else:
                    self._reconnect(deadline)
            except TimeoutError:
                raise TimedOut(address=self.address, seconds=f"{deadline.seconds:g}") from None

    def _reconnect(self, deadline: Deadline) -> None:
        """Resume the session, whose connection is lost; end it if that is impossible.

        Raises:
            TimeoutError: it takes longer than this call may; the next call goes on.
        """
        reason = self._connection.reason
        if reason is None or not self._may_resume(reason):
            self._end(reason)
            return
        if self._lost_at is None:
            self._lost_at = time.monotonic()
            self.on_lost(reason)
            if self._lost_at is None or self._over:  # the callback asked something, and so resumed the session
                return
        try:
            self._go_on(*self._reconnector.restore(reason, self._replay.received, deadline))
        except AntiphonError as error:
            self._connection.abort()
            self._end(error)
            return
        away, self._lost_at = time.monotonic() - self._lost_at, None
        self.on_back(away)

    def _fill(self) -> None:
        raise PeerTooSlow
