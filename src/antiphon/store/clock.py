"""Clock of a store: the time by which its records are written and compared.

Several machines may share a database, and their clocks may be an hour apart: then it is the database's clock, as
it was last seen, and this machine's monotonic clock since then. Elsewhere it is this machine's clock.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

NEAR_SECONDS = 1.0
"""Longest time for a question to the database whose answer counts, once there is one."""


def _wall() -> datetime:
    return datetime.now(UTC)


class StoreClock:
    """Time in UTC. Several threads may use it."""

    def __init__(
        self, wall: Callable[[], datetime] = _wall, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with the clock of this machine."""
        self._wall = wall
        self._monotonic = monotonic
        self._seen: tuple[datetime, float] | None = None
        """A time of the database's clock, and of the monotonic one at the same moment."""

    def now(self) -> datetime:
        """Return the time."""
        seen = self._seen
        if seen is None:
            return self._wall()
        at, then = seen
        return at + timedelta(seconds=self._monotonic() - then)

    def follow(self, read: Callable[[], datetime]) -> None:
        """Follow the database's clock, whose time `read` returns; its errors are passed on."""
        began = self._monotonic()
        at = read()
        ended = self._monotonic()
        if self._seen is None or ended - began <= NEAR_SECONDS:
            self._seen = at, (began + ended) / 2
