"""Accounts in a file, `accounts.csv`, that a person can read and edit.

What was edited by hand counts as soon as it is seen, and ends the sessions that it concerns.
"""

import contextlib
import secrets
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from antiphon.errors import NameTaken, SignInRefused, TryLater
from antiphon.identity.names import Name
from antiphon.store.contracts import Account, NewAccount, Overview, Visit
from antiphon.store.files.invitations import FilesInvitations
from antiphon.store.files.layout import (
    BYTES,
    FLAG,
    MOMENT,
    MOMENT_OR_NONE,
    NAME,
    NUMBER,
    TEXT,
    TEXT_OR_NONE,
    Layout,
)
from antiphon.store.files.numbers import Numbers
from antiphon.store.files.sheet import Sheet, WriteLock
from antiphon.store.files.worker import Part, Worker

ACCOUNTS_FILE = "accounts.csv"

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountRow:
    """A line of the file."""

    name: Name
    number: int
    disabled: bool = False
    must_change: bool
    expires_at: datetime | None
    registered_at: datetime
    registered_from: str
    visited_at: datetime | None = None
    visited_from: str | None = None
    refusals: int = 0
    epoch: int
    credential_type: str
    credential: bytes = field(repr=False)

    def account(self) -> Account:
        """Return the account as the contract gives it."""
        return Account(
            id=self.number,
            display=self.name.display,
            key=self.name.key,
            disabled=self.disabled,
            epoch=self.epoch,
            credential_type=self.credential_type,
            credential=self.credential,
            must_change=self.must_change,
            expires_at=self.expires_at,
        )

    def overview(self) -> Overview:
        """Return what an operator sees of it."""
        return Overview(
            id=self.number,
            name=self.name.display,
            disabled=self.disabled,
            registered_at=self.registered_at,
            registered_from=self.registered_from,
            visited_at=self.visited_at,
            visited_from=self.visited_from,
            refusals=self.refusals,
            must_change=self.must_change,
            expires_at=self.expires_at,
        )


ACCOUNTS = Layout(
    row=AccountRow,
    columns={
        "name": NAME,
        "number": NUMBER,
        "disabled": FLAG,
        "must_change": FLAG,
        "expires_at": MOMENT_OR_NONE,
        "registered_at": MOMENT,
        "registered_from": TEXT,
        "visited_at": MOMENT_OR_NONE,
        "visited_from": TEXT_OR_NONE,
        "refusals": NUMBER,
        "epoch": NUMBER,
        "credential_type": TEXT,
        "credential": BYTES,
    },
    unique={"name": lambda row: row.name.key, "number": lambda row: row.number},
)


