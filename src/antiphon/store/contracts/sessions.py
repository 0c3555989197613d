"""What is remembered of sessions and failed sign-ins: the contract, and the records that it gives.

A store keeps no clock: times are passed in and have a time zone, and whoever asks decides what has expired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

COUNTED_NAMES = 65_536
"""Names whose failures are counted at once, give or take a few; the one that failed longest ago makes way."""
KNOWN_SOURCES = 8
"""Addresses that are remembered of a name; the one that was used longest ago makes way."""
REVOCATIONS_KEPT = timedelta(days=1)
"""How long the log of revocations goes back: a server that cannot read it for longer may miss one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionRecord:
    """A session as a store keeps it."""

    fingerprint: bytes = field(repr=False)
    """keyed hash of the token, by which the session is found"""
    account_id: int
    """below 0 where no account was proved: a number for the client's address, by which its sessions are counted"""
    name: str
    """the account's, for display; without an account the one that was given, empty where none was asked for"""
    epoch: int
    """the account's at sign-in; the session is over once they differ; 0 without an account"""
    opened_at: datetime
    expires_at: datetime
    seen_at: datetime
    """when a connection was last known to hold it"""
    owner: str | None
    """the server with the connection that holds it, None while none does; a server that crashed stays there"""
    address: str
    """of the connection that held it last"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Revocation:
    """An entry of the log of revocations: one session, or all of an account, is taken away."""

    id: int
    """grows with every entry and is never given again"""
    fingerprint: bytes | None = field(repr=False)
    account_id: int | None
    owner: str | None
    """the server that took the one session over; None when it is over for everybody"""
    reason: str
    """one word, for the log"""


class Claim(NamedTuple):
    """A session was taken up."""

    position: int
    kept: bool
    """whether there is something to `take`"""


class Marks(NamedTuple):
    """By what failed sign-ins are counted (`identity.throttle`)."""

    name: bytes
    source: bytes


class Sessions(Protocol):
    """Sessions by the fingerprint of their token; what is not there is over. With them, the failed sign-ins.

    Whatever ends a session from outside also writes a `Revocation`, in the same transaction; servers follow that
    log. Where a method returns a position, that is the newest entry at that moment: only later ones concern what
    the method has done.

    Every method raises `TryLater` when the store cannot do its work.
    """

    async def open(
        self, record: SessionRecord, most: int, unheld_by: datetime, proved: Marks | None = None
    ) -> int:
        """Keep a new session, whose fingerprint no other has, and return the position.

        An account keeps `most` sessions: beyond that, those last seen before `unheld_by` are revoked, then the
        oldest, for the reason `too-many`. The same transaction forgives what was `proved`, as `succeeded` does.
        """

    async def find(self, fingerprint: bytes) -> SessionRecord | None:
        """Return a session, expired or not."""

    async def held(self, fingerprints: Sequence[bytes], at: datetime) -> None:
        """Note that connections hold these sessions at the time `at`; those that are over stay so."""

    async def claim(self, fingerprint: bytes, owner: str, address: str, at: datetime) -> Claim | None:
        """Note that a connection of `owner` from `address` takes a session up; return None where it is over.

        Where another server held it, that one is told by a revocation with `owner`, for the reason `replaced`.
        """

    async def released(self, fingerprint: bytes, owner: str, at: datetime) -> None:
        """Note that the connection of `owner` let go of a session at the time `at`; not if another has it now."""

    async def end(self, fingerprint: bytes, owner: str) -> None:
        """Forget a session for good, unless another server than `owner` has it; one that is over is no error."""

    async def revoke(self, fingerprint: bytes, reason: str, at: datetime) -> bool:
        """Take a session away from whoever has it; return whether it was there."""

    async def revoke_account(self, account_id: int, reason: str, at: datetime) -> int:
        """Take all sessions of an account away; return how many there were."""

    async def revoke_others(self, account_id: int, spared: bytes, epoch: int, reason: str, at: datetime) -> int:
        """Take all sessions of an account away but the `spared` one; return how many there were.

        The spared one, by its fingerprint, goes on in the `epoch` that has just begun.
        """

    async def revocations(self, after: int) -> list[Revocation]:
        """Return the revocations with a higher number than `after`, in order."""

    async def position(self) -> int:
        """Return the number of the newest revocation, 0 where there is none."""

    async def all(self) -> list[SessionRecord]:
        """Return all sessions, the oldest first, expired or not."""

    async def forget(self, expired_by: datetime) -> None:
        """Forget the sessions that had expired by then, and revocations `REVOCATIONS_KEPT` before that."""

    async def keep(self, dialogues: Mapping[bytes, bytes]) -> None:
        """Keep bytes for sessions, by their fingerprint; for one that is over, nothing is kept."""

    async def take(self, fingerprint: bytes) -> bytes | None:
        """Return what was kept for a session, and keep it no longer."""

    async def attempt(self, name: bytes, source: bytes, at: datetime) -> float:
        """Count a sign-in as failed before anybody knows whether it is, or say how long it has to wait.

        `name` and `source` are `Marks`. Where the name has signed in from this source before,
        the source's own count is taken, else the name's. Reading and counting are one step, for all servers: of
        attempts that come at once each is counted, and no more pass than `throttle.wait` allows.

        Returns:
            0 when the attempt was counted and may go on; else the seconds to wait, infinity where the name is
            locked, and nothing is counted.
        """

    async def succeeded(self, name: bytes, source: bytes, at: datetime) -> None:
        """Forget the failures of a name, all of them, and remember that it has signed in from this source."""

    async def forgive(self, name: bytes) -> None:
        """Forget the failures of a name, all of them: the operator's way to unlock it."""

    async def close(self) -> None:
        """Let go of everything; every other method raises `TryLater` from here on. May be called again."""
