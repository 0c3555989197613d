"""Conversation: the state of each side of a connection, without I/O and without a clock.

Call `feed` with received bytes, then `next` until it returns None; send the bytes that the other methods return.
The server and the client decide what to do about an event, and keep deadlines and heartbeats.
"""

from typing import NamedTuple

from antiphon.errors import (
    AntiphonError,
    FrameInvalid,
    ProtocolError,
    TokenRefused,
    TooManyRefusals,
    VersionUnsupported,
)
from antiphon.language import Translate
from antiphon.wire import bodies, frames
from antiphon.wire.bodies import Body, Bye, Error, FirstRequest, Hello, ServerBye, Welcome
from antiphon.wire.client_batch import Answer, encode_message, read_answers
from antiphon.wire.frames import SKIPPED, Frame, FrameReader, Payload, Refused, encode
from antiphon.wire.kinds import COUNT_SIZE, MESSAGE_LIMIT, MESSAGE_LIMIT_MOST, Flag, Kind, Phase, Side, limits

REFUSAL_LIMIT = 3
"""Wrong tokens, or wrong passwords, after which a connection is closed."""
BYE_TEXT = 200
"""Characters of the text in a BYE, at most: its UTF-8 fits the limit of the frame."""
LAST_ID = 0xFFFF_FFFF

_LAST = int(Flag.LAST)
_BARE = frozenset(map(int, (Kind.MESSAGE, Kind.END, Kind.CANCEL, Kind.ACK, Kind.HEARTBEAT)))
"""Kinds without a control body."""


class Control(NamedTuple):
    """One control frame with its decoded body."""

    kind: int
    id: int
    body: Body
    token: bytes = b""

    def __repr__(self) -> str:
        """Hide the token."""
        return f"Control(kind=0x{self.kind:02x}, id={self.id}, {self.body!r})"


Event = Frame | Control | Refused
"""A frame without a control body, a control frame with its decoded body, or a refused frame."""


class _Conversation:
    """What both sides share: the phase, and the reader of the peer's frames."""

    __slots__ = ("_limit", "_peer", "phase", "reader")

    def __init__(self, peer: Side, message_limit: int) -> None:
        self._peer = peer
        self._limit = message_limit
        self.phase = Phase.SIGN_IN
        self.reader = FrameReader(limits(peer, Phase.SIGN_IN))

    def feed(self, data: bytes) -> None:
        """Take received bytes, in pieces of any size."""
        self.reader.feed(data)

    def _next(self) -> Frame | Refused | None:
        """Return the next frame of `reader` that is not skipped."""
        while (item := self.reader.next()) is SKIPPED:
            pass
        return item

    def _enter_session(self, token: bytes = b"") -> None:
        self.phase = Phase.SESSION
        self.reader.admit(limits(self._peer, Phase.SESSION, self._limit), token)

    def _control(self, frame: Frame) -> Control:
        assert isinstance(frame.payload, bytes)
        body = bodies.decode(self._peer, frame.kind, frame.payload)
        return Control(frame.kind, frame.id, body, frame.token)

    def heartbeat(self) -> bytes:
        """Return a HEARTBEAT: this side is still there."""
        return encode(Kind.HEARTBEAT, 0)


class ServerConversation(_Conversation):
    """The server's side: send `hello` first, then handle events; `welcome` opens the session."""

    __slots__ = ("_refusals", "bye_sent")

    def __init__(self, message_limit: int = MESSAGE_LIMIT) -> None:
        """Start before sign-in; `message_limit` is the largest message in bytes, from either side."""
        super().__init__(Side.CLIENT, message_limit)
        self._refusals = 0
        self.bye_sent = False
        """Whether `bye` was called."""

    def next(self) -> Event | None:
        """Return the next event, or None while more bytes are needed.

        Raises:
            ProtocolError: the client broke the protocol; send `error` with id 0 and close the connection.
        """
        item = self._next()
        return None if item is None else self.event(item)

    def event(self, item: Frame | Refused) -> Event:
        """Return the event for a frame of `reader`. A MESSAGE needs no call: it is its own event.

        Raises:
            ProtocolError: as `next`.
        """
        if isinstance(item, Refused):
            if isinstance(item.error, TokenRefused):
                self._refusals += 1
                if self._refusals >= REFUSAL_LIMIT:
                    raise TooManyRefusals
            return item
        if item.kind in _BARE:
            return item
        control = self._control(item)
        if control.id == 0 and not isinstance(control.body, Bye):
            raise FrameInvalid(problem="a request needs an id other than 0")
        if isinstance(control.body, FirstRequest) and control.body.version != bodies.VERSION:
            raise VersionUnsupported(version=control.body.version, versions=bodies.VERSION)
        return control

    @staticmethod
    def count(frame: Frame) -> int:
        """Return the count in an ACK.

        Raises:
            FrameInvalid: the payload is not a count.
        """
        if len(frame.payload) != COUNT_SIZE:
            raise FrameInvalid(problem=f"an ACK holds {COUNT_SIZE} bytes")
        assert isinstance(frame.payload, bytes)
        return int.from_bytes(frame.payload, "big")

    def hello(self, hello: Hello) -> bytes:
        """Return HELLO, the server's first frame."""
        return encode(Kind.HELLO, 0, bodies.encode(hello))

    def reply(self, kind: Kind, id: int, body: Body) -> bytes:
        """Return the answer to a control frame."""
        return encode(kind, id, bodies.encode(body))

    def welcome(self, id: int, welcome: Welcome, token: bytes) -> bytes:
        """Open the session, in which every message must carry `token`; return WELCOME."""
        self._enter_session(token)
        return encode(Kind.WELCOME, id, bodies.encode(welcome))

    def bye(self, reason: str, text: str = "", cause: str = "") -> bytes:
        """Return BYE, the server's last frame; `text` is cut after 200 characters."""
        self.bye_sent = True
        return encode(Kind.BYE, 0, bodies.encode(ServerBye(reason=reason, text=text[:BYE_TEXT], cause=cause)))

    @staticmethod
    def answer(id: int, message: Payload) -> bytes:
        """Return the only answer to a message."""
        return frames.encode_message(id, message, _LAST)

    @staticmethod
    def part(id: int, message: Payload) -> bytes:
        """Return one answer of many; `end` follows the last."""
        return frames.encode_message(id, message)

    @staticmethod
    def push(message: Payload) -> bytes:
        """Return a message that is not an answer."""
        return frames.encode_message(0, message)

    @staticmethod
    def end(id: int) -> bytes:
        """Return END: a message gets no answer, or no further one."""
        return encode(Kind.END, id)

    @staticmethod
    def error(id: int, error: AntiphonError, translate: Translate = str) -> bytes:
        """Return ERROR, in the reader's language: it refuses one frame, or with id 0 ends the connection."""
        body = Error(code=error.code, text=error.text(translate), hint=error.advice(translate), wait=error.wait)
        return encode(Kind.ERROR, id, bodies.encode(body))


