"""Process watch: which other processes of the store are dead, by the counters that living ones advance.

Times are seconds of the observer's monotonic clock; this module has none.
"""

DEAD_SECONDS = 6.0
"""Time for which a counter must stand still, while the store answers, before its process may be taken for dead."""
GAP_SECONDS = 2.5
"""The longest pause between two looks at the counters in which nothing can have been missed."""


class ProcessWatch:
    """The counters of all processes of one store, as one of them sees them. One thread notes, others ask."""

    def __init__(self) -> None:
        """Begin without having looked."""
        self._counters: dict[str, tuple[int, float]] = {}
        """Counter, and when it was first seen to stand there, by the ids of the processes."""
        self._seen_at = float("-inf")
        """The last look."""
        self._looking_since = 0.0
        """Since when the looks were without a gap."""

    def seen(self, counters: dict[str, int], now: float) -> None:
        """Note what the counters say now."""
        if now - self._seen_at > GAP_SECONDS:
            self._looking_since = now
        before = self._counters
        after = {id: (counter, now) for id, counter in counters.items()}
        self._counters = {
            id: before[id] if before.get(id, (None,))[0] == each[0] else each for id, each in after.items()
        }
        self._seen_at = now

    def failed(self) -> None:
        """Note that the store did not answer: nobody is dead until it has answered for a while."""
        self._seen_at = float("-inf")

    def still_for(self, id: str, now: float) -> float:
        """Return for how long the counter of a process has stood still; 0 while that is not known."""
        _, since = self._counters.get(id, (0, now))
        return 0.0 if now - self._seen_at > GAP_SECONDS else now - max(since, self._looking_since)

    def stands_at(self, id: str, now: float) -> int | None:
        """Return the counter of a process if it has stood still for so long that the process may be dead.

        None for one that moves, and while that is not known.
        """
        return self.counter(id) if self.still_for(id, now) >= DEAD_SECONDS else None

    def counter(self, id: str) -> int | None:
        """Return the counter of a process as it was last seen, None for one that was not."""
        return self._counters.get(id, (None,))[0]
