"""Frames: bytes to frames and frames to bytes, with the checks that every frame passes.

`docs/protocol.md` describes version 1 of the wire: a header of 12 bytes in network byte order, then the body. What
a frame means, and what may follow it, is in `conversation.py`.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import Enum, auto
from hmac import compare_digest
from struct import Struct
from typing import NamedTuple, Protocol, TypeVar

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
COUNTED_HEADER_SIZE = HEADER_SIZE - LENGTH_SIZE
"""Bytes of the header that `length` counts."""
Read = TypeVar("Read")
Payload = bytes | str
"""Bytes, or `str` if the frame is flagged as text."""

read_header = HEADER.unpack_from
"""Returns length, kind, flags, reserved and id of the header at a position."""
_TEXT = int(Flag.TEXT)
_MESSAGE = int(Kind.MESSAGE)
_MESSAGE_FLAGS = int(Flag.TEXT | Flag.LAST)
_new = tuple.__new__
"""Makes a `Frame` in half the time of its constructor, which only gives names to the same tuple."""
_pack = HEADER.pack


class Frame(NamedTuple):
    """One received frame. A token that is not compared yet (RESUME) stands beside the payload."""

    kind: int
    flags: int
    id: int
    payload: Payload
    token: bytes = b""

    def __repr__(self) -> str:
        """Show neither token nor payload."""
        return f"Frame(kind=0x{self.kind:02x}, flags={self.flags}, id={self.id}, {len(self.payload)} long)"


class Refused(NamedTuple):
    """A well-formed frame that is refused, and the conversation goes on."""

    kind: int
    id: int
    error: AntiphonError


class Skipped(Enum):
    """A frame of an optional kind that was skipped. Whoever reads learns of each, and can limit them."""

    SKIPPED = auto()


SKIPPED = Skipped.SKIPPED


class Answering(Protocol):
    """Answers frames in bytes, as `batch.BatchAnswerer` does."""

    position: int
    """Where the first frame begins that was not read."""

    def __call__(self, data: bytes | bytearray, position: int, end: int, /) -> bytes:
        """Answer the frames of `data` from `position` to `end`; return the frames of the answers."""


def encode(kind: int, id: int, payload: bytes = b"", flags: int = 0, token: bytes = b"") -> bytes:
    """Return a frame as bytes; `token` stands before the payload."""
    return _pack(COUNTED_HEADER_SIZE + len(token) + len(payload), kind, flags, 0, id) + token + payload


def encode_message(id: int, message: Payload, flags: int = 0, token: bytes = b"") -> bytes:
    """Return a MESSAGE; text is flagged as such."""
    if isinstance(message, str):
        message = message.encode()
        flags |= _TEXT
    return _pack(COUNTED_HEADER_SIZE + len(token) + len(message), _MESSAGE, flags, 0, id) + token + message


def end_of_frame(frames: bytes, position: int) -> int:
    """Return where the frame ends that begins at `position`. Precondition: this side encoded it."""
    return position + LENGTH_SIZE + int.from_bytes(frames[position : position + LENGTH_SIZE], "big")


def split_frames(frames: bytes, position: int = 0) -> Iterator[bytes]:
    """Yield each frame in `frames`, from `position` on. Precondition: this side encoded them."""
    while position < len(frames):
        end = end_of_frame(frames, position)
        yield frames[position:end]
        position = end


def read_frame(
    data: bytes | bytearray, position: int, end: int, allowed: Mapping[int, Allowed], token: bytes
) -> tuple[Frame | Refused | None, int]:
    """Return the frame that begins at `position`, and where it ends; bytes from `end` on are not read.

    Precondition: there is a whole header, `HEADER_SIZE` bytes.

    Instead of the frame, None is returned: with `position`, if bytes are missing; with a later position, if the
    frame is of an optional kind and is skipped. `allowed` holds the kinds that may come, `token` what the frames
    of a session must carry (empty: the token is returned with the frame).

    Raises:
        FrameInvalid: the header is invalid, shorter than itself, or the kind is unknown.
        FrameUnexpected: the kind is not allowed now.
        FrameTooLarge: the payload is larger than the kind allows. The header tells, before the payload is read.
    """
    length, kind, flags, reserved, id = read_header(data, position)
    token_size, largest = allowed.get(kind) or _unlisted(kind, length, allowed)
    size = length - COUNTED_HEADER_SIZE - token_size
    if not 0 <= size <= largest or reserved:
        raise _misfit(size, kind, largest, reserved)
    if flags and kind < OPTIONAL_FROM and (kind != _MESSAGE or flags & ~_MESSAGE_FLAGS):
        raise FrameInvalid(problem=f"flags 0x{flags:02x} on kind 0x{kind:02x} are unknown")
    after = position + LENGTH_SIZE + length
    if end < after:
        return None, position
    if kind >= OPTIONAL_FROM:
        return None, after
    start = position + HEADER_SIZE
    carried = b""
    if token_size:
        start += token_size
        carried = bytes(data[start - token_size : start])
        if token:
            if not compare_digest(carried, token):
                return Refused(kind, id, TokenRefused()), after
            carried = b""
    payload = data[start:after]
    if flags & _TEXT:
        try:
            return _new(Frame, (kind, flags, id, payload.decode(), carried)), after
        except UnicodeDecodeError:
            return Refused(kind, id, NotText()), after
    return _new(Frame, (kind, flags, id, bytes(payload), carried)), after


def messages_ahead(
    data: bytes | bytearray, position: int, end: int, most: int, allowed: Allowed
) -> tuple[int, int] | None:
    """Look at the frames between two positions without reading them, as far as they are whole.

    Returns how many they are, `most` at the most, and where they end; None if one of them may be anything but a
    MESSAGE that is allowed.
    """
    token_size, largest = allowed
    least, count = COUNTED_HEADER_SIZE + token_size, 0
    while count < most and end - position >= HEADER_SIZE:
        length, kind, flags, reserved, id = read_header(data, position)
        if kind != _MESSAGE or flags & ~_MESSAGE_FLAGS or reserved or not id:
            return None
        if not least <= length <= least + largest:
            return None
        if position + LENGTH_SIZE + length > end:
            break
        position += LENGTH_SIZE + length
        count += 1
    return count, position


class FrameReader:
    """Splits the bytes of one peer into frames.

    Call `feed` with bytes as they are received, then `next` until it returns None. `admit` sets which kinds may
    come and how large. Once it is given a token, every frame that carries one is compared with it in constant time
    before the frame is returned.
    """

    __slots__ = ("_allowed", "_data", "_position", "_token")

    def __init__(self, allowed: Mapping[int, Allowed]) -> None:
        """Start with nothing received; `allowed` is a result of `kinds.limits`."""
        self._allowed = allowed
        self._token = b""
        self._data: bytes | bytearray = b""
        self._position = 0

    @property
    def buffered(self) -> int:
        """Bytes received and not yet returned."""
        return len(self._data) - self._position

    def admit(self, allowed: Mapping[int, Allowed], token: bytes = b"") -> None:
        """Admit only `allowed` kinds from the next frame on; kinds that carry a token need this one."""
        self._allowed = allowed
        self._token = token

    def feed(self, data: bytes | bytearray) -> None:
        """Take received bytes, in pieces of any size."""
        if self._position == len(self._data):
            self._data = data
            self._position = 0
            return
        if isinstance(self._data, bytearray):
            del self._data[: self._position]
        else:
            self._data = bytearray(memoryview(self._data)[self._position :])
        self._position = 0
        self._data += data

    def answer_buffered(self, answerer: Answering) -> bytes:
        """Have `answerer` answer the buffered frames; return its answers. `next` returns what it leaves."""
        answers = answerer(self._data, self._position, len(self._data))
        self._position = answerer.position
        if self._position == len(self._data):
            self._data, self._position = b"", 0
        return answers

    def messages_ahead(self, start: int, most: int) -> tuple[int, int] | None:
        """Look at the buffered frames from `start` bytes on, as `messages_ahead`; the end counts like `start`."""
        position = self._position
        ahead = messages_ahead(self._data, position + start, len(self._data), most, self._allowed[_MESSAGE])
        return None if ahead is None else (ahead[0], ahead[1] - position)

    def take(self) -> bytearray:
        """Return the bytes that are buffered, which are read elsewhere."""
        rest = bytearray(memoryview(self._data)[self._position :])
        self._data, self._position = b"", 0
        return rest

    def read_buffered(
        self, read: Callable[[bytes | bytearray, int, int, int], tuple[Read, int]], limit: int
    ) -> Read:
        """Have `read` read the buffered frames; return what it makes of them. `next` returns what it leaves."""
        made, self._position = read(self._data, self._position, len(self._data), limit)
        if self._position == len(self._data):
            self._data, self._position = b"", 0
        return made

    def next(self) -> Frame | Refused | Skipped | None:
        """Return the next frame, SKIPPED for one of an optional kind, or None while more bytes are needed.

        Raises:
            ProtocolError: as `read_frame`. The stream has no meaning afterwards: close the connection.
        """
        data, position = self._data, self._position
        size = len(data)
        if size - position < HEADER_SIZE:
            if size == position:
                self._data, self._position = b"", 0  # an idle connection keeps no memory for what it received
            elif size - position >= LENGTH_SIZE:
                _check_length(int.from_bytes(data[position : position + LENGTH_SIZE], "big"))
            return None
        frame, self._position = read_frame(data, position, size, self._allowed, self._token)
        return SKIPPED if frame is None and self._position > position else frame


def _check_length(length: int) -> None:
    """Check that a frame holds its own header: the rest of a shorter one may never come.

    Raises:
        FrameInvalid: it does not.
    """
    if length < COUNTED_HEADER_SIZE:
        raise FrameInvalid(problem=f"a frame of length {length} is too short for its header")


def _unlisted(kind: int, length: int, allowed: Mapping[int, Allowed]) -> Allowed:
    """Return the limits of an optional kind; raise for any other kind that is not allowed."""
    _check_length(length)  # first: the kind of such a frame is a byte of the next one
    if kind >= OPTIONAL_FROM:
        return Allowed(0, max(each.largest for each in allowed.values()))
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
