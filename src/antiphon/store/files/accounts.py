"""Accounts in a file, `accounts.csv`, that a person can read and edit.

An edit by hand takes effect as soon as the file is read again, and ends the sessions that it concerns.
"""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from antiphon.errors import NameTaken, SignInRefused, TryLater
from antiphon.identity.names import Name
from antiphon.store.contracts import Account, NewAccount, Overview, Resealed, Seal, Visit
from antiphon.store.files.account_rows import ACCOUNTS, AccountRow, new_row
from antiphon.store.files.edits import Edits
from antiphon.store.files.invitations import FilesInvitations
from antiphon.store.files.numbers import Numbers
from antiphon.store.files.rewritten import RewrittenNames, Tell
from antiphon.store.files.sheet import Sheet, WriteLock
from antiphon.store.thread import Result, StoreThread

ACCOUNTS_FILE = "accounts.csv"


class FilesAccounts:
    """`contracts.Accounts` in a file."""

    def __init__(
        self,
        thread: StoreThread,
        lock: WriteLock,
        path: Path,
        numbers: Numbers,
        *,
        invitations: FilesInvitations,
        end_sessions: Callable[[int, str], Awaitable[object]],
        tell: Tell,
    ) -> None:
        """Keep accounts in the file `path`.

        `end_sessions` gets the number of an edited account and the reason, `tell` each name that a spreadsheet has
        rewritten.
        """
        self._thread = thread
        self._lock = lock
        self._edits = Edits(end_sessions)
        self._rewritten = RewrittenNames(path, tell)
        self._sheet = Sheet(path, ACCOUNTS, lock, self._edited, self._rewritten.seen)
        self._numbers = numbers
        self._invitations = invitations
        self._rows: list[AccountRow] = []
        self._by_key: dict[str, AccountRow] = {}
        self._by_number: dict[int, AccountRow] = {}

    def make(self) -> None:
        """Make the file ready; see `Sheet.make`."""
        self._sheet.make()
        self._rewritten.report([], self._sheet.rows())

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
            nearest = row or next(iter(self._rows), None)  # one is built for every name (promise 5)
            account = nearest.account() if nearest else None
            return account if row else None

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

    async def set_administrator(self, account_id: int, *, administrator: bool) -> bool:
        """See `contracts.Accounts`."""
        before = await self._change(account_id, lambda row: replace(row, administrator=administrator))
        return before is not None and before.administrator != administrator

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
        seal: Seal,
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
                credential=seal(account_id, None),
                must_change=must_change,
                expires_at=None,
                old_form=None,
                epoch=row.epoch + 1,
            )

        before = await self._change(account_id, replaced)
        if before is None or epoch not in (None, before.epoch):
            return None
        return before.epoch + 1

    async def reseal(self, renew: Callable[[int, bytes], bytes], after: int, most: int) -> Resealed:
        """See `contracts.Accounts`."""

        def work() -> Resealed:
            with self._lock.held():
                self._read()
                batch = sorted(number for number in self._by_number if number > after)[:most]
                rows = [self._by_number[number] for number in batch]
                renewed = {row.number: renew(row.number, row.credential) for row in rows}
                self._write({row.number: replace(row, credential=renewed[row.number]) for row in rows})
                changed = sum(renewed[row.number] != row.credential for row in rows)
                return Resealed(max(batch, default=None), changed)

        return await self._run(work)

    async def specimens(self, size: int) -> list[tuple[int, bytes]]:
        """See `contracts.Accounts`."""
        rows = sorted(await self._run(self._sheet.rows), key=lambda row: row.number)
        oldest = {row.credential[:size]: row for row in reversed(rows)}
        newest = {row.credential[:size]: row for row in rows}
        found = {row.number: row.credential for row in (*oldest.values(), *newest.values())}
        return sorted(found.items())

    async def old_forms(self, at: datetime) -> list[str]:
        """See `contracts.Accounts`."""
        rows = await self._run(self._sheet.rows)
        return sorted({row.old_form for row in rows if row.old_form and row.expires_at and row.expires_at > at})

    async def remove(self, account_id: int) -> None:
        """See `contracts.Accounts`."""

        def work() -> None:
            with self._lock.held():
                rows = self._sheet.rows()
                self._sheet.write([row for row in rows if row.number != account_id])

        await self._run(work)

    async def look(self) -> None:
        """Read the file if it was edited by hand, and end the sessions that the edit concerns.

        Raises:
            TryLater: it cannot be read, or the sessions cannot be ended now.
        """
        await self._thread.run(self._sheet.rows)
        await self._edits.end_sessions()

    async def _run(self, work: Callable[[], Result]) -> Result:
        try:
            return await self._thread.run(work)
        finally:
            with contextlib.suppress(TryLater):  # the next look ends them
                await self._edits.end_sessions()

    # The methods below run in the store's thread.

    def _edited(self, before: list[AccountRow], now: list[AccountRow]) -> list[AccountRow]:
        """Take note of what another program has written; see `Sheet`."""
        self._rewritten.report(before, now)
        return self._edits.note(before, now)

    def _read(self) -> None:
        rows = self._sheet.rows()
        if rows is not self._rows:
            self._by_key = {row.name.key: row for row in rows}
            self._by_number = {row.number: row for row in rows}
            self._rows = rows

    def _write(self, changed: dict[int, AccountRow]) -> None:
        """Write the changed rows, if any differ; the caller has held the lock since it read."""
        rows = [changed.get(row.number, row) for row in self._rows]
        if rows != self._rows:
            self._sheet.write(rows)

    async def _change(self, account_id: int, change: Callable[[AccountRow], AccountRow]) -> AccountRow | None:
        """Change one account; return it as it was before, None if there is none."""

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
        rows = [new_row(new, number, at, address) for number, new in enumerate(accounts, first)]
        if rows:
            self._numbers.keep(ACCOUNTS_FILE, rows[-1].number)
            self._sheet.write([*self._rows, *rows])
        return [row.account() for row in rows]
