"""What a session has asked and what has come for it, on one link after another.

Both clients' sessions stand on it: when something is sent or waited for is theirs. Which messages are sent again
after a lost link, and which are not, is `continuity.py`'s.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from antiphon.client.continuity import Continuity, Sent
from antiphon.client.info import SessionInfo
from antiphon.client.way_back import WayBack
from antiphon.errors import AntiphonError, OutcomeUnknown, SessionEnded, TokenRefused
from antiphon.wire.bodies import Limits, Welcome
from antiphon.wire.conversation import ClientConversation
from antiphon.wire.frames import HEADER_SIZE, Payload, encode_message
from antiphon.wire.kinds import KIB

WINDOW = 256
"""Messages that may be on their way at once: enough to fill any path, few enough to hold."""
WINDOW_BYTES = 256 * KIB
"""Bytes of messages on their way at which no further one is sent: as many as a server lets wait."""
ACK_EVERY = 64 * KIB
"""Bytes that may come before the server is told that they have (docs/protocol.md, "Continuity")."""


class Window:
    """How much is on its way, and whether that is enough."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._messages = self._size = 0

    @property
    def full(self) -> bool:
        """Whether a further message has to wait."""
        return self._messages >= WINDOW or self._size >= WINDOW_BYTES

    def add(self, size: int) -> None:
        """Note a message of `size` bytes that is sent."""
        self._messages += 1
        self._size += size

    def remove(self, size: int) -> None:
        """Note that it is on its way no longer."""
        self._messages -= 1
        self._size -= size


class Inbox:
    """Payloads in order, and their end: the answers to one message, or what the service says by itself.

    `taken` is told of each payload that somebody takes, or will never take; `take_back` has the service stop.
    """

    __slots__ = ("_ended", "_error", "_items", "_take_back", "_taken", "sent", "size")

    def __init__(self, taken: Callable[[Payload], None], take_back: Callable[[Sent["Inbox"]], None]) -> None:
        """Begin empty."""
        self._items: deque[Payload] = deque()
        self._taken = taken
        self._take_back = take_back
        self._ended = False
        self._error: AntiphonError | None = None
        self.sent: Sent[Inbox] | None = None
        """The message, None for what the service says by itself."""
        self.size = 0
        """The message's, in bytes."""

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return self._ended

    @property
    def error(self) -> AntiphonError | None:
        """Why it has ended, if not in order."""
        return self._error

    @property
    def ready(self) -> bool:
        """Whether `take` has something to say."""
        return bool(self._items) or self._ended

    def put(self, payload: Payload) -> None:
        """Add what has come."""
        self._items.append(payload)
        self._stir()

    def end(self, error: AntiphonError | None = None) -> None:
        """Note that nothing more comes, because of `error` if there is one; the first end counts."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._stir()

    def take(self) -> Payload | None:
        """Return the next payload, None at the end; only where it is `ready`.

        Raises:
            AntiphonError: why it has ended.
        """
        if self._items:
            payload = self._items.popleft()
            self._taken(payload)
            return payload
        if self._error is not None:
            raise self._error
        return None

    def take_all(self) -> list[Payload]:
        """Return all that has come and was not taken yet."""
        payloads = list(self._items)
        self._items.clear()
        for payload in payloads:
            self._taken(payload)
        return payloads

    def ignore(self) -> None:
        """Drop what comes; the service does not stop."""
        self.take_all()
        self.end()

    def close(self) -> None:
        """Want no more answers: the service is stopped if it is still at work."""
        at_work = not self._ended
        self.ignore()
        if at_work and self.sent is not None:
            self._take_back(self.sent)

    def _stir(self) -> None:
        """Wake whoever waits."""


class Link(Protocol):
    """What either client's connection does for an open session."""

    @property
    def open(self) -> bool:
        """Whether messages can still be sent."""

    @property
    def conversation(self) -> ClientConversation:
        """What makes frames of the session."""

    @property
    def limits(self) -> Limits:
        """What the server wants to be kept to."""

    def send(self, data: bytes) -> None:
        """Send a frame; that the link breaks shows elsewhere."""

    def attach(self, receiver: "Receiver") -> None:
        """Give `receiver` the frames of the session, what has come already first."""


