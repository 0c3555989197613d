"""What a session has received, and what it has sent that its client has not acknowledged: that is sent again."""

from collections import deque
from collections.abc import Iterable
from itertools import chain, repeat
from typing import Any

from antiphon.wire.answering import Fresh
from antiphon.wire.frames import Payload, behind, split
from antiphon.wire.kinds import KIB

REPLAY_LIMIT = 256 * KIB
"""Bytes that are kept of a session, beside what is fresh; the oldest frames make way."""


Piece = bytes | tuple[bytes, Payload]
"""Frames, or the header and the payload of one: text is ASCII then."""


class Continuity:
    """Counts of both directions, and frames by their number: the first of a session has number 0.

    What was sent as one piece is kept as one.
    """

    __slots__ = ("_at", "_first", "_pieces", "_received", "_sent", "_size", "fresh")

    def __init__(self, received: int = 0, first: int = 0, frames: Iterable[bytes] = ()) -> None:
        """Begin with `received` frames that have come and `frames` sent, the first of them number `first`."""
        self._received = received
        self._first = first
        self._sent = first
        self._pieces: deque[Any] | None = None
        """Each is two, since one queue takes half the memory of two: the bytes, and the number behind them. An
        empty one would take a tenth of the memory of an idle session."""
        self._at = 0
        """Where in the first piece the oldest frame stands that is kept."""
        self._size = 0
        self.fresh: list[Fresh] = []
        """Pieces that answer as many frames as they have, with that number behind each, or with 0 behind one that
        answers a frame that was counted when it came: to be settled soon."""
        for frame in frames:
            self.keep(frame)

    @property
    def received(self) -> int:
        """How many frames have come."""
        self.settle()
        return self._received

    @property
    def sent(self) -> int:
        """How many frames were sent in all."""
        self.settle()
        return self._sent

    @property
    def first(self) -> int:
        """The number of the oldest frame that is kept."""
        self.settle()
        return self._first

    @property
    def full(self) -> bool:
        """Whether the next frame may push out one that was not acknowledged."""
        self.settle()
        return self._size >= REPLAY_LIMIT

    def came(self, count: int = 1) -> None:
        """Count frames that have come."""
        self._received += count

    def keep(self, frames: bytes, count: int = 1) -> None:
        """Keep more: `count` frames that were sent."""
        self.settle()
        self._keep(frames, count)

    def settle(self) -> None:
        """Count and keep what is fresh."""
        fresh = self.fresh
        if fresh:
            pieces = iter(fresh[:])
            fresh.clear()
            for piece, count in zip(pieces, pieces, strict=True):
                self._received += count  # type: ignore[operator] # they come in turns
                self._keep(piece, count or 1)  # type: ignore[arg-type] # likewise

    def acknowledge(self, received: int) -> None:
        """Forget the frames before number `received`; one that was never sent is no news."""
        counts: list[int] = self.fresh[1::2]  # type: ignore[assignment] # they come in turns
        heard = sum(counts)
        said = heard + counts.count(0)
        if received >= self._sent + said:
            self._forget(heard, said)
            return
        self.settle()
        pieces = self._pieces
        while pieces and pieces[1] <= received:
            self._drop(pieces)
        while pieces and self._first < received:
            self._at = behind(_whole(pieces[0]), self._at)
            self._first += 1
        if not pieces:
            self._pieces = None

    def _forget(self, heard: int, said: int) -> None:
        """Keep nothing: not what is fresh either, `said` frames that answer `heard` others."""
        self.fresh.clear()
        self._received += heard
        self._sent += said
        self._first = self._sent
        self._pieces = None
        self._at = self._size = 0

    def kept(self) -> list[bytes]:
        """Return the frames that are kept, in order."""
        self.settle()
        starts = chain([self._at], repeat(0))
        pieces = map(_whole, list(self._pieces or ())[::2])
        return [frame for piece, at in zip(pieces, starts) for frame in split(piece, at)]  # noqa: B905

    def _keep(self, frames: Piece, count: int) -> None:
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
        self._at = 0


def _size(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else len(piece[0]) + len(piece[1])


def _whole(piece: Piece) -> bytes:
    if isinstance(piece, bytes):
        return piece
    header, payload = piece
    return header + (payload.encode() if isinstance(payload, str) else payload)