class FilesAccounts(Part):
    """`contracts.Accounts` in a file."""

    def __init__(
        self,
        worker: Worker,
        lock: WriteLock,
        path: Path,
        numbers: Numbers,
        *,
        invitations: FilesInvitations,
        end_sessions: Callable[[int, str], Awaitable[object]],
    ) -> None:
        """Keep accounts in the file `path`; `end_sessions` is told the number of an account, and why."""
        super().__init__(worker)
        self._lock = lock
        self._sheet = Sheet(path, ACCOUNTS, lock, self._edited)
        self._numbers = numbers
        self._invitations = invitations
        self._end_sessions = end_sessions
        self._refused: deque[int] = deque()
        """Accounts with a refusal that is not written yet."""
        self._over: dict[int, str] = {}
        """Accounts that were edited by hand, and why their sessions are over."""
        self._rows: list[AccountRow] = []
        self._by_key: dict[str, AccountRow] = {}
        self._by_number: dict[int, AccountRow] = {}

    def make(self) -> None:
        """Make the file ready, as `Sheet.make` does."""
        self._sheet.make()

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
        """See `contracts.Accounts`."""
        new = NewAccount(name=name, seal=seal, credential_type=credential_type)

        def work() -> Account:
            with self._lock.held():
                if invitation is not None:
                    self._invitations.check(invitation, name, at)
                (account,) = self._add([new], at, address)
                if invitation is not None:
                    self._invitations.use_up(invitation, at, address)
                return account

        return await self._run(work)

    async def add(self, accounts: Sequence[NewAccount], at: datetime, address: str) -> list[Account]:
        """See `contracts.Accounts`."""

        def work() -> list[Account]:
            with self._lock.held():
                return self._add(accounts, at, address)

        return await self._run(work)

    async def find(self, key: str) -> Account | None:
        """See `contracts.Accounts`."""

        def work() -> Account | None:
            self._read()
            row = self._by_key.get(key)
            return row.account() if row else None

        return await self._run(work)

    async def visited(self, account: Account, at: datetime, address: str) -> Visit | None:
        """See `contracts.Accounts`."""

        def visited(row: AccountRow) -> AccountRow:
            if row.epoch != account.epoch:
                raise SignInRefused
            return replace(row, visited_at=at, visited_from=address, refusals=0)

        before = await self._change(account.id, visited)
        if before is None:
            raise SignInRefused
        if before.visited_at is None or before.visited_from is None:
            return None
        return Visit(at=before.visited_at, address=before.visited_from, refusals=before.refusals)

    async def refused(self, account_id: int) -> None:
        """See `contracts.Accounts`; those that come while the file is being written are written together."""
        self._refused.append(account_id)
        await self._run(self._count_refusals)

    async def overviews(self) -> list[Overview]:
        """See `contracts.Accounts`."""
        rows = await self._run(self._sheet.rows)
        return [row.overview() for row in sorted(rows, key=lambda row: row.name.key)]

    async def set_disabled(self, account_id: int, *, disabled: bool) -> bool:
        """See `contracts.Accounts`."""
        before = await self._change(
            account_id,
            lambda row: row if row.disabled == disabled else replace(row, disabled=disabled, epoch=row.epoch + 1),
        )
        return before is not None and before.disabled != disabled

    async def rename(self, account_id: int, name: Name) -> None:
        """See `contracts.Accounts`."""

        def renamed(row: AccountRow) -> AccountRow:
            if self._by_key.get(name.key, row) is not row:
                raise NameTaken(name=name.display)
            return replace(row, name=name, epoch=row.epoch + 1)

        await self._change(account_id, renamed)

    async def replace_credential(
        self,
        account_id: int,
        credential_type: str,
        seal: Callable[[int], bytes],
        *,
        must_change: bool = False,
        epoch: int | None = None,
    ) -> int | None:
        """See `contracts.Accounts`."""

        def replaced(row: AccountRow) -> AccountRow:
            if epoch not in (None, row.epoch):
                return row
            return replace(
                row,
                credential_type=credential_type,
                credential=seal(account_id),
                must_change=must_change,
                expires_at=None,
                epoch=row.epoch + 1,
            )

        before = await self._change(account_id, replaced)
        if before is None or epoch not in (None, before.epoch):
            return None
        return before.epoch + 1

    async def reseal(self, renew: Callable[[int, bytes], bytes], after: int, most: int) -> int | None:
        """See `contracts.Accounts`."""

        def work() -> int | None:
            with self._lock.held():
                self._read()
                batch = sorted(number for number in self._by_number if number > after)[:most]
                rows = [self._by_number[number] for number in batch]
                self._write(
                    {row.number: replace(row, credential=renew(row.number, row.credential)) for row in rows}
                )
                return max(batch, default=None)

        return await self._run(work)

    async def specimens(self, size: int) -> list[tuple[int, bytes]]:
        """See `contracts.Accounts`."""
        rows = sorted(await self._run(self._sheet.rows), key=lambda row: row.number)
        oldest = {row.credential[:size]: row for row in reversed(rows)}
        newest = {row.credential[:size]: row for row in rows}
        found = {row.number: row.credential for row in (*oldest.values(), *newest.values())}
        return sorted(found.items())

    async def imports(self, at: datetime) -> bool:
        """See `contracts.Accounts`."""
        rows = await self._run(self._sheet.rows)
        return any(row.expires_at is not None and row.expires_at > at for row in rows)

    async def remove(self, account_id: int) -> None:
        """See `contracts.Accounts`."""

        def work() -> None:
            with self._lock.held():
                rows = self._sheet.rows()
                self._sheet.write([row for row in rows if row.number != account_id])

        await self._run(work)

    async def look(self) -> None:
        """See whether the file was edited by hand, and end the sessions that are over by that.

        Raises:
            TryLater: it cannot be read, or the sessions cannot be ended now.
        """
        await super()._run(self._sheet.rows)
        await self._end_edited()

    async def _run(self, work: Callable[[], Result]) -> Result:
        try:
            return await super()._run(work)
        finally:
            with contextlib.suppress(TryLater):  # the next look ends them
                await self._end_edited()

    async def _end_edited(self) -> None:
        while self._over:
            number, reason = self._over.popitem()
            try:
                await self._end_sessions(number, reason)
            except BaseException:
                self._over.setdefault(number, reason)
                raise

    # What follows runs in the worker's thread.

    def _read(self) -> None:
        rows = self._sheet.rows()
        if rows is not self._rows:
            self._by_key = {row.name.key: row for row in rows}
            self._by_number = {row.number: row for row in rows}
            self._rows = rows

    def _write(self, changed: dict[int, AccountRow]) -> None:
        """Write the rows that differ from what is there, if any; the caller holds the lock since it has read."""
        rows = [changed.get(row.number, row) for row in self._rows]
        if rows != self._rows:
            self._sheet.write(rows)

    async def _change(self, account_id: int, change: Callable[[AccountRow], AccountRow]) -> AccountRow | None:
        """Change one account, and return what it was before; None where there is none."""

        def work() -> AccountRow | None:
            with self._lock.held():
                self._read()
                row = self._by_number.get(account_id)
                if row is not None:
                    self._write({account_id: change(row)})
                return row

        return await self._run(work)

    def _add(self, accounts: Sequence[NewAccount], at: datetime, address: str) -> list[Account]:
        self._read()
        taken = set(self._by_key)
        for new in accounts:
            if new.name.key in taken:
                raise NameTaken(name=new.name.display)
            taken.add(new.name.key)
        first = self._numbers.highest(ACCOUNTS_FILE, self._by_number) + 1
        rows = [_row(new, number, at, address) for number, new in enumerate(accounts, first)]
        if rows:
            self._numbers.keep(ACCOUNTS_FILE, rows[-1].number)
            self._sheet.write([*self._rows, *rows])
        return [row.account() for row in rows]

    def _count_refusals(self) -> None:
        taken: Counter[int] = Counter()
        with self._lock.held():
            self._read()
            while self._refused:
                taken[self._refused.popleft()] += 1
            try:
                rows = [row for number in taken if (row := self._by_number.get(number))]
                self._write({row.number: replace(row, refusals=row.refusals + taken[row.number]) for row in rows})
            except BaseException:
                self._refused.extend(taken.elements())  # to be counted with the next
                raise

    def _edited(self, before: list[AccountRow], now: list[AccountRow]) -> list[AccountRow]:
        """Begin a new epoch for each account whose sessions are over by what was edited, and note them.

        Where the epoch is another already, a command did it, which ends the sessions itself.
        """
        numbers = {row.number for row in now}
        self._over |= {row.number: "removed" for row in before if row.number not in numbers}
        known = {row.number: row for row in before}
        return [self._judged(known.get(row.number), row) for row in now]

    def _judged(self, was: AccountRow | None, row: AccountRow) -> AccountRow:
        reason = _over(was, row) if was and was.epoch == row.epoch else None
        if reason is None:
            return row
        self._over[row.number] = reason
        return replace(row, epoch=row.epoch + 1)


def _row(new: NewAccount, number: int, at: datetime, address: str) -> AccountRow:
    return AccountRow(
        name=new.name,
        number=number,
        must_change=new.must_change,
        expires_at=new.expires_at,
        registered_at=at,
        registered_from=address,
        # Anywhere, so that no session fits that was opened for another account with this number: of SQLite's
        # in the same data folder, or of a file that was thrown away.
        epoch=secrets.randbelow(2**31),
        credential_type=new.credential_type,
        credential=new.seal(number),
    )


def _over(was: AccountRow, row: AccountRow) -> str | None:
    """Return why the sessions of an account are over, None where they are not."""
    if row.disabled and not was.disabled:
        return "disabled"
    if row.name != was.name:
        return "renamed"
    return "password" if row.credential != was.credential else None
