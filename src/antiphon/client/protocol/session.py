"""Session protocol: a session's messages and their answers, on one connection after another. No I/O, no clock.

Both clients' sessions are subclasses: they add when to send and how to wait. Which messages are sent again after a
lost connection is decided by `replay.py`, when the connection is tried again by `reconnect.py`.
"""

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from antiphon.client.protocol.connection import Receiver
from antiphon.client.protocol.inbox import Inbox
from antiphon.client.protocol.info import SessionInfo
from antiphon.client.protocol.reconnect import ReconnectPolicy, temporary
from antiphon.client.protocol.unanswered import Sent, UnansweredMessages
from antiphon.client.protocol.window import Window
from antiphon.errors import AntiphonError, OutcomeUnknown, Problem, SessionEnded, TokenRefused, UsageError
from antiphon.language import N_
from antiphon.wire.bodies import END_OTHERS, Limits, Welcome
from antiphon.wire.client_batch import Answer, encode_message
from antiphon.wire.conversation import ClientConversation
from antiphon.wire.frames import HEADER_SIZE, Payload
from antiphon.wire.kinds import KIB

ACK_EVERY = 64 * KIB
"""Bytes of frames after which the server is sent an ACK (docs/protocol.md, "Continuity")."""
UNPROVED_ACK_EVERY = 16 * KIB
"""The same in a session without a password, of which the server keeps less."""
OVERHEAD = 64
"""Bytes that a payload takes in memory beside its own content; an empty one too."""


_CANNOT_END_OTHERS = Problem(
    N_("This server cannot end other sessions: it asks for no password, or is of an earlier version.")
)


class SessionConnection(Protocol):
    """Contract between a session and the connection of either client."""

    @property
    def open(self) -> bool:
        """Whether messages can still be sent."""

    @property
    def conversation(self) -> ClientConversation:
        """The encoder of the session's frames."""

    @property
    def limits(self) -> Limits:
        """The limits that HELLO sets."""

    def send(self, data: bytes, *, alone: bool = False) -> None:
        """Send frames of the session; if the connection breaks, that is told elsewhere.

        Frames that are not `alone` may wait for those that follow at once.
        """

    def attach(self, receiver: Receiver) -> None:
        """Give `receiver` the frames of the session, those that have come already first."""


Connection = TypeVar("Connection", bound=SessionConnection)
Box = TypeVar("Box", bound=Inbox)


