"""An open session of the blocking client: ask, be answered, hear what the service says.

No thread and no event loop stands behind it: what is to happen happens inside the calls, heartbeats and the return
of a lost link among them. What a link brings and what is said on the next one is `exchange.py`'s.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from antiphon.client.blocking_connection import BlockingConnection, Deadline
from antiphon.client.blocking_link import BlockingLink
from antiphon.client.exchange import Exchange, Inbox, Window
from antiphon.client.manners import check_message
from antiphon.client.way_back import lost_for_now
from antiphon.errors import AntiphonError, OutcomeUnknown, PeerTooSlow, TimedOut
from antiphon.wire.bodies import Welcome
from antiphon.wire.frames import Payload
from antiphon.wire.kinds import MESSAGE_LIMIT_MOST

BACKLOG_LIMIT = MESSAGE_LIMIT_MOST
"""Bytes of messages that may wait for somebody to take them, while an answer behind them is waited for."""
COST = 64
"""Bytes that a message takes in memory beside its own."""


class Session(Exchange[BlockingConnection, Inbox]):
    """A signed-in conversation; a context manager that leaves at its end.

    One thread uses it at a time. A link that is lost comes back inside the calls, and within their time. The
    server cuts a link on which it hears nothing for its silence limit (40 s by default): a session that has
    nothing to say but wants to keep its link calls `heartbeat` before that. Every call that waits sends heartbeats
    by itself.

    Where `timeout` is an argument it is in seconds, by default the one of `connect`; `math.inf` waits for as long
    as the server shows that it is there, or may come back.
    """

    def __init__(
        self, connection: BlockingConnection, welcome: Welcome, link: BlockingLink, timeout: float
    ) -> None:
        """Use `connect`."""
        super().__init__(connection, welcome, link, Inbox)
        self._way_back = link
        self._lost_at: float | None = None
        self._backlog = 0
        self._timeout = timeout
        connection.attach(self)

    def __repr__(self) -> str:
        """Show who, and where; no secret is kept here."""
        return f"<Session of {self.info.name} at {self.address}>"

    @property
    def address(self) -> str:
        """The server's address, without name and fingerprint."""
        return self._link.shown

    # --- asking -----------------------------------------------------------------------------------------------

    def ask(self, message: Payload, *, timeout: float | None = None, retry: bool = False) -> Payload | None:
        """Send `message` and return its answer, the first one where the service gives several; None for none.

        Text is answered by text or bytes, as the service likes. A message that is given up, because `TimedOut` is
        raised, is taken back, and may have been handled all the same; the session goes on. With `retry`, a message
        whose outcome is unknown is asked again: say so only where it may be done twice.

        Raises:
            MessageTooLarge, NotText: the message cannot be sent.
            OutcomeUnknown: nobody knows whether it was handled, because the link or the server broke.
            ServiceFailed: the service failed on it; the session goes on.
            TimedOut: no answer came in time.
            ConnectError, SignInError, ProtocolError, ServerError: why the session is over.
        """
        deadline = self._deadline(timeout)
        while True:
            box = self._begin(message, deadline)
            try:
                return self._take(box, deadline)
            except OutcomeUnknown:
                if not retry or self.over:
                    raise
            finally:
                box.close()

    def ask_stream(self, message: Payload, *, timeout: float | None = None) -> Iterator[Payload]:
        """Send `message` now, and return an iterator over all its answers; each may take `timeout` seconds.

        Leaving the iteration early has the service stop.

        Raises:
            AntiphonError: as `ask`; what concerns the answers, from the iterator.
        """
        return self._answers(self._begin(message, self._deadline(timeout)), timeout)

    def _answers(self, box: Inbox, timeout: float | None) -> Iterator[Payload]:
        try:
            while (answer := self._take(box, self._deadline(timeout))) is not None:
                yield answer
        finally:  # who leaves early wants no more
            box.close()

    def ask_many(self, messages: Iterable[Payload], *, timeout: float | None = None) -> Iterator[Payload | None]:
        """Send messages one behind the other, ahead of the answers, and yield the answers in order.

        At most 256 are on their way, and no further one while those have 256 KiB. Nothing is sent before the
        first answer is asked for. The first message that is refused, here or there, ends it with its error, in its
        place; those behind it are taken back.

        Raises:
            AntiphonError: as `ask`.
        """
        waiting: deque[Inbox] = deque()
        ahead = Window()
        failure: AntiphonError | None = None
        try:
            for message in messages:
                try:
                    waiting.append(self._begin(message, self._deadline(timeout)))
                except AntiphonError as error:  # those before it have their answers first
                    failure = error
                    break
                ahead.add(waiting[-1].size)
                while waiting and (waiting[0].ready or ahead.full):
                    yield self._first(waiting, ahead, timeout)
            while waiting:
                yield self._first(waiting, ahead, timeout)
            if failure is not None:
                raise failure
        finally:
            for box in waiting:
                box.close()

    def _first(self, waiting: deque[Inbox], ahead: Window, timeout: float | None) -> Payload | None:
        answer = self._take(waiting[0], self._deadline(timeout))
        box = waiting.popleft()
        box.close()
        ahead.remove(box.size)
        return answer

    def send(self, message: Payload) -> None:
        """Send `message` and want no answer; like any other, it is sent again if the link is lost on the way.

        Raises:
            MessageTooLarge, NotText: the message cannot be sent.
            TimedOut: the server does not take it, or cannot be reached.
            AntiphonError: why the session is over.
        """
        self._begin(message, self._deadline(None)).ignore()

    # --- hearing ----------------------------------------------------------------------------------------------

    def receive(self, *, timeout: float | None = None) -> Payload | None:
        """Return the next message that the server says unasked; None when the session was left.

        Raises:
            TimedOut: nothing came in time.
            AntiphonError: why the session is over.
        """
        return self._take(self._pushes, self._deadline(timeout))

    def __iter__(self) -> Iterator[Payload]:
        """Yield what the server says unasked, for as long as the session lives; as `receive`."""
        while (message := self.receive(timeout=math.inf)) is not None:
            yield message

    def heartbeat(self) -> None:
        """Tell the server that we are still there, and take what has come meanwhile.

        Raises:
            TimedOut: the link is lost, and does not come back in time.
            AntiphonError: why the session is over.
        """
        self._connection.look()
        self._wait(lambda: self._over or not self._connection.closed, self._deadline(None))
        self._check_open()
        self._connection.heartbeat()

    # --- leaving ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Leave: the session ends, when everything that was sent before has been handled.

        That is waited for, for at most the `timeout` of `connect`; streams are taken back. Closing twice is no
        error. While the link is lost and nothing is due, nobody hears the goodbye: the session ends when its time
        without a link is over.
        """
        deadline = self._deadline(None)
        for sent in list(self._continuity.unanswered):
            sent.asker.close()
        with suppress(AntiphonError):
            self._wait(lambda: self._over or not self._continuity.unanswered, deadline)
        self._leaving = True
        self._connection.leave(max(0.0, deadline.at - time.monotonic()))
        self._end(None)

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave; where the program is to end at once (Ctrl-C), without waiting."""
        if kind is None or issubclass(kind, Exception):
            self.close()
        else:
            self._leaving = True
            self._connection.hang_up()
            self._end(None)

    # --- waiting ----------------------------------------------------------------------------------------------

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._timeout if timeout is None else timeout)

    def _begin(self, message: Payload, deadline: Deadline) -> Inbox:
        """Send a message as soon as there is a link, and room for it on the way."""
        size = check_message(message, self._limits)
        self._check_open()
        self._connection.look()  # a link that is known to be lost is given nothing
        self._wait(lambda: self._over or not (self._window.full or self._connection.closed), deadline)
        self._check_open()
        return self._say(message, size)

    def _take(self, box: Inbox, deadline: Deadline) -> Payload | None:
        self._wait(lambda: box.ready, deadline)
        return box.take()

    def _wait(self, until: Callable[[], bool], deadline: Deadline) -> None:
        """Take what comes, on one link after another, until there is what is waited for.

        Raises:
            TimedOut: it was not there in time.
        """
        while not until():
            try:
                if self._connection.closed:
                    self._mend(deadline)
                else:
                    self._connection.wait(until, deadline)
            except TimeoutError:
                raise TimedOut(address=self.address, seconds=f"{deadline.seconds:g}") from None

    def _mend(self, deadline: Deadline) -> None:
        """Take the session up again, whose link is lost; where that cannot be, end it.

        Raises:
            TimeoutError: that takes longer than this call may; the next one goes on.
        """
        reason = self._connection.reason
        if reason is None or not (lost_for_now(reason) and self._link.patient):
            self._end(reason)
            return
        if self._lost_at is None:
            self._lost_at = time.monotonic()
            self.on_lost(reason)
            if self._lost_at is None or self._over:  # it has asked something, and so brought the link back
                return
        try:
            self._go_on(*self._way_back.restore(reason, self._continuity.received, deadline))
        except AntiphonError as error:
            self._connection.abort()
            self._end(error)
            return
        away, self._lost_at = time.monotonic() - self._lost_at, None
        self.on_back(away)

    def _kept(self, payload: Payload) -> None:
        if self._backlog > BACKLOG_LIMIT:
            raise PeerTooSlow
        self._backlog += COST + len(payload)

    def _taken(self, payload: Payload) -> None:
        self._backlog -= COST + len(payload)
