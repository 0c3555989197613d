"""Session that a connection of this server holds, and its holder, the connection."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from antiphon.errors import TryLater
from antiphon.server.peer import Peer


class Holder(Protocol):
    """The connection that holds a session."""

    peer: Peer
    accepted_at: float
    """When the connection was accepted, in monotonic time of this machine; at the earliest, if another one did."""
    accepted_by: float
    """The same; at the latest."""

    @property
    def present(self) -> bool:
        """Whether the connection is there and can be used."""

    @property
    def can_half_close(self) -> bool:
        """Whether the connection can be closed in one direction."""

    def lose(self, reason: str, cause: str = "") -> None:
        """Say goodbye for `reason` and close: the connection no longer holds the session.

        `cause` says why a session was revoked, in a word of the revocation log.
        """


@dataclass(eq=False, slots=True)
class Session:
    """A session that a connection of this server holds, from its sign-in or resume on."""

    fingerprint: bytes
    account_id: int
    name: str | None
    opened_at: datetime
    expires_at: datetime
    holder: Holder
    position: int
    """Number of the newest revocation when the connection took it: only later ones concern it."""
    must_change: bool
    """Whether a new password must be chosen before anything else."""
    claim: int
    """Number of the claim by which this process is its home: whoever claims it later has a higher one."""
    snapshot: bytes | None = None
    """What the store has of its channel, at a resume; it must be dropped there before a message is handled."""


def check_newer(holder: Holder, held_by: Holder) -> None:
    """Check that a connection may take a session from another one.

    Relays make requests overtake each other: that of a connection which its client has given up may come after the
    client has resumed the session on a newer one.

    Raises:
        TryLater: it is gone, or may be older than the other one.
    """
    if not holder.present or (held_by.present and holder.accepted_at < held_by.accepted_by):
        raise TryLater(wait=1)
