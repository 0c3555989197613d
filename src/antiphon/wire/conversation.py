"""Where each side of a connection stands, without I/O and without a clock.

Feed bytes, take events until None, and send the bytes that the methods return. What to do about an event is the
server's and the client's; deadlines and heartbeats are their clocks'.
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
from antiphon.wire import bodies
from antiphon.wire.bodies import Body, Bye, Error, FirstRequest, Hello, ServerBye, Welcome
from antiphon.wire.frames import Frame, FrameReader, Payload, Refused, encode, encode_message
from antiphon.wire.kinds import COUNT_SIZE, MESSAGE_LIMIT, MESSAGE_LIMIT_MOST, Flag, Kind, Phase, Side, limits

REFUSAL_LIMIT = 3
"""Wrong tokens, or wrong passwords, on one connection before it is closed."""
BYE_TEXT = 200
"""Characters of a service's last words: in UTF-8 fewer than a BYE may have bytes."""
LAST_ID = 0xFFFF_FFFF

_LAST = int(Flag.LAST)
_BARE = frozenset(map(int, (Kind.MESSAGE, Kind.END, Kind.CANCEL, Kind.ACK, Kind.HEARTBEAT)))
"""Kinds without a control body."""


class Control(NamedTuple):
    """A control frame with its body read."""

    kind: int
    id: int
    body: Body
    token: bytes = b""

    def __repr__(self) -> str:
        """Hide the token."""
        return f"Control(kind=0x{self.kind:02x}, id={self.id}, {self.body!r})"


Event = Frame | Control | Refused
"""A frame without a control body as it came; any other frame with its body read; or a frame that was refused."""


class _Conversation:
    """What both sides share: a reader of what the other one sends."""

    __slots__ = ("_limit", "_peer", "phase", "reader")

    def __init__(self, peer: Side, message_limit: int) -> None:
        self._peer = peer
        self._limit = message_limit
        self.phase = Phase.ENTRY
        self.reader = FrameReader(limits(peer, Phase.ENTRY))

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer, in pieces of any size."""
        self.reader.feed(data)

    def _enter_session(self, token: bytes = b"") -> None:
        self.phase = Phase.SESSION
        self.reader.admit(limits(self._peer, Phase.SESSION, self._limit), token)

    def _control(self, frame: Frame) -> Control:
        assert isinstance(frame.payload, bytes)
        body = bodies.decode(self._peer, frame.kind, frame.payload)
        return Control(frame.kind, frame.id, body, frame.token)

    def heartbeat(self) -> bytes:
        """Say that this side is still there."""
        return encode(Kind.HEARTBEAT, 0)


class ServerConversation(_Conversation):
    """The server's side: `hello` first, then events; `welcome` opens the session."""

    __slots__ = ("_refusals", "bye_sent")

    def __init__(self, message_limit: int = MESSAGE_LIMIT) -> None:
        """Start before sign-in; `message_limit` is the largest message in bytes, from either side."""
        super().__init__(Side.CLIENT, message_limit)
        self._refusals = 0
        self.bye_sent = False

    def next(self) -> Event | None:
        """Return the next event, or None while more bytes are needed.

        Raises:
            ProtocolError: the client broke the protocol; send `error` with id 0 and close.
        """
        item = self.reader.next()
        return None if item is None else self.event(item)

    def event(self, item: Frame | Refused) -> Event:
        """Return what an item of `reader` means. Whoever handles MESSAGEs itself need not ask about them.

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
        """Return the count that an ACK holds.

        Raises:
            FrameInvalid: it holds none.
        """
        if len(frame.payload) != COUNT_SIZE:
            raise FrameInvalid(problem=f"an ACK holds {COUNT_SIZE} bytes")
        assert isinstance(frame.payload, bytes)
        return int.from_bytes(frame.payload, "big")

    def hello(self, hello: Hello) -> bytes:
        """Say what this server speaks and wants; its first frame."""
        return encode(Kind.HELLO, 0, bodies.encode(hello))

    def reply(self, kind: Kind, id: int, body: Body) -> bytes:
        """Answer a control frame."""
        return encode(kind, id, bodies.encode(body))

    def welcome(self, id: int, welcome: Welcome, token: bytes) -> bytes:
        """Open the session: from here on every message must carry `token`."""
        self._enter_session(token)
        return encode(Kind.WELCOME, id, bodies.encode(welcome))

    def bye(self, reason: str, text: str = "") -> bytes:
        """Say the server's last word; of a longer `text` the person gets the first 200 characters."""
        self.bye_sent = True
        return encode(Kind.BYE, 0, bodies.encode(ServerBye(reason=reason, text=text[:BYE_TEXT])))

    @staticmethod
    def answer(id: int, message: Payload) -> bytes:
        """Give the one answer, and so the last, to a message."""
        return encode_message(id, message, _LAST)

    @staticmethod
    def part(id: int, message: Payload) -> bytes:
        """Give one answer of many; END says that there are no more."""
        return encode_message(id, message)

    @staticmethod
    def push(message: Payload) -> bytes:
        """Say something that answers nothing."""
        return encode_message(0, message)

    @staticmethod
    def end(id: int) -> bytes:
        """Say that nothing (more) comes for a message."""
        return encode(Kind.END, id)

    @staticmethod
    def error(id: int, error: AntiphonError, translate: Translate = str) -> bytes:
        """Refuse one frame, or with id 0 end the connection, in the language of the one who reads it."""
        body = Error(code=error.code, text=error.text(translate), hint=error.advice(translate), wait=error.wait)
        return encode(Kind.ERROR, id, bodies.encode(body))