class ClientConversation(_Conversation):
    """The client's side: requests until WELCOME, then messages. It assigns the ids."""

    __slots__ = ("_id", "_token", "hello")

    def __init__(self) -> None:
        """Start before HELLO, which tells the largest message."""
        super().__init__(Side.SERVER, MESSAGE_LIMIT)
        self._id = 0
        self._token = b""
        self.hello: Hello | None = None

    def next(self) -> Event | None:
        """Return the next event, or None while more bytes are needed.

        WELCOME opens the session; verify its `data` before you rely on it.

        Raises:
            ProtocolError: the server broke the protocol; close the connection.
        """
        event = self._next()
        if type(event) is not Frame or event.kind in _BARE:
            return event
        control = self._control(event)
        if isinstance(control.body, Hello):
            self._greeted(control.body)
        elif isinstance(control.body, Welcome):
            if self.hello is None:
                raise ProtocolError(problem="WELCOME came before HELLO")
            self._token = control.body.token or self._token
            self._enter_session()
        return control

    @property
    def answer_limit(self) -> int:
        """Bytes of an answer, at the most."""
        return self._limit

    def answers(self) -> list[Answer]:
        """Return the answers that come next, each the only one to its message; `next` returns what is left.

        Precondition: the session is open.
        """
        return self.reader.read_buffered(read_answers, self._limit)

    def _greeted(self, hello: Hello) -> None:
        if self.hello is not None:
            raise ProtocolError(problem="HELLO came twice")
        if bodies.VERSION not in hello.versions:
            raise VersionUnsupported(version=bodies.VERSION, versions=", ".join(map(str, hello.versions)))
        self.hello = hello
        self._limit = min(hello.limits.message, MESSAGE_LIMIT_MOST)

    @property
    def token(self) -> bytes:
        """Token of the session, with which another connection can resume it."""
        return self._token

    def next_id(self) -> int:
        """Return the next id; 0 is not used."""
        self._id = self._id % LAST_ID + 1
        return self._id

    def request(self, kind: Kind, body: Body) -> tuple[int, bytes]:
        """Return the id and the bytes of a control frame; inside a session it carries the token."""
        id = self.next_id()
        token = self._token if self.phase is Phase.SESSION else b""
        return id, encode(kind, id, bodies.encode(body), token=token)

    def resume(self, token: bytes, body: Body) -> tuple[int, bytes]:
        """Return the id and the bytes of a RESUME of the session with `token`."""
        self._token = token
        id = self.next_id()
        return id, encode(Kind.RESUME, id, bodies.encode(body), token=token)

    @staticmethod
    def bye(reason: str) -> bytes:
        """Return BYE, the client's last frame."""
        return encode(Kind.BYE, 0, bodies.encode(Bye(reason=reason)))

    def cancel(self, id: int) -> bytes:
        """Return CANCEL: `id` needs no more answers; its END or last answer still follows."""
        return encode(Kind.CANCEL, id, token=self._token)

    def ack(self, received: int) -> bytes:
        """Return ACK with the number of counted frames received, which the server need not keep."""
        return encode(Kind.ACK, 0, received.to_bytes(COUNT_SIZE, "big"), token=self._token)

    def message(self, message: Payload) -> tuple[int, bytes]:
        """Return the id and the bytes of a message."""
        id = self.next_id()
        return id, encode_message(id, message, self._token)
