"""Connection protocol: what the client does with each frame, with BYE, with ERROR and with silence.

One `ConnectionProtocol` is the client's end of one connection, without I/O and without a clock. The shells carry
its bytes: `aio/connection.py` and `blocking/connection.py`.
"""

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from antiphon.client.protocol.heartbeat import Heartbeat
from antiphon.client.protocol.info import SessionInfo
from antiphon.errors import (
    AntiphonError,
    ConnectionLost,
    FrameInvalid,
    PeerSilent,
    ProtocolError,
    ServerStopping,
    SessionClosed,
    SessionExpired,
    SessionReplaced,
    from_wire,
)
from antiphon.errors.signin import revoked
from antiphon.wire.bodies import Body, Error, Hello, Limits, ServerBye, Welcome
from antiphon.wire.client_batch import Answer
from antiphon.wire.conversation import ClientConversation, Control, Event
from antiphon.wire.frames import Frame, Payload, Refused
from antiphon.wire.kinds import Flag, Kind, Phase

_LAST = int(Flag.LAST)
_MESSAGE, _END = int(Kind.MESSAGE), int(Kind.END)


class State(Enum):
    """The state of a connection, as far as the protocol is concerned."""

    OPEN = "open"
    """Both sides speak."""
    LEAVING = "leaving"
    """The client has said BYE and sends nothing more; what was sent before is still answered."""
    ENDED = "ended"
    """The server has said its last BYE: close, once what is buffered is sent. Nothing behind it is handled."""
    FAILED = "failed"
    """The connection is no longer any good: close at once. Nothing more is handled."""


class Receiver(Protocol):
    """Receiver of the frames of an open session."""

    def message(self, id: int, payload: Payload, *, last: bool) -> None:
        """Take an answer to the message `id`, or with id 0 a message that answers nothing."""

    def answers(self, answers: list[Answer]) -> None:
        """Take answers that are each the only one to their message, in order."""

    def end(self, id: int, error: AntiphonError | None) -> None:
        """Take note that nothing more comes for the message `id`, because of `error` if there is one."""

    def acknowledgement(self) -> bytes:
        """Return the ACK that goes with a heartbeat; nothing if none is due."""


class Pending:
    """The answer to one control frame, from its sending to its `reply`."""

    __slots__ = ("kind", "on_reply", "reply")

    def __init__(self, kind: Kind) -> None:
        """Start without an answer; `kind` is what was sent."""
        self.kind = kind
        self.reply: Body | AntiphonError | None = None
        """The answer's body, or the error that took its place; None until then."""
        self.on_reply: Callable[[], object] | None = None
        """Called once, when `reply` is set."""

    def settle(self, reply: Body | AntiphonError) -> None:
        """Set the reply; the first one counts."""
        if self.reply is None:
            self.reply = reply
            if self.on_reply is not None:
                self.on_reply()


