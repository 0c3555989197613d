"""Contract of the sessions store: records of open sessions, found by the fingerprint of their token.

A store reads no clock: the caller passes times, which have a time zone, and decides what has expired.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from antiphon.store.contracts.failures import Marks


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionRecord:
    """A session as a store keeps it."""

    fingerprint: bytes = field(repr=False)
    """keyed hash of the token, by which the session is found"""
    account_id: int
    """below 0 where no account was proved: a number for the client's address, by which its sessions are counted"""
    name: str
    """the account's display name; without an account the name that was given, empty where none was asked for"""
    epoch: int
    """the account's at sign-in; the session is over once they differ; 0 without an account"""
    opened_at: datetime
    expires_at: datetime
    seen_at: datetime
    """when a connection was last known to hold it"""
    owner: str | None
    """the server whose connection holds it, None while none does; a server that crashed stays the owner"""
    address: str
    """of the connection that held it last"""


class Claim(NamedTuple):
    """Result of a successful `Sessions.claim`."""

    position: int
    """number of the newest revocation at that moment: only later ones concern the session"""
    has_snapshot: bool
    """whether `Snapshots.take` has something for the session"""


class Opened(NamedTuple):
    """Result of `Sessions.open`."""

    position: int
    """number of the newest revocation at that moment: only later ones concern the session"""
    refusals: int
    """sign-ins refused under the name since its last one; 0 without `proved`"""


class Sessions(Protocol):
    """Open sessions. A session without a record is over.

    The methods that end a session from outside (`open`, `claim`, `revoke`, `revoke_account`, `revoke_others`) also
    write to the revocation log (`RevocationLog`), in the same transaction. Servers poll that log.

    Every method raises `TryLater` when the store cannot do its work.
    """

    async def open(
        self, record: SessionRecord, most: int, unheld_by: datetime, proved: Marks | None = None
    ) -> Opened:
        """Add a session with a new fingerprint.

        An account keeps `most` sessions. Beyond that, sessions last seen before `unheld_by` are revoked first,
        then the oldest, for the reason `too-many`. With `proved`, the same transaction does what
        `LoginFailures.succeeded` does for these marks, and sets the count of refusals to zero.
        """

    async def find(self, fingerprint: bytes) -> SessionRecord | None:
        """Return a session, expired or not."""

    async def held(self, fingerprints: Sequence[bytes], at: datetime) -> None:
        """Record that connections hold these sessions at the time `at`. Sessions that are over stay so."""

    async def claim(self, fingerprint: bytes, owner: str, address: str, at: datetime) -> Claim | None:
        """Record that a connection of `owner` from `address` holds a session now; return None if it is over.

        If another server held it, the same transaction writes a revocation with `owner`, for the reason
        `replaced`.
        """

    async def released(self, fingerprint: bytes, owner: str, at: datetime) -> None:
        """Record that `owner` no longer holds a session since the time `at`, unless another server has it."""

    async def end(self, fingerprint: bytes, owner: str) -> None:
        """Delete a session, unless another server than `owner` has it. A session that is over is no error."""

    async def revoke(self, fingerprint: bytes, reason: str, at: datetime) -> bool:
        """Delete a session whoever holds it, and log the revocation; return whether it was there."""

    async def revoke_account(self, account_id: int, reason: str, at: datetime) -> int:
        """Delete all sessions of an account, and log one revocation; return how many sessions there were."""

    async def revoke_others(self, account_id: int, spared: bytes, epoch: int, reason: str, at: datetime) -> int:
        """Delete all sessions of an account but the `spared` one, and log each; return how many there were.

        The spared session, named by its fingerprint, goes on in the `epoch` that has just begun.
        """

    async def all(self) -> list[SessionRecord]:
        """Return all sessions, the oldest first, expired or not."""

    async def forget(self, expired_by: datetime) -> None:
        """Delete the sessions that had expired by then."""
