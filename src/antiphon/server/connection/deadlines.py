"""Deadlines of one connection, without a clock: the server passes the time in a few times a second.

Before sign-in bytes alone never extend a deadline (promise 9); in a session silence and unread answers count
(promises 12 and 13).
"""

from antiphon.errors import AntiphonError, PeerSilent, PeerTooSlow, SignInTimedOut
from antiphon.settings import ServerSettings
from antiphon.wire.kinds import KIB

PROGRESS = 64 * KIB
"""Bytes that a peer must take within `write_seconds` if it does not take all that waits: slow links pass, a
trickle does not hold memory."""
LINGER_SECONDS = 2.0
"""How long a closing connection goes on reading, so that a reset does not take our last words from the peer."""

REST_SECONDS = 1.0
"""Silence after which a connection comes to rest. To rest and to wake costs as much as the looks of a second."""


class Deadlines:
    """Notes of one connection, and the deadlines that follow. Times are seconds of one monotonic clock."""

    __slots__ = (
        "_accepted_at", "_closing_at", "_due", "_heard_at", "_resting", "_settings", "_spoke_at", "_taken",
        "_taken_at", "admitted", "framed", "heard", "spoke",
    )  # fmt: skip

    def __init__(self, settings: ServerSettings, accepted_at: float) -> None:
        """Start with a connection accepted at `accepted_at`."""
        self._settings = settings
        self._accepted_at = accepted_at
        self._heard_at = accepted_at
        self._spoke_at = accepted_at
        self._taken_at = accepted_at
        self._taken = self._due = 0
        """Bytes that the peer had taken at `_taken_at`, and with those that waited for it then."""
        self._closing_at = 0.0
        self._resting = False
        """`rest` was called after the last look."""
        self.framed = False
        """A whole frame was received."""
        self.admitted = False
        """A session is open."""
        self.heard = False
        """Bytes were received since the last look."""
        self.spoke = False
        """Bytes were sent since the last look."""

    def overdue(self, now: float, *, reading: bool, queued: int, taken: int) -> AntiphonError | None:
        """Return why the connection must be cut now, or None.

        `reading` says whether we take what the peer sends, `queued` is how many bytes the peer has not taken, and
        `taken` how many it has taken in all.
        """
        settings = self._settings
        if self.heard or not reading:
            self.heard = False
            self._heard_at = now
        if self.spoke:
            self.spoke = False
            self._spoke_at = now
        # That nothing waits is not enough: where a peer is answered all the time, something always does.
        if not queued or taken >= self._due > self._taken or taken - self._taken >= PROGRESS:
            self._taken = taken
            self._due = taken + queued
            self._taken_at = now
        elif self._due <= self._taken:
            self._due = taken + queued
        if not self.framed and now - self._accepted_at > settings.first_frame_seconds:
            return SignInTimedOut()
        if not self.admitted and now - self._accepted_at > settings.entry_seconds:
            return SignInTimedOut()
        if now - self._taken_at > settings.write_seconds:
            return PeerTooSlow()
        if now - self._heard_at > settings.silence_seconds:
            return PeerSilent(seconds=f"{settings.silence_seconds:g}")
        return None

    def silent(self, now: float) -> bool:
        """Return whether neither side has sent anything for a while. Precondition: `overdue` was called."""
        return now - max(self._heard_at, self._spoke_at) >= REST_SECONDS

    def rest(self) -> float:
        """Return when the next look is due if nothing happens until then.

        Precondition: both sides are silent, and the peer has taken everything.
        """
        self._resting = True
        return min(
            self._spoke_at + self._settings.heartbeat_seconds, self._heard_at + self._settings.silence_seconds
        )

    def woken(self, looked_at: float) -> None:
        """Note that looks at a connection at rest up to `looked_at` would have found everything taken."""
        if self._resting:
            self._resting = False
            self._taken_at = looked_at

    def heartbeat_due(self, now: float) -> bool:
        """Return whether nothing was sent for so long that a heartbeat is due."""
        return now - self._spoke_at >= self._settings.heartbeat_seconds

    def beat(self, now: float) -> None:
        """Note that a heartbeat was sent."""
        self._spoke_at = now

    def closing(self, now: float) -> None:
        """Note that the connection begins to close."""
        self._closing_at = now

    def lingered(self, now: float, *, queued: int) -> bool:
        """Return whether a closing connection has had its time; `queued` as in `overdue`."""
        return now - self._closing_at > (self._settings.write_seconds if queued else LINGER_SECONDS)