class Receiver(Protocol):
    """Whom an open session's frames are for."""

    def message(self, id: int, payload: Payload, *, last: bool) -> None:
        """Take an answer to the message `id`, or with id 0 what the service says by itself."""

    def end(self, id: int, error: AntiphonError | None) -> None:
        """Take note that nothing more comes for `id`, because of `error` if there is one."""

    def acknowledgement(self) -> bytes:
        """Return what goes with a heartbeat."""


Line = TypeVar("Line", bound=Link)
Box = TypeVar("Box", bound=Inbox)


class Exchange(Generic[Line, Box]):
    """One session's messages and their answers; what a link brings is said to it as to a `Receiver`."""

    def __init__(
        self, connection: Line, welcome: Welcome, link: WayBack, box: type[Box], window: Window | None = None
    ) -> None:
        """Speak on `connection`, which has got `welcome`, and on those that `link` brings about after it."""
        self._continuity: Continuity[Box] = Continuity()
        self._window = window or Window()
        self._link = link
        self._connection = connection
        self._limits = connection.limits
        self._unacknowledged = 0
        self._box = box
        self._pushes = self._new_box()
        self._leaving = self._over = False
        self._error: AntiphonError | None = None
        self.on_lost: Callable[[AntiphonError], object] = _ignore
        """Called when the link is lost, with the reason; it is tried again."""
        self.on_back: Callable[[float], object] = _ignore
        """Called when the link is back, with the seconds that it was away."""
        self.info = SessionInfo.of(welcome)
        """What the server said at the door."""

    @property
    def over(self) -> bool:
        """Whether the session has ended, or has been given up."""
        return self._over

    def _check_open(self) -> None:
        if self._over or self._leaving:
            raise self._error or SessionEnded()

    # --- what goes --------------------------------------------------------------------------------------------

    def _new_box(self) -> Box:
        return self._box(self._taken, self._take_back)  # type: ignore[arg-type] # its message is one of ours

    def _say(self, message: Payload, size: int, *, spoiled: bool = False) -> Box:
        """Send a message that has room in the window, now or on the next link; return where its answers come."""
        box = self._new_box()
        box.size = size
        sent = self._continuity.send(message, box)
        sent.spoiled = spoiled
        box.sent = sent  # type: ignore[assignment] # as above
        if self._connection.open:
            self._write(sent)
        return box

    def _write(self, sent: Sent[Box]) -> None:
        sent.written = True
        token = self._connection.conversation.token
        if sent.spoiled:
            token = token[:-1] + bytes([token[-1] ^ 1])
        self._connection.send(encode_message(sent.id, sent.message, token=token))

    def _take_back(self, sent: Sent[Box]) -> None:
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

    def _put(self, box: Inbox, payload: Payload) -> None:
        if not box.ended:
            self._kept(payload)
            box.put(payload)

    def _kept(self, payload: Payload) -> None:
        """Take note of what waits to be taken."""

    def _taken(self, payload: Payload) -> None:
        """Take note of what waits no longer."""

    def _finish(self, sent: Sent[Box], error: AntiphonError | None) -> None:
        sent.asker.end(error)
        self._window.remove(sent.asker.size)

    def _tell_unknown(self) -> None:
        for sent in self._continuity.unknown():
            self._finish(sent, _unheard(sent))

    # --- links come and go ------------------------------------------------------------------------------------

    def _go_on(self, connection: Line, welcome: Welcome) -> None:
        """Say again what the server has not got, on a connection that has just resumed the session."""
        self._connection = connection
        again = self._continuity.resume(
            welcome.received, missed=welcome.missed, sent=welcome.sent, at_work=welcome.open
        )
        self._unacknowledged = 0
        self._tell_unknown()
        connection.attach(self)
        for sent in again:
            if connection.open:
                self._write(sent)
        for sent in list(self._continuity.unanswered):
            if sent.taken_back:
                self._take_back(sent)

    def _end(self, reason: AntiphonError | None) -> None:
        """End for good; `reason` is None where it was left."""
        if self._over:
            return
        self._over = True
        self._error = reason
        for sent in list(self._continuity.unanswered):
            error = reason or SessionEnded()
            if sent.written:
                error, error.__cause__ = _unheard(sent), error
            sent.asker.end(error)
            self._window.remove(sent.asker.size)
        self._pushes.end(reason)


def _unheard(sent: Sent[Any]) -> AntiphonError:
    """Return what is known of a message whose answer was lost: a wrong token is never let through."""
    return TokenRefused() if sent.spoiled else OutcomeUnknown()


def _ignore(_: object) -> None:
    """Do nothing about a link that comes or goes."""
