"""Replay budget: bounds what all replay buffers of a server take, for each source and in all.

Each buffer has a limit of its own; these bounds are for many sessions together, whose clients acknowledge nothing.
"""

from typing import Protocol

from antiphon.server.listen.limits import Source, source_of
from antiphon.wire.kinds import KIB

SOURCE_LIMIT = 16 * 1024 * KIB
"""Bytes for all sessions of one source (IPv4 address, IPv6 /64): 250 clients of a class that are all waited for,
each with the 64 KiB after which a client acknowledges."""
TOTAL_LIMIT = 4 * SOURCE_LIMIT
"""Bytes for all sessions of a server."""


class Budgeted(Protocol):
    """A session's channel, for the budget."""

    @property
    def host(self) -> str:
        """IP address of the client."""

    def settle(self) -> None:
        """Join small frames, and report what they take then."""

    def hold_back(self) -> None:
        """Read no more, until `let_on`."""

    def let_on(self) -> None:
        """Read on."""

    def cut(self) -> None:
        """End the connection, and drop the frames of the replay buffer."""


class ReplayBudget:
    """Memory of replay buffers, by session and source. Sessions with less than a step of theirs are not in it.

    Small frames take twice their size until they are joined, so over a bound all join theirs first. Over it still,
    each session that grows is held back until the next `enforce`, so that others can acknowledge meanwhile. If it
    is still exceeded at the one after that, the sessions with the largest buffers are cut, of the source with the
    most first.
    """

    def __init__(self, source_limit: int = SOURCE_LIMIT, total_limit: int = TOTAL_LIMIT) -> None:
        """Start with nothing taken; the limits are in bytes."""
        self._source_limit = source_limit
        self._total_limit = total_limit
        self._sessions: dict[Budgeted, tuple[Source, int]] = {}
        self._sources: dict[Source, int] = {}
        self._held_back: set[Budgeted] = set()
        self._warned: set[Source | None] = set()
        """Bounds that were exceeded at the last `enforce`; None is that of the server."""
        self._settled = False
        """Whether all sessions have joined their frames since the last `enforce`."""
        self.total = 0
        """Bytes that all sessions take."""

    def report(self, session: Budgeted, size: int) -> None:
        """Note that the replay buffer of a session takes `size` bytes now."""
        source, before = self._sessions.get(session) or (source_of(session.host), 0)
        self.total += size - before
        taken = self._sources.get(source, 0) + size - before
        if size:
            self._sessions[session] = source, size
        else:
            self._sessions.pop(session, None)
        if taken:
            self._sources[source] = taken
        else:
            self._sources.pop(source, None)
        if size > before and self._exceeds(source):
            self._settle()
            if self._exceeds(source):
                self._held_back.add(session)
                session.hold_back()

    def moved(self, session: Budgeted) -> None:
        """Count a session for the source that its client has now."""
        if session in self._sessions:
            _, size = self._sessions[session]
            self.report(session, 0)
            self.report(session, size)

    def forget(self, session: Budgeted) -> None:
        """Count a session no more: its channel has ended."""
        self._held_back.discard(session)
        self.report(session, 0)

    def enforce(self) -> None:
        """Cut the worst where a bound is exceeded for the second time, and let the others on. Called by upkeep."""
        self._settled = False
        if self._warned:
            self._settle()
        exceeded: set[Source | None] = {
            source for source, taken in self._sources.items() if taken > self._source_limit
        }
        for source in exceeded & self._warned:
            assert source is not None
            self._cut_worst(source)
        if self.total > self._total_limit:
            exceeded.add(None)
            while None in self._warned and self.total > self._total_limit:
                self._cut_worst(max(self._sources, key=self._sources.__getitem__), self.total - self._total_limit)
        self._warned = exceeded
        held_back, self._held_back = self._held_back, set()
        for session in held_back:
            session.let_on()

    def _settle(self) -> None:
        """Join the frames of all sessions, once between two calls of `enforce`: there may be thousands."""
        if not self._settled:
            self._settled = True
            for session in list(self._sessions):
                session.settle()

    def _exceeds(self, source: Source) -> bool:
        return self._sources.get(source, 0) > self._source_limit or self.total > self._total_limit

    def _cut_worst(self, source: Source, surplus: int = 0) -> None:
        """Cut sessions of a source, those with the largest buffers first.

        They are cut until the source keeps its bound and, with a `surplus` of bytes, until so much is free.
        """
        surplus = max(surplus, self._sources[source] - self._source_limit)
        of_source = [(size, session) for session, (of, size) in self._sessions.items() if of == source]
        for size, session in sorted(of_source, key=lambda entry: -entry[0]):
            if surplus <= 0:
                break
            surplus -= size
            session.cut()
            self.forget(session)
