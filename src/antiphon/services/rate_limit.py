"""Rate limit (leaky bucket): so many steps at once, then so many a second. The caller passes the time in."""


class RateLimit:
    """The rate limit of one person."""

    __slots__ = ("__weakref__", "_at_once", "_debt", "_second", "_seen")

    def __init__(self, at_once: float, a_second: float) -> None:
        """Allow `at_once` steps without a wait, and then `a_second` steps each second."""
        self._at_once = at_once
        self._second = a_second
        self._debt = 0.0
        """Steps counted and not yet offset by the time that has passed."""
        self._seen = 0.0

    def wait(self, now: float, steps: int = 1) -> float:
        """Count `steps` at the time `now`, in seconds; return the seconds that they must wait, 0 for none.

        The wait depends on earlier steps only: many steps at once wait no longer than one.
        """
        self._debt = max(0.0, self._debt - (now - self._seen) * self._second)
        self._seen = now
        wait = max(0.0, self._debt - self._at_once + 1) / self._second
        self._debt += steps
        return wait
