"""What is remembered of accounts: the durable contract, and the records that it gives.

A store keeps no clock: times are passed in and have a time zone, and whoever asks decides what has expired.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from antiphon.identity.names import Name


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
    must_change: bool = False
    """Whether a new password must be chosen before anything else."""
    expires_at: datetime | None = None
    """When the credential is good no longer, if ever: one that was imported is for a while only."""


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
    must_change: bool = False
    """whether a new password must be chosen at the next sign-in"""
    expires_at: datetime | None = None
    """when the credential is good no longer, if ever"""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewAccount:
    """Somebody to be added by an operator."""

    name: Name
    seal: Callable[[int], bytes] = field(repr=False)
    """gets the account's number, once, and returns the sealed credential"""
    credential_type: str
    must_change: bool = False
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """An earlier sign-in of an account."""

    at: datetime
    address: str
    refusals: int
    """sign-ins refused since then"""


class Accounts(Protocol):
    """Accounts and their credentials; what a method has returned from survives a crash.

    Every method raises `TryLater` when the store cannot do its work.
    """

    async def register(
        self,
        name: Name,
        seal: Callable[[int], bytes],
        credential_type: str,
        at: datetime,
        address: str,
        *,
        invitation: bytes | None = None,
    ) -> Account:
        """Add an account that nobody had, with one credential, in one transaction.

        `seal` is called with the new account's number, once, and returns the credential as it is kept; what it
        raises comes out, and nothing is added. It is called while no other writer has its turn, so that what it
        seals with and `reseal` follow each other. `at` and `address` say when and from where. With the fingerprint
        of an `invitation`, that one is used up in the same transaction: of many who use it at once, one wins.

        Raises:
            InvitationRefused: `check_invitation` does not let the name register with it; nothing is added.
            NameTaken: somebody has a name with the same key, or is getting it at this moment; the invitation stays
                unused.
        """

    async def add(self, accounts: Sequence[NewAccount], at: datetime, address: str) -> list[Account]:
        """Add many accounts, all in one transaction or none; otherwise as `register`.

        Raises:
            NameTaken: somebody has one of the names, or two of the new ones have the same key.
        """

    async def find(self, key: str) -> Account | None:
        """Return the account whose name has this key."""

    async def visited(self, account: Account, at: datetime, address: str) -> Visit | None:
        """Record a sign-in, and return the one before it with the refusals since; None at the first.

        Reading and writing are one transaction; the refusals are counted from zero again.

        Raises:
            SignInRefused: the account is gone, or in another epoch than `account` tells of; nothing is recorded.
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

    async def replace_credential(
        self,
        account_id: int,
        credential_type: str,
        seal: Callable[[int], bytes],
        *,
        must_change: bool = False,
        epoch: int | None = None,
    ) -> int | None:
        """Replace the credential of one type by one that does not expire, and begin a new epoch.

        Both are one transaction, inside which `seal` is called as by `register`; the new epoch is returned. Where
        the account is gone, or `epoch` is given and it is in another one by now, nothing is done and None is
        returned: another password was proved than it has.
        """

    async def reseal(self, renew: Callable[[int, bytes], bytes], after: int, most: int) -> int | None:
        """Seal the credentials of the next `most` accounts with a higher number than `after` again, all or none.

        `renew` gets the account's number and the sealed credential and returns it sealed anew. No epoch begins.
        Returns the highest number among them, None where there were none.
        """

    async def specimens(self, size: int) -> list[tuple[int, bytes]]:
        """Return the oldest and the newest of the sealed credentials that begin alike, each with its account.

        Two begin alike when their first `size` bytes are the same.
        """

    async def imports(self, at: datetime) -> bool:
        """Return whether there are credentials that expire, and have not yet at the time `at`."""

    async def remove(self, account_id: int) -> None:
        """Forget an account and its credentials for good; its number is never given again."""

    async def close(self) -> None:
        """Let go of everything; every other method raises `TryLater` from here on. May be called again."""
