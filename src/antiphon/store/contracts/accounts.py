"""Contract of the accounts store: accounts with their credentials, and the records that it gives.

A store reads no clock: the caller passes times, which have a time zone, and decides what has expired.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from antiphon.identity.names import Name

Seal = Callable[[int, str | None], bytes]
"""Returns a credential as it is kept: sealed for the account with the number, by the key with the mark. The mark
is `Owned.sealing`; None for a store that has no owner."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """A registered account."""

    id: int
    """at least 1, never given again; credentials are sealed with it as associated data"""
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
    """whether a new password must be chosen before anything else"""
    expires_at: datetime | None = None
    """when the credential expires, if ever: an imported one does"""
    administrator: bool = False
    """whether it may use the status page"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """An account as operators see it, without its credential."""

    id: int
    name: str
    """as typed at registration, or at the last renaming"""
    key: str
    """the name, case-mapped"""
    disabled: bool
    registered_at: datetime
    registered_from: str
    visited_at: datetime | None
    visited_from: str | None
    refusals: int
    """sign-ins refused since the last visit, as earlier versions counted them; `LoginFailures` has the others"""
    must_change: bool = False
    """whether a new password must be chosen at the next sign-in"""
    expires_at: datetime | None = None
    """when the credential expires, if ever"""
    administrator: bool = False
    """whether it may use the status page"""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewAccount:
    """An account to be added."""

    name: Name
    seal: Seal = field(repr=False)
    """called as `Accounts` says of callbacks"""
    credential_type: str
    must_change: bool = False
    expires_at: datetime | None = None
    old_form: str | None = None
    """what an old system has made of the password, as `identity.old_forms` names it; None: the password itself"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """An earlier sign-in of an account."""

    at: datetime
    address: str
    refusals: int
    """sign-ins refused since then; from a store, only what earlier versions counted"""


class Resealed(NamedTuple):
    """Result of one call of `Accounts.reseal`."""

    last: int | None
    """highest number of the accounts that were looked at; None if there were none"""
    changed: int
    """how many credentials were replaced by another"""


class Accounts(Protocol):
    """Accounts and their credentials. What a method has done survives a crash once it has returned.

    Callbacks (`seal`, `renew`) are called inside a transaction, in another thread. A store may try a transaction
    again, and then calls them again: they must have no effects but their result. What they raise comes out of the
    method, and nothing is changed.

    Every method raises `TryLater` when the store cannot do its work.
    """

    async def register(
        self,
        name: Name,
        seal: Seal,
        credential_type: str,
        at: datetime,
        address: str,
        *,
        invitation: bytes | None = None,
    ) -> Account:
        """Add an account with a new name and one credential, in one transaction.

        No `reseal` runs between the call of `seal` and the commit, so that what it has sealed with an older key is
        sealed again. `at` and `address`
        say when and from where the account registered. With the fingerprint of an `invitation`, the same
        transaction uses it up: of many who use one at once, one wins.

        Raises:
            InvitationRefused: `check_invitation` does not let the name register with it; nothing is added.
            NameTaken: an account has a name with the same key, or is getting it at this moment; the invitation
                stays unused.
        """

    async def add(self, accounts: Sequence[NewAccount], at: datetime, address: str) -> list[Account]:
        """Add many accounts, all in one transaction or none; otherwise as `register`.

        Raises:
            NameTaken: an account has one of the names, or two of the new ones have the same key.
        """

    async def find(self, key: str) -> Account | None:
        """Return the account whose name has this key. It takes the same work if there is none (promise 5)."""

    async def visited(self, account: Account, at: datetime, address: str) -> Visit | None:
        """Record a sign-in; return the one before it, None at the first.

        Reading and writing are one transaction, which also sets the count of refusals to zero.

        Raises:
            SignInRefused: the account is gone, or in another epoch than `account` has; nothing is recorded.
        """

    async def overviews(self) -> list[Overview]:
        """Return all accounts, by the keys of their names."""

    async def set_disabled(self, account_id: int, *, disabled: bool) -> bool:
        """Disable or enable an account; return whether that was a change, which begins a new epoch."""

    async def set_administrator(self, account_id: int, *, administrator: bool) -> bool:
        """Give an account the administrator's mark, or take it away; return whether that was a change.

        No epoch begins: sessions of clients have nothing to do with it.
        """

    async def rename(self, account_id: int, name: Name) -> None:
        """Change the name of an account, and begin a new epoch, because sessions carry the name.

        Raises:
            NameTaken: another account has a name with the same key.
        """

    async def replace_credential(
        self,
        account_id: int,
        credential_type: str,
        seal: Seal,
        *,
        must_change: bool = False,
        epoch: int | None = None,
    ) -> int | None:
        """Replace the credential of one type by one that does not expire, and begin a new epoch; return the epoch.

        Both are one transaction, inside which `seal` is called as by `register`. If the account is gone, or is in
        another epoch than the given one, nothing is changed and None is returned: the password that was proved is
        no longer the account's.
        """

    async def reseal(self, renew: Callable[[int, bytes], bytes], after: int, most: int) -> Resealed:
        """Seal again the credentials of the next `most` accounts with a higher number than `after`, all or none.

        `renew` gets the account's number and the sealed credential and returns it as it shall be kept. Nobody
        else seals meanwhile, and whoever has sealed before has committed. No epoch begins.
        """

    async def specimens(self, size: int) -> list[tuple[int, bytes]]:
        """Return the oldest and the newest of the sealed credentials with the same first `size` bytes.

        Each comes with the number of its account.
        """

    async def old_forms(self, at: datetime) -> list[str]:
        """Return the old forms of the credentials that expire after the time `at`: each once, sorted."""

    async def remove(self, account_id: int) -> None:
        """Delete an account and its credentials; its number is never given again."""
