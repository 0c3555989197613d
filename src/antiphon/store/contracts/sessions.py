"""Contract of the sessions store: records of open sessions, found by the fingerprint of their token.

A store reads no clock: the caller passes times, which have a time zone, and decides what has expired.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from antiphon.store.contracts.failures import Marks

SHORT_ID_SIZE = 6
"""Bytes of a session's fingerprint that serve as its id: 48 bits are enough to tell sessions apart.

The fingerprint is a keyed hash of the token, so an id is of no use to a thief.
"""
TOO_MANY = "too-many"
"""Reason of the revocation of a session that makes way for a new one."""


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
    """the process whose socket carries the connection that holds it, None while none does; untrue if that process
    is not in `Processes`"""
    address: str
    """of the connection that held it last"""
    home: str | None = None
    """the process that holds its channel; None after `Sessions.hand_on`; untrue as `owner` is"""
    claim: int = 0
    """how many homes it has had; a process that names an earlier one has lost the session"""

    @property
    def short_id(self) -> str:
        """The id by which operators name it."""
        return short_id(self.fingerprint)


def short_id(fingerprint: bytes) -> str:
    """Return the id by which operators name the session with this fingerprint."""
    return fingerprint[:SHORT_ID_SIZE].hex()


class Claim(NamedTuple):
    """Result of a successful `Sessions.claim`."""

    number: int
    """the `SessionRecord.claim` that it made"""
    position: int
    """number of the newest revocation at that moment: only later ones concern the session"""
    snapshot: bytes | None = None
    """what the home before saved; it stays until `Sessions.drop_snapshot`"""


class Opened(NamedTuple):
    """Result of `Sessions.open`."""

    position: int
    """number of the newest revocation at that moment: only later ones concern the session"""
    refusals: int
    """sign-ins refused under the name since its last one; 0 without `proved`"""


class Sessions(Protocol):
    """Open sessions. A session without a record is over.

    The process that holds the channel of a session is its home. What a home writes names its `claim`, and is not
    done where the session has another home by now, or the same one by a later claim: a process that was frozen
    meanwhile changes nothing.

    The methods that end a session from outside (`open`, `claim`, `revoke`, `revoke_account`, `revoke_others`,
    `end_others`) also write to the revocation log (`RevocationLog`), in the same transaction. Servers poll that
    log.

    Every method is one transaction (but `held` may be several, and take longer), and raises `TryLater` when the
    store cannot do its work.
    """

    async def open(
        self, record: SessionRecord, most: int, proved: Marks | None = None, *, replace: bool = False
    ) -> Opened | None:
        """Add a session with a new fingerprint. Its `home` and `owner` are the process, and its `claim` is 1.

        An account keeps `most` sessions. One more revokes another, for the reason `TOO_MANY`: of those that no
        living process holds, the one that was not seen for the longest time. If all are held, it is the one opened
        first, and only with `replace`.

        With `proved`, the same transaction does what `LoginFailures.succeeded` does for these marks, and if the
        session is opened, it sets the count of refusals to zero.

        Returns:
            None if all `most` sessions are held and `replace` is not given; then none is added.
        """

    async def find(self, fingerprint: bytes) -> SessionRecord | None:
        """Return a session, expired or not."""

    async def claim(
        self, fingerprint: bytes, expected: int, home: str, address: str, at: datetime
    ) -> Claim | None:
        """Make `home` the home of a session, held by its own connection from `address`; return the new claim.

        Only while the session's claim is `expected`, and only if its home is None, `home` itself, not in
        `Processes`, or takes no relays: a living home that takes relays is asked and never robbed. If there was
        another home or owner, a revocation with `home` as the owner is written, for the reason `replaced`.

        Returns:
            None if the session is over, or it has another claim or a living home: `find` it again.
        """

    async def hold(
        self, fingerprint: bytes, home: str, claim: int, *, owner: str, address: str, at: datetime
    ) -> Claim | None:
        """Record at its home that a connection from `address`, through the process `owner`, holds a session now.

        A process that is neither `home` nor in `Processes` holds nothing: then the owner is None.

        Returns:
            the claim, with a snapshot if it was not dropped; None if the session is over or not this home's.
        """

    async def held(self, marks: Sequence[tuple[bytes, int]], home: str, at: datetime) -> None:
        """Record that connections hold these sessions at the time `at`: fingerprint and claim of each."""

    async def released(self, fingerprint: bytes, home: str, claim: int, at: datetime) -> None:
        """Record that no connection holds a session since the time `at`, if one did."""

    async def hand_on(
        self, fingerprint: bytes, home: str, claim: int, snapshot: bytes | None, at: datetime
    ) -> bool:
        """Save the snapshot of a session that has no home from now on. Other processes can claim it.

        If a connection held it, it was last seen at the time `at`.

        Returns:
            False if the session is over or not this home's; then nothing is saved.
        """

    async def drop_snapshot(self, fingerprint: bytes, home: str, claim: int) -> bool:
        """Delete the snapshot that the `claim` returned, before the session's first message is handled.

        Returns:
            whether the session is still this home's.
        """

    async def end(self, fingerprint: bytes, home: str, claim: int) -> None:
        """Delete a session, unless another process has claimed it. A session that is over is no error."""

    async def revoke(self, fingerprint: bytes, reason: str, at: datetime) -> bool:
        """Delete a session whoever holds it, and log the revocation; return whether it was there."""

    async def revoke_account(self, account_id: int, reason: str, at: datetime) -> int:
        """Delete all sessions of an account, and log one revocation; return how many sessions there were."""

    async def revoke_others(self, account_id: int, spared: bytes, epoch: int, reason: str, at: datetime) -> int:
        """Delete all sessions of an account but the `spared` one, and log each; return how many there were.

        The spared session, named by its fingerprint, goes on in the `epoch` that has just begun.
        """

    async def end_others(self, fingerprint: bytes, home: str, claim: int, reason: str, at: datetime) -> int | None:
        """Delete all other sessions of the account of a session, and log each; return how many there were.

        Returns:
            None if the session is over or not this home's: then none is deleted. Of two that end each other at
            once, one goes on.
        """

    async def all(self) -> list[SessionRecord]:
        """Return all sessions, the oldest first, expired or not."""

    async def homed(self, home: str) -> dict[bytes, int]:
        """Return the sessions whose home is `home`: the claim of each by its fingerprint."""

    async def forget(self, expired_by: datetime, unheld_by: datetime) -> None:
        """Delete the sessions that had expired by then, and the snapshots of those nobody can resume any more.

        The latter are held by no living process and were last seen by `unheld_by`.
        """