class SessionProtocol(Generic[Connection, Box]):
    """One session's messages and their answers. Each connection gives its frames to it as to a `Receiver`."""

    def __init__(
        self,
        connection: Connection,
        welcome: Welcome,
        policy: ReconnectPolicy,
        box: type[Box],
        *,
        waiting_limit: int,
        window: Window | None = None,
    ) -> None:
        """Use `connection`, which has got `welcome`.

        `waiting_limit` is the number of bytes that may wait for the program; each payload counts with its
        `OVERHEAD`, so that the limit holds for empty ones too.
        """
        self.info = SessionInfo.of(welcome)
        """Who is signed in, and what the server said at the sign-in."""
        self._replay: UnansweredMessages[Box] = UnansweredMessages()
        self._window = window or Window()
        self._policy = policy
        self._connection = connection
        self._limits = connection.limits
        self._unacknowledged = 0
        hello = connection.conversation.hello
        proved = hello is None or hello.access == "authenticate"
        self._ack_every = ACK_EVERY if proved else UNPROVED_ACK_EVERY
        self._box = box
        self._callbacks = self._taken, self._take_back  # made once: every box has them
        self._pushes = box(*self._callbacks)  # type: ignore[arg-type] # its message is one of ours
        self._leaving = self._over = False
        self._error: AntiphonError | None = None
        self._waiting = 0
        """Bytes that have come and wait for the program, overhead included."""
        self._waiting_limit = waiting_limit
        self._full = False
        """Whether `_fill` was called, and not yet `_drain`."""
        self.on_lost: Callable[[AntiphonError], object] = _ignore
        """Called with the reason when the connection is lost; reconnecting starts then."""
        self.on_back: Callable[[float], object] = _ignore
        """Called when the session has a connection again, with the seconds that it was without one."""

    @property
    def over(self) -> bool:
        """Whether the session has ended, or was given up."""
        return self._over

    @property
    def can_end_others(self) -> bool:
        """Whether the server offers `end_others`: it asks for passwords, and is not of an earlier version."""
        hello = self._connection.conversation.hello
        return hello is not None and END_OTHERS in hello.features

    def _check_can_end_others(self) -> None:
        self._check_open()
        if not self.can_end_others:
            raise UsageError(problem=_CANNOT_END_OTHERS)

    def _check_open(self) -> None:
        if self._over or self._leaving:
            raise self._error or SessionEnded()

    # --- sending ---------------------------------------------------------------------------------------------

    def _say(self, message: Payload, size: int, *, spoiled: bool = False, alone: bool = False) -> Box:
        """Send a message, now or on the next connection; return where its answers come.

        Precondition: the window counts the message already, or is not full. `alone` is for the connection.
        """
        box = self._box(*self._callbacks)  # type: ignore[arg-type] # its message is one of ours
        box.size = size
        sent = self._replay.send(message, box)
        if spoiled:
            sent.spoiled = True
        box.sent = sent  # type: ignore[assignment] # as above
        if self._connection.open:
            self._write(sent, alone=alone)
        return box

    def _write(self, sent: Sent[Box], *, alone: bool = False) -> None:
        sent.written = True
        token = self._connection.conversation.token
        if sent.spoiled:
            token = token[:-1] + bytes([token[-1] ^ 1])
        self._connection.send(encode_message(sent.id, sent.message, token), alone=alone)

    def _take_back(self, sent: Sent[Box]) -> None:
        """Send CANCEL for a message, so that the service stops; its END still comes."""
        sent.taken_back = True
        if self._connection.open and sent.written:
            self._connection.send(self._connection.conversation.cancel(sent.id))

    def _take_back_streams(self) -> None:
        """Send CANCEL for every stream: the session is left, and a stream may have no end."""
        for sent in list(self._replay.unanswered):
            if sent.asker.stream:
                sent.asker.close()

    # --- receiving (Receiver) --------------------------------------------------------------------------------

    def message(self, id: int, payload: Payload, *, last: bool) -> None:
        """Take an answer, or with id 0 a message that the service sends by itself."""
        sent = self._replay.take(id, last=last)
        size = _most_bytes(payload)
        self._count(size)
        if sent is None:
            self._put(self._pushes, payload, size)
        elif sent.gap and not last:
            sent.asker.end(OutcomeUnknown())
        else:
            self._put(sent.asker, payload, size)
            if last:
                self._finish(sent, None)
        self._end_unknown()

    def answers(self, answers: list[Answer]) -> None:
        """Take answers that are each the only one to their message, in order."""
        replay, window = self._replay, self._window
        if not replay.ordinary:
            for id, payload in answers:
                self.message(id, payload, last=True)
            return
        self._policy.used = True
        count = taken = 0
        try:
            for id, payload in answers:
                box = replay.answered(id).asker
                count += 1
                taken += box.size
                size = len(payload) if isinstance(payload, bytes) or payload.isascii() else _most_bytes(payload)
                self._unacknowledged += size + HEADER_SIZE
                if not box.ended:
                    self._wait_for_program(size)
                    box.answer(payload)
        finally:
            window.remove(taken, count)
        self._acknowledge()
        if not replay.unanswered:
            self._all_answered()

    def end(self, id: int, error: AntiphonError | None) -> None:
        """Take note that nothing more comes for a message."""
        sent = self._replay.take(id, last=True)
        self._count(0)
        if sent is not None:
            self._finish(sent, OutcomeUnknown() if sent.gap and error is None else error)
        self._end_unknown()

    def acknowledgement(self) -> bytes:
        """Return an ACK, if the server does not know yet how much has come."""
        if not self._unacknowledged:
            return b""
        self._unacknowledged = 0
        return self._connection.conversation.ack(self._replay.received)

    def _count(self, size: int) -> None:
        self._policy.used = True
        self._unacknowledged += size + HEADER_SIZE
        self._acknowledge()

    def _acknowledge(self) -> None:
        if self._unacknowledged >= self._ack_every and self._connection.open:
            self._connection.send(self.acknowledgement())

    def _finish(self, sent: Sent[Box], error: AntiphonError | None) -> None:
        sent.asker.end(error)
        self._window.remove(sent.asker.size)
        if not self._replay.unanswered:
            self._all_answered()

    def _all_answered(self) -> None:
        """Heed that no answer is due; a shell's."""

    def _end_unknown(self) -> None:
        for sent in self._replay.unknown():
            self._finish(sent, _unheard(sent))

    # --- what waits for the program --------------------------------------------------------------------------

    def _put(self, box: Inbox, payload: Payload, size: int) -> None:
        if not box.ended:
            self._wait_for_program(size)
            box.put(payload)

    def _wait_for_program(self, size: int) -> None:
        self._waiting += OVERHEAD + size
        if self._waiting > self._waiting_limit and not self._full:
            self._full = True
            self._fill()

    def _taken(self, payload: Payload) -> None:
        size = len(payload) if isinstance(payload, bytes) or payload.isascii() else _most_bytes(payload)
        self._waiting -= OVERHEAD + size
        if self._full and self._waiting <= self._waiting_limit // 2:
            self._full = False
            self._drain()

    def _fill(self) -> None:
        """Heed that more waits than may; a shell's."""

    def _drain(self) -> None:
        """Heed that no more than half the limit waits; a shell's."""

    # --- connections come and go -----------------------------------------------------------------------------

    def _may_resume(self, reason: AntiphonError | None) -> bool:
        """Return whether the session is resumed after its connection was lost for `reason`."""
        return not self._leaving and temporary(reason) and self._policy.patient

    def _go_on(self, connection: Connection, welcome: Welcome) -> None:
        """Continue on a connection that has just resumed the session: send again what the server has not got."""
        self._connection = connection
        again = self._replay.resume(
            welcome.received, missed=welcome.missed, sent=welcome.sent, at_work=welcome.open
        )
        self._unacknowledged = 0
        self._end_unknown()
        connection.attach(self)
        for sent in again:
            if connection.open:
                self._write(sent)
        for sent in list(self._replay.unanswered):
            if sent.taken_back:
                self._take_back(sent)

    def _end(self, reason: AntiphonError | None) -> None:
        """End for good; `reason` is None if the client left."""
        if self._over:
            return
        self._over = True
        self._error = reason
        for sent in list(self._replay.unanswered):
            error = reason or SessionEnded()
            if sent.written:
                error, error.__cause__ = _unheard(sent), error
            sent.asker.end(error)
            self._window.remove(sent.asker.size)
        self._pushes.end(reason)


def _unheard(sent: Sent[Any]) -> AntiphonError:
    """Return the outcome of a message whose answer was lost: a wrong token is never let through."""
    return TokenRefused() if sent.spoiled else OutcomeUnknown()


def _most_bytes(payload: Payload) -> int:
    """Return an upper bound of the bytes that a payload takes, on the wire or in memory.

    Text that is not ASCII counts with 4 bytes a character: the exact number would cost an encoding.
    """
    return len(payload) if isinstance(payload, bytes) or payload.isascii() else 4 * len(payload)


def _ignore(_: object) -> None:
    """Do nothing about a connection that is lost, or back."""
