"""What a server remembers: two contracts that every store fulfils, and the records that they give.

A store keeps no clock: times are passed in and have a time zone, and whoever asks decides what has expired.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from antiphon.identity.names import Name

COUNTED_NAMES = 65_536
"""Names whose failures are counted at once, give or take a few; the one that failed longest ago makes way."""
KNOWN_SOURCES = 8
"""Addresses that are remembered of a name; the one that was used longest ago makes way."""

STORE_SECONDS = 3.0
"""Every method answers or raises `TryLater` within this time (promise 23)."""
REVOCATIONS_KEPT = timedelta(days=1)
"""How long the log of revocations goes back: a server that cannot read it for longer may miss one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Somebody who has registered."""

    id: int
    """at least 1, never given again; credentials are sealed with it as their associated data"""
    display: str
    """the name, as typed at registration"""
    key: str
    """the name, case-mapped: no two accounts have the same"""
    disabled: bool
    epoch: int
    """sessions opened in another epoch are over"""
    credential_type: str
    credential: bytes = field(repr=False)
    """sealed"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """What an operator sees of an account; its credential is not among it."""

    id: int
    name: str
    """as typed at registration, or at the last renaming"""
    disabled: bool
    registered_at: datetime
    registered_from: str
    visited_at: datetime | None
    visited_from: str | None
    refusals: int
    """sign-ins refused since the last visit"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """An earlier sign-in of an account."""

    at: datetime
    address: str
    refusals: int
    """sign-ins refused since then"""


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionRecord:
    """A session as a store keeps it."""

    fingerprint: bytes = field(repr=False)
    """keyed hash of the token, by which the session is found"""
    account_id: int
    name: str
    """the account's, for display"""
    epoch: int
    """the account's at sign-in; the session is over once they differ"""
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


class Accounts(Protocol):
    """Accounts and their credentials; what a method has returned from survives a crash.

    Every method raises `TryLater` when the store cannot do its work.
    """

    async def register(
        self, name: Name, seal: Callable[[int], bytes], credential_type: str, at: datetime, address: str
    ) -> Account:
        """Add an account that nobody had, with one credential, in one transaction.

        `seal` is called with the new account's number, once, and returns the credential as it is kept; what it
        raises comes out, and nothing is added. `at` and `address` say when and from where.

        Raises:
            NameTaken: somebody has a name with the same key, or is getting it at this moment.
        """

    async def find(self, key: str) -> Account | None:
        """Return the account whose name has this key."""

    async def epoch(self, account_id: int) -> int | None:
        """Return the epoch that an account is in, None when there is no such account."""

    async def visited(self, account_id: int, at: datetime, address: str) -> Visit | None:
        """Record a sign-in, and return the one before it with the refusals since; None at the first.

        Reading and writing are one transaction; the refusals are counted from zero again.
        """

    async def refused(self, account_id: int) -> None:
        """Count one refused sign-in; none is lost when many come at once."""

    async def overviews(self) -> list[Overview]:
        """Return all accounts, by the keys of their names."""

    async def set_disabled(self, account_id: int, *, disabled: bool) -> bool:
        """Disable or enable an account; return whether that was a change, which begins a new epoch."""

    async def rename(self, account_id: int, name: Name) -> None:
        """Give an account another name, and begin a new epoch: sessions carry the name.

        Raises:
            NameTaken: another account has a name with the same key.
        """

    async def replace_credential(self, account_id: int, credential_type: str, credential: bytes) -> None:
        """Replace the sealed credential of one type, and begin a new epoch, in one transaction."""

    async def remove(self, account_id: int) -> None:
        """Forget an account and its credentials for good; its number is never given again."""

    async def close(self) -> None:
        """Let go of everything; every other method raises `TryLater` from here on. May be called again."""


class Sessions(Protocol):
    """Sessions by the fingerprint of their token; what is not there is over. With them, the failed sign-ins.

    Whatever ends a session from outside also writes a `Revocation`, in the same transaction; servers follow that
    log. Where a method returns a position, that is the newest entry at that moment: only later ones concern what
    the method has done.

    Every method raises `TryLater` when the store cannot do its work.
    """

    async def open(self, record: SessionRecord, most: int, unheld_by: datetime) -> int:
        """Keep a new session, whose fingerprint no other has, and return the position.

        An account keeps `most` sessions: beyond that, those last seen before `unheld_by` are revoked, then the
        oldest, for the reason `too-many`.
        """

    async def find(self, fingerprint: bytes) -> SessionRecord | None:
        """Return a session, expired or not."""

    async def held(self, fingerprints: Sequence[bytes], at: datetime) -> None:
        """Note that connections hold these sessions at the time `at`; those that are over stay so."""

    async def claim(self, fingerprint: bytes, owner: str, address: str, at: datetime) -> int | None:
        """Note that a connection of `owner` from `address` takes a session up; return the position, None if over.

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

    async def revocations(self, after: int) -> list[Revocation]:
        """Return the revocations with a higher number than `after`, in order."""

    async def position(self) -> int:
        """Return the number of the newest revocation, 0 where there is none."""

    async def all(self) -> list[SessionRecord]:
        """Return all sessions, the oldest first, expired or not."""

    async def forget(self, expired_by: datetime) -> None:
        """Forget the sessions that had expired by then, and revocations `REVOCATIONS_KEPT` before that."""

    async def attempt(self, name: bytes, source: bytes, at: datetime) -> float:
        """Count a sign-in as failed before anybody knows whether it is, or say how long it has to wait.

        `name` and `source` are marks (`identity.throttle`). Where the name has signed in from this source before,
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
