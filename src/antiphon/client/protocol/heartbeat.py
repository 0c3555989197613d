"""Heartbeats: when one is due, and when the server has been silent for too long.

The rules are those of docs/protocol.md, "Heartbeats and silence". The caller passes the clock in.
"""

import math

from antiphon.wire.bodies import Limits

LEAST_PAUSE = 0.05
"""Seconds between two heartbeats, at the least: a server may ask for a heartbeat every 0 seconds."""


class Heartbeat:
    """Deadlines of one connection, in both directions.

    `heard` and `spoke` are set from outside, for each read and each write. They are flags and not moments because
    looking at the clock for every read would cost more than the read's own bookkeeping.
    """

    __slots__ = ("_heard_at", "_pause", "_silence", "_spoke_at", "heard", "spoke")

    def __init__(self) -> None:
        """Start without deadlines: they come with HELLO."""
        self._pause = self._silence = math.inf
        self._heard_at = self._spoke_at = 0.0
        self.heard = True
        """Whether bytes have come since the last `tick`."""
        self.spoke = True
        """Whether something other than a heartbeat was sent since the last `tick`."""

    def start(self, limits: Limits) -> None:
        """Keep to the limits of HELLO; a heartbeat is sent in half the time that the server asks for."""
        self._pause = max(limits.heartbeat / 2, LEAST_PAUSE)
        self._silence = limits.silence

    @property
    def silence(self) -> float:
        """Seconds of silence after which the server is given up."""
        return self._silence

    def tick(self, now: float, *, listening: bool) -> float:
        """Note what happened until `now`; time in which this side does not read is no silence of the server.

        Return the moment at which something is due.
        """
        if self.heard or not listening:
            self._heard_at, self.heard = now, False
        if self.spoke:
            self._spoke_at, self.spoke = now, False
        silent_at, due_at = self._heard_at + self._silence, self._spoke_at + self._pause
        return min(silent_at, due_at)

    def silent(self, now: float) -> bool:
        """Return whether the server has been silent for too long."""
        return now - self._heard_at >= self._silence

    def due(self, now: float) -> bool:
        """Return whether a heartbeat is due. The caller sends it, and the time begins again."""
        if now - self._spoke_at < self._pause:
            return False
        self._spoke_at = now
        return True

    def wake(self, *, speaking: bool) -> float:
        """Return the moment of the next `tick`; a side that is not `speaking` sends no heartbeats."""
        silent_at = self._heard_at + self._silence
        return min(silent_at, self._spoke_at + self._pause) if speaking else silent_at
