"""How fast somebody may go on: so much at once, then so much a second. Keeps no clock: the time is passed in."""


class Pace:
    """One person's pace."""

    __slots__ = ("_at_once", "_debt", "_second", "_seen")

    def __init__(self, at_once: float, a_second: float) -> None:
        """Let `at_once` steps pass without a wait, and then `a_second` each second."""
        self._at_once = at_once
        self._second = a_second
        self._debt = 0.0
        """Steps that time has not made up for yet."""
        self._seen = 0.0

    def wait(self, now: float, steps: int = 1) -> float:
        """Count `steps` at the time `now`, in seconds; return how many seconds they must wait, 0 for none.

        They wait for what came before them, not for themselves: many steps at once need not last longer than one.
        """
        self._debt = max(0.0, self._debt - (now - self._seen) * self._second)
        self._seen = now
        wait = max(0.0, self._debt - self._at_once + 1) / self._second
        self._debt += steps
        return wait