class ConnectionProtocol:
    """The client's end of one connection.

    The shell does this:

    1. give the bytes that come to `receive`, and call `tick` at the moment that the last `tick` returned;
    2. after any call, send `data_to_send()`, then close the transport if `state` is ENDED or FAILED;
    3. when the transport is closed, call `connection_lost`.
    """

    def __init__(self, address: str) -> None:
        """Start before HELLO; `address` is how errors name the server."""
        self.address = address
        self.conversation = ClientConversation()
        self.state = State.OPEN
        self.reason: AntiphonError | None = None
        """Why the connection ended, or will; None after the client's own goodbye."""
        self.lost = False
        """Whether the transport is closed."""
        self.heartbeat = Heartbeat()
        self.greeting = Pending(Kind.HELLO)
        """HELLO, the one answer that nobody asks for."""
        self._pending: dict[int, Pending] = {}
        self._receiver: Receiver | None = None
        self._early: list[Event] = []
        """Frames of the session that came before there was a receiver."""
        self._to_send: list[bytes] = []
        self._handling = True
        """Whether frames are still handled: the state is OPEN or LEAVING."""
        self._stopping = False
        """Whether the server has announced that it stops (BYE `drained`)."""

    # --- bytes in and out ------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Handle bytes from the server, in pieces of any size."""
        if not self._handling:
            return
        self.heartbeat.heard = True
        conversation = self.conversation
        conversation.feed(data)
        try:
            while self._handling:
                if self._receiver is not None and (answers := conversation.answers()):
                    self._receiver.answers(answers)
                    if not conversation.reader.buffered:
                        break
                elif (event := conversation.next()) is not None:
                    self._take(event)
                else:
                    break
        except AntiphonError as error:
            self.fail(error)

    def data_to_send(self) -> bytes:
        """Return the bytes to send now, and forget them."""
        if not self._to_send:
            return b""
        data = b"".join(self._to_send)
        self._to_send.clear()
        return data

    def is_quiet(self, receiver: Receiver) -> bool:
        """Return whether `receiver` gets the frames, nothing is left to read or to send, and both sides speak."""
        return (
            self._receiver is receiver
            and self.state is State.OPEN
            and not (self.lost or self._to_send or self.conversation.reader.buffered)
        )

    def connection_lost(self) -> None:
        """Note that the transport is closed: whatever still waits is told why."""
        if self.lost:
            return
        self.lost = True
        if self.reason is None and (self._stopping or self.state is State.OPEN):
            self.reason = self._broken()
        if self._handling:
            self._stop_handling(State.FAILED)
        for pending in (self.greeting, *self._pending.values()):
            pending.settle(self.reason or self._broken())
        self._pending.clear()

    def fail(self, error: AntiphonError) -> None:
        """End the connection because of `error`; the first reason counts."""
        self.reason = self.reason or error
        self._stop_handling(State.FAILED)

    def abort(self) -> None:
        """End the connection without a word: the session can be resumed for a while."""
        self.fail(self._broken())

    def _broken(self) -> AntiphonError:
        return ServerStopping() if self._stopping else ConnectionLost(address=self.address)

    def _stop_handling(self, state: State) -> None:
        self.state = state
        self._handling = False
        self._to_send.clear()

    # --- before the session ----------------------------------------------------------------------------------

    @property
    def hello(self) -> Hello:
        """HELLO; precondition: it has come."""
        assert self.conversation.hello is not None
        return self.conversation.hello

    @property
    def limits(self) -> Limits:
        """The limits that HELLO sets."""
        return self.hello.limits

    def request(self, kind: Kind, body: Body, *, token: bytes = b"") -> Pending:
        """Send a control frame, RESUME with its `token`; return where its answer comes.

        Raises:
            AntiphonError: the connection has ended, or the client has said BYE.
        """
        if self.state is not State.OPEN or self.lost:
            raise self.reason or self._broken()
        id, data = self.conversation.resume(token, body) if token else self.conversation.request(kind, body)
        pending = self._pending[id] = Pending(kind)
        self._send(data)
        return pending

    def _send(self, data: bytes) -> None:
        self._to_send.append(data)
        self.heartbeat.spoke = True

    # --- the session -----------------------------------------------------------------------------------------

    def attach(self, receiver: Receiver) -> None:
        """Give `receiver` the frames of the session, those that have come already first."""
        self._receiver = receiver
        early, self._early = self._early, []
        try:
            for event in early:
                self._take(event)
        except AntiphonError as error:
            self.fail(error)

    def say_bye(self, reason: str) -> None:
        """Say BYE, once: the client sends nothing after it."""
        if self.state is State.OPEN:
            self.state = State.LEAVING
            self._send(self.conversation.bye(reason))

    # --- time ------------------------------------------------------------------------------------------------

    def tick(self, now: float, *, listening: bool = True) -> float:
        """Send the heartbeat that is due, or fail on silence; return the moment of the next tick.

        `listening` says whether the shell has read since the last tick.
        """
        heartbeat = self.heartbeat
        wake = heartbeat.tick(now, listening=listening)
        if now < wake and self.state is State.OPEN:
            return wake
        if self._handling and heartbeat.silent(now):
            self.fail(PeerSilent(seconds=f"{heartbeat.silence:g}"))
        if self.state is State.OPEN and heartbeat.due(now):
            self.say_alive()
        return heartbeat.wake(speaking=self.state is State.OPEN)

    def say_alive(self) -> None:
        """Send a HEARTBEAT, and before it the ACK that goes with it."""
        if self.state is State.OPEN:
            acknowledgement = self._receiver.acknowledgement() if self._receiver else b""
            self._to_send.append(acknowledgement + self.conversation.heartbeat())

    # --- frames ----------------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        if type(event) is Frame:
            receiver = self._receiver
            if event.kind == _MESSAGE:
                if receiver is None:
                    self._early.append(event)
                else:
                    receiver.message(event.id, event.payload, last=bool(event.flags & _LAST))
            elif event.kind == _END:
                if receiver is None:
                    self._early.append(event)
                else:
                    receiver.end(event.id, None)
        elif isinstance(event, Control):
            self._take_control(event)
        else:
            assert isinstance(event, Refused)
            raise event.error  # a server's text that is no UTF-8

    def _take_control(self, control: Control) -> None:
        body = control.body
        if isinstance(body, Hello):
            self.heartbeat.start(body.limits)
            self.greeting.settle(body)
        elif isinstance(body, ServerBye):
            self._take_bye(body)
        elif isinstance(body, Error):
            self._take_error(control, body)
        else:
            pending = self._pending.get(control.id)
            if pending is None:
                raise FrameInvalid(problem=f"an answer came to {control.id}, which was not asked")
            if isinstance(body, Welcome):
                _check_welcome(body, resumed=pending.kind is Kind.RESUME)
            del self._pending[control.id]  # not before the check: if that fails, the loss settles it
            pending.settle(body)

    def _take_error(self, control: Control, body: Error) -> None:
        """Handle an ERROR: with id 0 it ends the connection, else only what has its id."""
        error = from_wire(body.code, body.text, body.hint, body.wait)
        if control.id == 0:
            self.fail(error)
        elif (pending := self._pending.pop(control.id, None)) is not None:
            pending.settle(error)
        elif self._receiver is not None:
            self._receiver.end(control.id, error)
        elif self.conversation.phase is Phase.SESSION:
            self._early.append(control)
        else:
            raise FrameInvalid(problem=f"an answer came to {control.id}, which was not asked")

    def _take_bye(self, bye: ServerBye) -> None:
        """Handle a BYE (docs/protocol.md, "Goodbye").

        `drained` announces that the server stops: the client says BYE too, and what it sent before is answered.
        Another BYE may follow, for example `replaced`. Any other BYE is the server's last word: the first such BYE
        counts, and nothing behind it is handled. One that gives no reason is a lost connection, unless it answers
        the client's own BYE.
        """
        if bye.reason == "drained":
            if self.state is State.OPEN:  # a client that leaves has its own reason
                self._stopping = True
                self.say_bye("drained")
            return
        if bye.reason == "closed":
            self.reason = SessionClosed(reason=bye.text)
        elif bye.reason == "replaced":
            self.reason = SessionReplaced()
        elif bye.reason == "expired":
            self.reason = SessionExpired()
        elif bye.reason == "revoked":
            self.reason = revoked(bye.cause)
        elif self.state is State.OPEN:
            self.reason = self._broken()
        self._stop_handling(State.ENDED)


def _check_welcome(welcome: Welcome, *, resumed: bool) -> None:
    """Check what docs/protocol.md says of WELCOME's token, and what a session keeps of it.

    Raises:
        ProtocolError: a sign-in got no token, a resumed session got a new one, or the last visit is not a time.
    """
    if resumed and welcome.token is not None:
        raise ProtocolError(problem="WELCOME gives a resumed session a new token")
    if not resumed and welcome.token is None:
        raise ProtocolError(problem="WELCOME gives no token at a sign-in")
    SessionInfo.of(welcome)