class ClientConversation(_Conversation):
    """The client's side: requests until a WELCOME, then messages. Ids are given out here."""

    __slots__ = ("_id", "_token", "hello")

    def __init__(self) -> None:
        """Start before HELLO, which says how large a message may be."""
        super().__init__(Side.SERVER, MESSAGE_LIMIT)
        self._id = 0
        self._token = b""
        self.hello: Hello | None = None

    def next(self) -> Event | None:
        """Return the next event, or None while more bytes are needed.

        A WELCOME opens the session; the caller verifies its `data` before it relies on it.

        Raises:
            ProtocolError: the server broke the protocol; close.
        """
        event = self.reader.next()
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

    def _greeted(self, hello: Hello) -> None:
        if self.hello is not None:
            raise ProtocolError(problem="HELLO came twice")
        if bodies.VERSION not in hello.versions:
            raise VersionUnsupported(version=bodies.VERSION, versions=", ".join(map(str, hello.versions)))
        self.hello = hello
        self._limit = min(hello.limits.message, MESSAGE_LIMIT_MOST)

    @property
    def token(self) -> bytes:
        """The token of the session, to resume it elsewhere."""
        return self._token

    def next_id(self) -> int:
        """Return an id that is free: they are used in turn, and 0 is none."""
        self._id = self._id % LAST_ID + 1
        return self._id

    def request(self, kind: Kind, body: Body) -> tuple[int, bytes]:
        """Return the id and the bytes of a control frame; inside the session it carries the token."""
        id = self.next_id()
        token = self._token if self.phase is Phase.SESSION else b""
        return id, encode(kind, id, bodies.encode(body), token=token)

    def resume(self, token: bytes, body: Body) -> tuple[int, bytes]:
        """Return the id and the bytes of a RESUME of the session that `token` belongs to."""
        self._token = token
        id = self.next_id()
        return id, encode(Kind.RESUME, id, bodies.encode(body), token=token)

    @staticmethod
    def bye(reason: str) -> bytes:
        """Say the client's last word: nothing comes after it."""
        return encode(Kind.BYE, 0, bodies.encode(Bye(reason=reason)))

    def cancel(self, id: int) -> bytes:
        """Ask that no more answers come for `id`; its END or last answer still does."""
        return encode(Kind.CANCEL, id, token=self._token)

    def ack(self, received: int) -> bytes:
        """Say how many counted frames have come, so that the server need not keep them."""
        return encode(Kind.ACK, 0, received.to_bytes(COUNT_SIZE, "big"), token=self._token)

    def message(self, message: Payload) -> tuple[int, bytes]:
        """Return the id and the bytes of a message that wants an answer."""
        id = self.next_id()
        return id, encode_message(id, message, token=self._token)
