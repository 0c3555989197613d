"""Pieces of a replay buffer: frames in order, in few objects, and the memory that they take.

A Python object for each small frame would take many times what the frame does, so small frames are joined.
"""

from collections import deque
from itertools import chain, repeat
from typing import Any

from antiphon.wire.frames import Payload, end_of_frame, split_frames
from antiphon.wire.kinds import KIB

CHUNK_SIZE = 4 * KIB
"""Bytes up to which pieces are joined into a chunk. An acknowledgement goes through one chunk frame by frame, so
it is short."""
PIECE_OVERHEAD = 128
"""Bytes of memory that a piece takes beside its frames: its object (a `bytes` or `bytearray`, with what the
allocator adds), the number behind it, and two places in the queue."""
FRAMED_OVERHEAD = 256
"""The same for a header and a payload of their own: three objects."""

Piece = bytes | tuple[bytes, Payload]
"""Whole frames, or the header and the payload of one frame (`str` only where it is ASCII)."""


class Pieces:
    """Frames that are kept, by number."""

    __slots__ = ("_offset", "_queue", "first", "size")

    def __init__(self, first: int) -> None:
        """Start empty; `first` is the number of the next frame."""
        self.first = first
        """Number of the oldest frame that is kept."""
        self.size = 0
        """Bytes of memory that is taken."""
        self._queue: deque[Any] = deque()
        """Alternating: a `Piece` or a chunk (`bytearray`), and the number after its last frame (one queue takes
        half the memory of two)."""
        self._offset = 0
        """Where in the first piece the oldest kept frame begins."""

    def full(self, limit: int) -> bool:
        """Return whether another piece may push out one that is kept."""
        return self.size + CHUNK_SIZE + PIECE_OVERHEAD > limit

    def add(self, frames: Piece, end: int, limit: int) -> bool:
        """Keep frames up to number `end`, and no more than `limit` bytes in all; return whether any are kept."""
        queue = self._queue
        if type(frames) is bytes and len(frames) < CHUNK_SIZE:
            size = len(frames)
            chunk = queue[-2] if queue else None
            if type(chunk) is bytearray and len(chunk) + size <= CHUNK_SIZE:
                chunk += frames
                queue[-1] = end
            else:
                size += PIECE_OVERHEAD
                queue.append(bytearray(frames))
                queue.append(end)
        else:
            size = _size(frames)
            if size > limit and type(frames) is bytes:
                frames = self._newest(frames, limit - PIECE_OVERHEAD)
                size = _size(frames)
            queue.append(frames)
            queue.append(end)
        self.size += size
        while self.size > limit:
            self._drop()
        return bool(queue)

    def drop_before(self, number: int) -> bool:
        """Drop the frames before `number`; return whether any are left."""
        queue = self._queue
        while queue and queue[1] <= number:
            self._drop()
        if queue and self.first < number:
            if type(queue[0]) is tuple:
                queue[0] = _whole(queue[0])
            while self.first < number:
                self._offset = end_of_frame(queue[0], self._offset)
                self.first += 1
        return bool(queue)

    def frames(self) -> list[bytes]:
        """Return the frames, in order."""
        offsets = chain([self._offset], repeat(0))
        pieces = map(_whole, list(self._queue)[::2])
        return [frame for piece, offset in zip(pieces, offsets) for frame in split_frames(piece, offset)]  # noqa: B905

    def _newest(self, frames: bytes, room: int) -> bytes:
        """Return those of `frames` that fit in `room` bytes, the newest; nothing older is kept then."""
        while self._queue:
            self._drop()
        start = 0
        while start < len(frames) and len(frames) - start > room:
            start = end_of_frame(frames, start)
            self.first += 1
        return frames[start:]

    def _drop(self) -> None:
        queue = self._queue
        self.size -= _size(queue.popleft())
        self.first = queue.popleft()
        self._offset = 0


def _size(piece: Piece | bytearray) -> int:
    """Return the memory that a piece takes."""
    if type(piece) is tuple:
        return len(piece[0]) + len(piece[1]) + FRAMED_OVERHEAD
    return len(piece) + PIECE_OVERHEAD


def _whole(piece: Piece | bytearray) -> bytes:
    if type(piece) is tuple:
        header, payload = piece
        return header + (payload.encode() if isinstance(payload, str) else payload)
    return bytes(piece)  # type: ignore[arg-type] # a tuple is dealt with above
