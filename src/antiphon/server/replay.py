"""What a session has sent and its client has not acknowledged, to be sent again on another connection."""

from collections import deque
from collections.abc import Iterable
from itertools import chain, repeat
from typing import Any

from antiphon.wire.frames import behind, split
from antiphon.wire.kinds import KIB

REPLAY_LIMIT = 256 * KIB
"""Bytes that are kept of a session; the oldest frames make way."""


class Replay:
    """Frames by their number: the first of a session has number 0. What was sent as one piece is kept as one."""

    __slots__ = ("_at", "_pieces", "_size", "first", "sent")

    def __init__(self, first: int = 0, frames: Iterable[bytes] = ()) -> None:
        """Begin with `frames`, of which the first has the number `first`."""
        self.first = first
        """The number of the oldest frame that is kept."""
        self.sent = first
        """How many frames there were in all."""
        self._pieces: deque[Any] = deque()
        """Each is two, since one queue takes half the memory of two: the bytes, and the number behind them."""
        self._at = 0
        """Where in the first piece the oldest frame stands that is kept."""
        self._size = 0
        for frame in frames:
            self.keep(frame)

    @property
    def full(self) -> bool:
        """Whether the next frame may push out one that was not acknowledged."""
        return self._size >= REPLAY_LIMIT

    def keep(self, frames: bytes, count: int = 1) -> None:
        """Keep more: `count` frames."""
        self.sent += count
        self._pieces.append(frames)
        self._pieces.append(self.sent)
        self._size += len(frames)
        while self._size > REPLAY_LIMIT:
            self._drop()

    def acknowledge(self, received: int) -> None:
        """Forget the frames before number `received`; one that was never sent is no news."""
        pieces = self._pieces
        while pieces and pieces[1] <= received:
            self._drop()
        while pieces and self.first < received:
            self._at = behind(pieces[0], self._at)
            self.first += 1

    def kept(self) -> list[bytes]:
        """Return the frames that are kept, in order."""
        starts = chain([self._at], repeat(0))
        return [frame for piece, at in zip(list(self._pieces)[::2], starts) for frame in split(piece, at)]  # noqa: B905

    def _drop(self) -> None:
        self._size -= len(self._pieces.popleft())
        self.first = self._pieces.popleft()
        self._at = 0
