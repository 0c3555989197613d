"""The store of files: a folder for what a person may read, SQLite in the data folder for sessions.

A server holds the folder for itself, because each reads its files into memory; commands work beside it.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from antiphon.errors import StoreTaken, StoreUnusable
from antiphon.files import make_folder, reported
from antiphon.store.contracts import Revocation, Sessions
from antiphon.store.files.accounts import ACCOUNTS_FILE, FilesAccounts
from antiphon.store.files.clients import CLIENTS_FILE, FilesClients
from antiphon.store.files.invitations import INVITATIONS_FILE, FilesInvitations
from antiphon.store.files.numbers import NUMBERS, NUMBERS_FILE, Numbers
from antiphon.store.files.sheet import Sheet, WriteLock
from antiphon.store.files.worker import Worker
from antiphon.store.sql.engine import Database
from antiphon.store.sql.prepare import prepare
from antiphon.store.sql.schema import SESSIONS_SCHEMA
from antiphon.store.sql.sessions import SqlSessions
from antiphon.store.sql.sqlite import SESSIONS_FILE

WRITE_LOCK_FILE = "write.lock"
SERVER_LOCK_FILE = "server.lock"


class FollowedSessions(SqlSessions):
    """Sessions whose log of revocations also tells what was edited by hand."""

    def __init__(self, database: Database, accounts: FilesAccounts) -> None:
        """Keep sessions in `database`, and look at the file of `accounts` whenever somebody follows the log."""
        super().__init__(database)
        self._accounts = accounts

    async def revocations(self, after: int) -> list[Revocation]:
        """See `contracts.Sessions`."""
        await self._accounts.look()
        return await super().revocations(after)


class FilesStore:
    """All contracts, opened and closed together."""

    def __init__(self, folder: Path, database: Database, held: FileLock | None) -> None:
        """Keep people in `folder` and sessions in `database`; `held` is a server's lock."""
        self._held = held
        self._worker = worker = Worker()
        lock = WriteLock(folder / WRITE_LOCK_FILE)
        self._numbers = Sheet(folder / NUMBERS_FILE, NUMBERS, lock)
        numbers = Numbers(self._numbers)
        self._revoking = SqlSessions(database)
        self.invitations = FilesInvitations(worker, lock, folder / INVITATIONS_FILE, numbers)
        self.accounts = FilesAccounts(
            worker,
            lock,
            folder / ACCOUNTS_FILE,
            numbers,
            invitations=self.invitations,
            end_sessions=self._end_sessions,
        )
        self.clients = FilesClients(worker, lock, folder / CLIENTS_FILE)
        self.sessions: Sessions = FollowedSessions(database, self.accounts)

    def make(self) -> None:
        """Make all files ready, as `Sheet.make` does."""
        for each in (self._numbers, self.accounts, self.clients, self.invitations):
            each.make()

    async def catch_up(self) -> None:
        """End the sessions that are over by what was edited while nobody looked."""
        accounts = {overview.id: overview for overview in await self.accounts.overviews()}
        for session in await self.sessions.all():
            account = accounts.get(session.account_id)
            if session.account_id < 1:
                continue  # no account's
            if account is None:
                await self._end_sessions(session.account_id, "removed")
            elif account.disabled:
                await self._end_sessions(session.account_id, "disabled")
            elif account.name != session.name:
                await self._end_sessions(session.account_id, "renamed")

    async def close(self) -> None:
        """Close everything; the next server may have the folder."""
        for part in (self.accounts, self.clients, self.invitations):
            await part.close()
        await self.sessions.close()
        await self._worker.rest()
        if self._held:
            self._held.release()

    async def _end_sessions(self, account_id: int, reason: str) -> None:
        # The one place where a store looks at a clock: nobody passes the time in when a file has changed.
        await self._revoking.revoke_account(account_id, reason, datetime.now(UTC))


async def open_files(folder: Path, data: Path, *, serving: bool = False) -> FilesStore:
    """Return the store in `folder`, with sessions in `data`, which exists; what is not there is made.

    With `serving` no other server may have the folder. Call `close` in the end.

    Raises:
        StoreTaken: a server has the folder.
        StoreUnusable: a file cannot be read or written.
        RowInvalid: a line of a file cannot be read; nothing was changed.
        FolderUnsafe: somebody else can reach a file, or has put a link in its place.
        FolderUnusable: the same of the sessions.
        TryLater: it is all there, but cannot be opened now.
    """
    await asyncio.to_thread(make_folder, folder, StoreUnusable)
    held = _held(folder) if serving else None
    try:
        await asyncio.to_thread(prepare, data / SESSIONS_FILE, SESSIONS_SCHEMA)
        store = FilesStore(folder, await Database.open(data / SESSIONS_FILE, "NORMAL"), held)
    except BaseException:
        if held:
            held.release()
        raise
    try:
        await asyncio.to_thread(store.make)
        await store.catch_up()
    except BaseException:
        await store.close()
        raise
    return store


def _held(folder: Path) -> FileLock:
    """Return a server's lock on `folder`; the system lets go of it whatever becomes of the process."""
    lock = FileLock(folder / SERVER_LOCK_FILE, mode=0o600, thread_local=False)
    with reported(folder / SERVER_LOCK_FILE, StoreUnusable):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StoreTaken(path=str(folder)) from None
    return lock
