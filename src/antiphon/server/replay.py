"""What a session has sent and its client has not acknowledged, to be sent again on another connection."""

from collections import deque
from collections.abc import Iterable

from antiphon.wire.kinds import KIB

REPLAY_LIMIT = 256 * KIB
"""Bytes that are kept of a session; the oldest frames make way."""


class Replay:
    """Frames by their number: the first one of a session has number 0."""

    __slots__ = ("_frames", "_size", "first")

    def __init__(self, first: int = 0, frames: Iterable[bytes] = ()) -> None:
        """Begin with `frames`, of which the first has the number `first`."""
        self.first = first
        """The number of the oldest frame that is kept."""
        self._frames = deque(frames)
        self._size = sum(map(len, self._frames))

    @property
    def sent(self) -> int:
        """How many frames there were in all."""
        return self.first + len(self._frames)

    @property
    def full(self) -> bool:
        """Whether the next frame may push out one that was not acknowledged."""
        return self._size >= REPLAY_LIMIT

    def keep(self, frame: bytes) -> None:
        """Keep one more frame."""
        self._frames.append(frame)
        self._size += len(frame)
        while self._size > REPLAY_LIMIT:
            self._drop()

    def acknowledge(self, received: int) -> None:
        """Forget the frames before number `received`; one that was never sent is no news."""
        while self._frames and self.first < received:
            self._drop()

    def kept(self) -> list[bytes]:
        """Return the frames that are kept, in order."""
        return list(self._frames)

    def _drop(self) -> None:
        self._size -= len(self._frames.popleft())
        self.first += 1
