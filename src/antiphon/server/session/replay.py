"""Replay buffer: counts of both directions, and the frames sent that the client has not acknowledged.

After a lost connection the unacknowledged frames are sent again (docs/protocol.md, "Continuity").
"""

from collections import deque
from collections.abc import Iterable
from itertools import chain, repeat
from typing import Any

from antiphon.wire.batch import Unsettled
from antiphon.wire.frames import Payload, end_of_frame, split_frames
from antiphon.wire.kinds import KIB

REPLAY_LIMIT = 256 * KIB
"""Bytes of frames that a session keeps, beside what is unsettled; beyond it the oldest frames are dropped."""


Piece = bytes | tuple[bytes, Payload]
"""Whole frames, or the header and the payload of one frame (`str` only where it is ASCII)."""


class ReplayBuffer:
    """Frames by number; the first frame of a session is number 0. What was sent together is kept together."""

    __slots__ = ("_first", "_offset", "_pieces", "_received", "_sent", "_size", "known", "unsettled")

    def __init__(
        self, received: int = 0, first: int = 0, frames: Iterable[bytes] = (), *, known: bool = True
    ) -> None:
        """Start with `received` frames received, and `frames` sent, the first of which is number `first`.

        Without `known` the counts are those of a session whose former channel is lost.
        """
        self._received = received
        self._first = first
        self._sent = first
        self._pieces: deque[Any] | None = None
        """Alternating: a `Piece`, and the number after its last frame (one queue takes half the memory of two).
        None when empty: an empty queue is a tenth of the memory of an idle session."""
        self._offset = 0
        """Where in the first piece the oldest kept frame begins."""
        self._size = 0
        self.known = known
        """Whether client and server agree on the counts: they do once the client has sent a counted frame."""
        self.unsettled: list[Unsettled] = []
        """What the fast path has sent, not counted yet. Alternating: a piece, and how many messages it answers; 0
        for an answer to one message that was counted when it came."""
        for frame in frames:
            self.add(frame)

    @property
    def received(self) -> int:
        """Number of frames received."""
        self.settle()
        return self._received

    @property
    def sent(self) -> int:
        """Number of frames sent."""
        self.settle()
        return self._sent

    @property
    def first(self) -> int:
        """Number of the oldest frame that is kept."""
        self.settle()
        return self._first

    @property
    def full(self) -> bool:
        """Whether the next frame may push out one that is not acknowledged."""
        self.settle()
        return self._size >= REPLAY_LIMIT

    def count(self, frames: int = 1) -> None:
        """Count frames that were received."""
        self._received += frames
        self.known = True

    def add(self, frames: bytes, count: int = 1) -> None:
        """Keep `count` frames that were sent."""
        self.settle()
        self._add(frames, count)

    def settle(self) -> None:
        """Count and keep what the fast path has sent."""
        unsettled = self.unsettled
        if unsettled:
            pieces = iter(unsettled[:])
            unsettled.clear()
            for piece, count in zip(pieces, pieces, strict=True):
                self._received += count  # type: ignore[operator] # they alternate
                self._add(piece, count or 1)  # type: ignore[arg-type] # as above

    def acknowledge(self, received: int) -> None:
        """Drop the frames before number `received`; a number that was never sent counts as the last one."""
        counts: list[int] = self.unsettled[1::2]  # type: ignore[assignment] # they alternate
        answered = sum(counts)
        sent = answered + counts.count(0)
        if received >= self._sent + sent:
            self._drop_all(answered, sent)
            return
        self.settle()
        pieces = self._pieces
        while pieces and pieces[1] <= received:
            self._drop(pieces)
        while pieces and self._first < received:
            self._offset = end_of_frame(_whole(pieces[0]), self._offset)
            self._first += 1
        if not pieces:
            self._pieces = None

    def _drop_all(self, answered: int, sent: int) -> None:
        """Keep nothing, the `sent` unsettled frames that answer `answered` messages included."""
        self.unsettled.clear()
        self._received += answered
        self._sent += sent
        self._first = self._sent
        self._pieces = None
        self._offset = self._size = 0

    def frames(self) -> list[bytes]:
        """Return the frames that are kept, in order."""
        self.settle()
        offsets = chain([self._offset], repeat(0))
        pieces = map(_whole, list(self._pieces or ())[::2])
        return [frame for piece, offset in zip(pieces, offsets) for frame in split_frames(piece, offset)]  # noqa: B905

    def _add(self, frames: Piece, count: int) -> None:
        pieces = self._pieces
        if pieces is None:
            pieces = self._pieces = deque()
        self._sent += count
        pieces.append(frames)
        pieces.append(self._sent)
        self._size += _size(frames)
        while self._size > REPLAY_LIMIT:
            self._drop(pieces)

    def _drop(self, pieces: deque[Any]) -> None:
        self._size -= _size(pieces.popleft())
        self._first = pieces.popleft()
        self._offset = 0


def _size(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else len(piece[0]) + len(piece[1])


def _whole(piece: Piece) -> bytes:
    if isinstance(piece, bytes):
        return piece
    header, payload = piece
    return header + (payload.encode() if isinstance(payload, str) else payload)
