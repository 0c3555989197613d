"""The deadlines of one connection, without a clock of its own: the server asks a few times a second.

Bytes alone never extend a deadline of the entry (promise 9); inside a session silence and unread answers count
(promises 12 and 13).
"""

from antiphon.errors import AntiphonError, PeerSilent, PeerTooSlow, SignInTimedOut
from antiphon.settings import ServerSettings
from antiphon.wire.kinds import KIB

PROGRESS = 64 * KIB
"""Bytes that a peer must take in `write_seconds`, if it does not take all that waits: slow links pass, a trickle
does not hold our memory."""


class Watch:
    """What the connection notes, and what is due because of it. Times are seconds of one monotonic clock."""

    __slots__ = (
        "_accepted_at", "_heard_at", "_settings", "_spoke_at", "_taken", "_taken_at",
        "admitted", "framed", "heard", "spoke",
    )  # fmt: skip

    def __init__(self, settings: ServerSettings, accepted_at: float) -> None:
        """Begin with a connection accepted at `accepted_at`."""
        self._settings = settings
        self._accepted_at = accepted_at
        self._heard_at = accepted_at
        self._spoke_at = accepted_at
        self._taken_at = accepted_at
        self._taken = 0
        self.framed = False
        """A whole frame has come."""
        self.admitted = False
        """A session is open."""
        self.heard = False
        """Something came since the last look."""
        self.spoke = False
        """Something was sent since the last look."""

    def overdue(self, now: float, *, reading: bool, queued: int, taken: int) -> AntiphonError | None:
        """Return why to cut the connection now, or None.

        `reading` says whether we take what the peer sends, `queued` how many bytes wait for the peer to take them,
        and `taken` how many it has taken in all.
        """
        settings = self._settings
        if self.heard or not reading:
            self.heard = False
            self._heard_at = now
        if self.spoke:
            self.spoke = False
            self._spoke_at = now
        if not queued or taken - self._taken >= PROGRESS:
            self._taken = taken
            self._taken_at = now
        if not self.framed and now - self._accepted_at > settings.first_frame_seconds:
            return SignInTimedOut()
        if not self.admitted and now - self._accepted_at > settings.entry_seconds:
            return SignInTimedOut()
        if now - self._taken_at > settings.write_seconds:
            return PeerTooSlow()
        if now - self._heard_at > settings.silence_seconds:
            return PeerSilent(seconds=f"{settings.silence_seconds:g}")
        return None

    def heartbeat_due(self, now: float) -> bool:
        """Return whether nothing was sent for so long that a heartbeat is due."""
        return now - self._spoke_at >= self._settings.heartbeat_seconds
