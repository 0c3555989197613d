"""Replay buffer: counts of both directions, and the frames sent that the client has not acknowledged.

After a lost connection the unacknowledged frames are sent again (docs/protocol.md, "Continuity").
"""

from collections.abc import Iterable
from typing import Protocol

from antiphon.server.session.pieces import CHUNK_SIZE, Piece, Pieces
from antiphon.wire.batch import Unsettled
from antiphon.wire.kinds import KIB

REPLAY_LIMIT = 256 * KIB
"""Bytes of memory for the frames that a session keeps, beside what is unsettled; beyond it the oldest frames are
dropped."""
UNPROVED_LIMIT = 32 * KIB
"""The same of a session for which nobody has proved a password."""
STEP = 4 * KIB
"""Bytes in steps of which the owner is told of the memory: seldom, and never by a session with few frames."""


class Owner(Protocol):
    """What bounds the memory of all replay buffers together."""

    def replay_grown(self, size: int) -> None:
        """Note that the replay buffer takes about `size` bytes now, more or less than before."""


class ReplayBuffer:
    """Frames by number; the first frame of a session is number 0. What was sent together is kept together."""

    __slots__ = ("_counts", "_owner", "_pieces", "_received", "_reported", "_sent", "known", "limit", "unsettled")

    def __init__(
        self,
        received: int = 0,
        first: int = 0,
        frames: Iterable[bytes] = (),
        *,
        known: bool = True,
        limit: int = REPLAY_LIMIT,
        owner: Owner | None = None,
    ) -> None:
        """Start with `received` frames received, and `frames` sent, the first of which is number `first`.

        Without `known` the counts are those of a session whose former channel is lost. `limit` is the memory for
        frames, in bytes; `owner` is told how much of it is taken.
        """
        self._received = received
        self._sent = first
        self._counts = False
        """Whether the client has ever said what it has received."""
        self.limit = limit
        """Bytes of memory for frames."""
        self._owner = owner
        self._reported = 0
        self._pieces: Pieces | None = None
        """None when empty: an empty queue is a tenth of the memory of an idle session."""
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
    def counted(self) -> int:
        """Number of frames received, for who looks; nothing is settled for it."""
        return self._received + sum(self.unsettled[1::2])  # type: ignore[arg-type] # they alternate

    @property
    def sent(self) -> int:
        """Number of frames sent."""
        self.settle()
        return self._sent

    @property
    def first(self) -> int:
        """Number of the oldest frame that is kept."""
        self.settle()
        return self._sent if self._pieces is None else self._pieces.first

    @property
    def full(self) -> bool:
        """Whether the next frame may push out one that is not acknowledged."""
        self.settle()
        return self._pieces is not None and self._pieces.full(self.limit)

    @property
    def held(self) -> bool:
        """Whether it is full, and what it keeps matters: the client says what it has received."""
        return self._counts and self.full

    def count(self, frames: int = 1) -> None:
        """Count frames that were received."""
        self._received += frames
        self.known = True

    def add(self, frames: bytes, count: int = 1) -> None:
        """Keep `count` frames that were sent."""
        self.settle()
        self._add(frames, count)
        self.report()

    def settle(self) -> None:
        """Count and keep what the fast path has sent."""
        unsettled = self.unsettled
        if unsettled:
            pieces: list[Piece] = unsettled[::2]  # type: ignore[assignment] # they alternate
            counts: list[int] = unsettled[1::2]  # type: ignore[assignment] # as above
            unsettled.clear()
            self._received += sum(counts)
            together = CHUNK_SIZE * len(pieces) // (sum(map(len, pieces)) + 1) or 1
            for at in range(0, len(pieces), together):
                self._add_some(pieces[at : at + together], counts[at : at + together])
            self.report()

    def acknowledge(self, received: int) -> bool:
        """Drop the frames before number `received`; return False, and drop none, if fewer were sent."""
        self._counts = True
        counts: list[int] = self.unsettled[1::2]  # type: ignore[assignment] # they alternate
        answered = sum(counts)
        sent = answered + counts.count(0)
        if received >= self._sent + sent:
            if received > self._sent + sent:
                return False
            self._drop_all(answered, sent)
            return True
        self.settle()
        if self._pieces is not None and not self._pieces.drop_before(received):
            self._pieces = None
        self.report()
        return True

    def forget(self) -> None:
        """Drop all frames: they are missed by a client that has not got them."""
        self.settle()
        self._drop_all(0, 0)

    def skip(self, count: int) -> None:
        """Count `count` frames as sent before those that are kept, so that no frame is dropped for them.

        Precondition: the client's count has just been acknowledged, and it learns of what is missed.
        """
        frames, first = self.frames(), self.first
        self._pieces = None
        self._sent = first + count
        for frame in frames:
            self._add(frame, 1)

    def report(self, unsettled: int = 0) -> None:
        """Tell the owner how much memory is taken, if that has changed by a step.

        `unsettled` is the memory of what is not settled, for a caller that knows it.
        """
        size = unsettled if self._pieces is None else unsettled + self._pieces.size
        size -= size % STEP
        if size != self._reported and self._owner is not None:
            self._reported = size
            self._owner.replay_grown(size)

    def _drop_all(self, answered: int, sent: int) -> None:
        """Keep nothing, the `sent` unsettled frames that answer `answered` messages included."""
        self.unsettled.clear()
        self._received += answered
        self._sent += sent
        self._pieces = None
        if self._reported:
            self.report()

    def frames(self) -> list[bytes]:
        """Return the frames that are kept, in order."""
        self.settle()
        return [] if self._pieces is None else self._pieces.frames()

    def _add_some(self, pieces: list[Piece], counts: list[int]) -> None:
        """Keep frames that answer `counts` messages; small pieces are joined first, or each would cost a call."""
        try:
            joined = b"".join(pieces)  # type: ignore[arg-type] # the handler says what happens
        except TypeError:  # header and payload are apart
            for piece, count in zip(pieces, counts, strict=True):
                self._add(piece, count or 1)
        else:
            self._add(joined, sum(counts) + counts.count(0))

    def _add(self, frames: Piece, count: int) -> None:
        pieces = self._pieces
        if pieces is None:
            pieces = self._pieces = Pieces(self._sent)
        self._sent += count
        if not pieces.add(frames, self._sent, self.limit):
            self._pieces = None
