"""Bytes to frames and frames to bytes: the header, the gate, the token and the text of every frame.

Version 1 of the wire (docs/protocol.md): 12 bytes of header in network byte order, then the body. What a frame
means, and what may follow it, is `conversation.py`'s.
"""

from collections.abc import Callable, Iterator, Mapping
from hmac import compare_digest
from struct import Struct
from typing import NamedTuple, Protocol

from antiphon.errors import (
    AntiphonError,
    FrameInvalid,
    FrameTooLarge,
    FrameUnexpected,
    MessageTooLarge,
    NotText,
    ProtocolError,
    TokenRefused,
)
from antiphon.wire.kinds import OPTIONAL_FROM, Allowed, Flag, Kind

HEADER = Struct(">IBBHI")
"""length, kind, flags, reserved, id"""
LENGTH_SIZE = 4
HEADER_SIZE = 12
COUNTED = HEADER_SIZE - LENGTH_SIZE
"""Bytes of the header that `length` counts."""
Payload = bytes | str
"""Bytes, or `str` where the frame is flagged as text."""

_TEXT = int(Flag.TEXT)
_MESSAGE = int(Kind.MESSAGE)
_MESSAGE_FLAGS = int(Flag.TEXT | Flag.LAST)
_new = tuple.__new__
"""Makes a `Frame` in half the time of its constructor, which only gives names to the same tuple."""
_pack = HEADER.pack
_unpack = HEADER.unpack_from


class Frame(NamedTuple):
    """One frame as it came; a token that nobody has compared yet (RESUME) is beside the payload."""

    kind: int
    flags: int
    id: int
    payload: Payload
    token: bytes = b""

    def __repr__(self) -> str:
        """Show neither token nor payload."""
        return f"Frame(kind=0x{self.kind:02x}, flags={self.flags}, id={self.id}, {len(self.payload)} long)"


class Refused(NamedTuple):
    """A frame that was well formed and is not handled; `error` answers its id, the conversation goes on."""

    id: int
    error: AntiphonError


class Taker(Protocol):
    """Takes frames from bytes, and says `at` which place it stopped."""

    at: int


def encode(kind: int, id: int, payload: bytes = b"", flags: int = 0, token: bytes = b"") -> bytes:
    """Return a frame as bytes; `token` stands before the payload."""
    return _pack(COUNTED + len(token) + len(payload), kind, flags, 0, id) + token + payload


def encode_message(id: int, message: Payload, flags: int = 0, token: bytes = b"") -> bytes:
    """Return a MESSAGE; text is flagged as such."""
    if isinstance(message, str):
        message = message.encode()
        flags |= _TEXT
    return _pack(COUNTED + len(token) + len(message), _MESSAGE, flags, 0, id) + token + message


def behind(frames: bytes, at: int) -> int:
    """Return where the frame of ours ends that begins `at` this place."""
    return at + LENGTH_SIZE + int.from_bytes(frames[at : at + LENGTH_SIZE], "big")


def split(frames: bytes, at: int = 0) -> Iterator[bytes]:
    """Yield the frames of ours that stand in `frames` from `at` on, one behind the other."""
    while at < len(frames):
        end = behind(frames, at)
        yield frames[at:end]
        at = end


class FrameReader:
    """Splits what one peer sends into frames.

    Call `feed` with bytes as they come, then `next` until it returns None. `admit` says which kinds may come now
    and how large; once it has been given a token, every frame that carries one is compared with it in constant
    time before anyone sees the frame.
    """

    __slots__ = ("_allowed", "_at", "_data", "_token")

    def __init__(self, allowed: Mapping[int, Allowed]) -> None:
        """Start with nothing read; `allowed` as `kinds.limits` gives it."""
        self._allowed = allowed
        self._token = b""
        self._data: bytes | bytearray = b""
        self._at = 0

    @property
    def buffered(self) -> int:
        """Bytes received and not yet given out."""
        return len(self._data) - self._at

    def admit(self, allowed: Mapping[int, Allowed], token: bytes = b"") -> None:
        """From the next frame on let through what `allowed` holds, and of it only what carries `token`."""
        self._allowed = allowed
        self._token = token

    def feed(self, data: bytes | bytearray) -> None:
        """Take bytes as they came, in pieces of any size."""
        if self._at == len(self._data):
            self._data = data
            self._at = 0
            return
        if isinstance(self._data, bytearray):
            del self._data[: self._at]
        else:
            self._data = bytearray(memoryview(self._data)[self._at :])
        self._at = 0
        self._data += data

    def pass_on(self, answer: Callable[[bytes | bytearray, int, int], bytes], taker: Taker) -> bytes:
        """Return what `answer` makes of the bytes that have come; what `taker` then has left is for `next`."""
        answers = answer(self._data, self._at, len(self._data))
        self._at = taker.at
        if self._at == len(self._data):
            self._data, self._at = b"", 0
        return answers

    def next(self) -> Frame | Refused | None:
        """Return the next frame, or None while more bytes are needed.

        Raises:
            FrameInvalid: a header that cannot be, or an unknown kind.
            FrameUnexpected: a kind that may not come now.
            FrameTooLarge: more payload than the kind may have; known from the header alone.

        After one of these the stream has no meaning any more: end the connection.
        """
        while True:
            data, at = self._data, self._at
            if len(data) - at < HEADER_SIZE:
                if at == len(data):
                    self._data, self._at = b"", 0  # an idle connection holds no memory for what it once received
                return None
            length, kind, flags, reserved, id = _unpack(data, at)
            token_size, largest = self._allowed.get(kind) or self._unlisted(kind)
            size = length - COUNTED - token_size
            if not 0 <= size <= largest or reserved:
                raise _misfit(size, kind, largest, reserved)
            if flags and kind < OPTIONAL_FROM and (kind != _MESSAGE or flags & ~_MESSAGE_FLAGS):
                raise FrameInvalid(problem=f"flags 0x{flags:02x} on kind 0x{kind:02x} are unknown")
            end = at + LENGTH_SIZE + length
            if len(data) < end:
                return None
            self._at = end
            if kind >= OPTIONAL_FROM:
                continue
            token = b""
            start = at + HEADER_SIZE
            if token_size:
                start += token_size
                token = bytes(data[start - token_size : start])
                if self._token:
                    if not compare_digest(token, self._token):
                        return Refused(id, TokenRefused())
                    token = b""
            payload = data[start:end]
            if flags & _TEXT:
                try:
                    return _new(Frame, (kind, flags, id, payload.decode(), token))
                except UnicodeDecodeError:
                    return Refused(id, NotText())
            return _new(Frame, (kind, flags, id, bytes(payload), token))

    def _unlisted(self, kind: int) -> Allowed:
        """Let kinds from 0x80 be passed over; any other one that is not allowed ends the connection."""
        if kind >= OPTIONAL_FROM:
            return Allowed(0, max(allowed.largest for allowed in self._allowed.values()))
        if kind in Kind.__members__.values():
            raise FrameUnexpected(kind=Kind(kind).name)
        raise FrameInvalid(problem=f"kind 0x{kind:02x} is unknown")


def _misfit(size: int, kind: int, largest: int, reserved: int) -> ProtocolError:
    if reserved:
        return FrameInvalid(problem="reserved bits are not zero")
    if size < 0:
        return FrameInvalid(problem=f"a frame of kind 0x{kind:02x} is too short")
    name = Kind(kind).name if kind in Kind.__members__.values() else f"frame of kind 0x{kind:02x}"
    if kind == _MESSAGE:
        return MessageTooLarge(size=size, limit=largest)
    return FrameTooLarge(size=size, kind=name, limit=largest)
