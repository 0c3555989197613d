"""Attention of the supervisor: for how long a worker has been silent while the supervisor listened."""

GAP_SECONDS = 2.5
"""After a longer pause between two looks the supervisor has not run, and has not read what was said meanwhile."""


class Attention:
    """Since when the looks have had no gap. Times are of one monotonic clock."""

    def __init__(self, now: float) -> None:
        """Begin to listen now."""
        self._since = self._looked_at = now

    def look(self, now: float) -> None:
        """Note a look at the workers."""
        if now - self._looked_at > GAP_SECONDS:
            self._since = now
        self._looked_at = now

    def silence(self, heard_at: float, now: float) -> float:
        """Return how many seconds a worker that was last heard at a moment has been silent."""
        return now - max(heard_at, self._since)
