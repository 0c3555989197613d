"""What a session has sent and its client has not acknowledged, to be sent again on another connection."""

from collections import deque
from collections.abc import Iterable, Iterator

from antiphon.wire.frames import split
from antiphon.wire.kinds import KIB

REPLAY_LIMIT = 256 * KIB
"""Bytes that are kept of a session; the oldest frames make way."""


class Replay:
    """Frames by their number: the first of a session has number 0. What was sent as one piece is kept as one."""

    __slots__ = ("_counts", "_pieces", "_size", "first", "sent")

    def __init__(self, first: int = 0, frames: Iterable[bytes] = ()) -> None:
        """Begin with `frames`, of which the first has the number `first`."""
        self.first = first
        """The number of the oldest frame that is kept."""
        self.sent = first
        """How many frames there were in all."""
        self._pieces: deque[bytes] = deque()
        self._counts: deque[int] = deque()
        self._size = 0
        for frame in frames:
            self.keep(frame)

    @property
    def full(self) -> bool:
        """Whether the next frame may push out one that was not acknowledged."""
        return self._size >= REPLAY_LIMIT

    def keep(self, frames: bytes, count: int = 1) -> None:
        """Keep more: `count` frames."""
        self._pieces.append(frames)
        self._counts.append(count)
        self.sent += count
        self._size += len(frames)
        while self._size > REPLAY_LIMIT:
            self._drop()

    def acknowledge(self, received: int) -> None:
        """Forget the frames before number `received`; one that was never sent is no news."""
        while self._counts and self.first + self._counts[0] <= received:
            self._drop()
        if self._counts and self.first < received:
            self._forget(received - self.first)

    def kept(self) -> list[bytes]:
        """Return the frames that are kept, in order."""
        return list(self._frames())

    def _frames(self) -> Iterator[bytes]:
        for piece in self._pieces:
            yield from split(piece)

    def _drop(self) -> None:
        self._size -= len(self._pieces.popleft())
        self.first += self._counts.popleft()

    def _forget(self, count: int) -> None:
        """Forget some of the frames of the first piece."""
        rest = b"".join(list(split(self._pieces[0]))[count:])
        self._size -= len(self._pieces[0]) - len(rest)
        self._pieces[0] = rest
        self._counts[0] -= count
        self.first += count
