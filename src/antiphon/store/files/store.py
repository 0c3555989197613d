"""The store of files: people in a folder of readable files, sessions in an SQLite database in the data folder.

A server holds the folder alone, because it keeps its files in memory. Commands may work beside it.
"""

import asyncio
import os
from pathlib import Path

from filelock import FileLock, Timeout

from antiphon.errors import Problem, StoreTaken, StoreUnusable
from antiphon.files import make_folder, reported
from antiphon.language import N_
from antiphon.store.clock import StoreClock
from antiphon.store.files.accounts import ACCOUNTS_FILE, FilesAccounts
from antiphon.store.files.clients import CLIENTS_FILE, FilesClients
from antiphon.store.files.invitations import INVITATIONS_FILE, FilesInvitations
from antiphon.store.files.numbers import NUMBERS, NUMBERS_FILE, Numbers
from antiphon.store.files.revocations import FilesRevocationLog
from antiphon.store.files.rewritten import Tell
from antiphon.store.files.sheet import Sheet, WriteLock
from antiphon.store.sql.database import Database
from antiphon.store.sql.failures import SqlLoginFailures
from antiphon.store.sql.processes import SqlProcesses
from antiphon.store.sql.sessions import SqlSessions
from antiphon.store.sql.sqlite import open_sessions
from antiphon.store.thread import StoreThread

WRITE_LOCK_FILE = "write.lock"
SERVER_LOCK_FILE = "server.lock"

_GONE = Problem(
    N_("it is missing, but {beside} is there; restore it from a backup, or empty the folder to begin anew")
)


class FilesStore:
    """All contracts, opened and closed together."""

    def __init__(self, folder: Path, database: Database, held: FileLock | None, tell: Tell) -> None:
        """Keep people in `folder` and sessions in `database`; `held` is a server's lock."""
        self._folder = folder
        self._held = held
        self._database = database
        self._thread = thread = StoreThread(folder.name)
        lock = WriteLock(folder / WRITE_LOCK_FILE)
        self._numbers = Sheet(folder / NUMBERS_FILE, NUMBERS, lock)
        numbers = Numbers(self._numbers)
        self.invitations = FilesInvitations(thread, lock, folder / INVITATIONS_FILE, numbers)
        self.accounts = FilesAccounts(
            thread,
            lock,
            folder / ACCOUNTS_FILE,
            numbers,
            invitations=self.invitations,
            end_sessions=self._end_sessions,
            tell=tell,
        )
        self.clients = FilesClients(thread, lock, folder / CLIENTS_FILE)
        self.sessions = SqlSessions(database)
        self.revocations = FilesRevocationLog(database, self.accounts)
        self.failures = SqlLoginFailures(database)
        self.processes = SqlProcesses(database)
        self.owner = None
        self.outbox = None
        self.now = StoreClock().now
        self.copies = [] if database.copy is None else [database.copy]

    def make(self) -> None:
        """Make all files ready; see `Sheet.make`.

        Raises:
            StoreUnusable: the accounts are gone, and other files are there.
        """
        if not os.path.lexists(self._folder / ACCOUNTS_FILE):
            beside = [NUMBERS_FILE, CLIENTS_FILE, INVITATIONS_FILE]
            if found := [name for name in beside if os.path.lexists(self._folder / name)]:
                raise StoreUnusable(path=str(self._folder / ACCOUNTS_FILE), problem=_GONE, beside=", ".join(found))
        for each in (self.accounts, self._numbers, self.clients, self.invitations):  # the accounts are there first
            each.make()

    async def catch_up(self) -> None:
        """End the sessions that edits concern which were made while nobody read the files."""
        accounts = {overview.id: overview for overview in await self.accounts.overviews()}
        for session in await self.sessions.all():
            account = accounts.get(session.account_id)
            if session.account_id < 1:
                continue  # of no account
            if account is None:
                await self._end_sessions(session.account_id, "removed")
            elif account.disabled:
                await self._end_sessions(session.account_id, "disabled")
            elif account.name != session.name:
                await self._end_sessions(session.account_id, "renamed")

    async def close(self) -> None:
        """See `contracts.Store`. Another server can have the folder then."""
        await self._thread.close()  # first: the last edits that it reads end sessions
        await self._database.close()
        if self._held:
            self._held.release()

    async def _end_sessions(self, account_id: int, reason: str) -> None:
        # No caller passes the time of an edit.
        await self.sessions.revoke_account(account_id, reason, self.now())


async def open_files(
    folder: Path, data: Path, *, serving: bool = False, tell: Tell = lambda _: None
) -> FilesStore:
    """Open the store in `folder`, with sessions in `data`, which exists; missing files are made.

    With `serving` the folder is this server's alone. `tell` gets each name that a spreadsheet has rewritten. Call
    `close` in the end.

    Raises:
        StoreTaken: a server has the folder.
        StoreUnusable: a file cannot be read or written.
        RowInvalid: a row of a file cannot be read; nothing was changed.
        FolderUnsafe: another user can reach a file, or a symbolic link stands in its place.
        FolderUnusable: the database of the sessions cannot be used.
        TryLater: everything is there, but cannot be opened now.
    """
    await asyncio.to_thread(make_folder, folder, StoreUnusable)
    held = _held(folder) if serving else None
    try:
        store = FilesStore(folder, await open_sessions(data), held, tell)
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
    """Take a server's lock on `folder`; the system releases it however the process ends."""
    lock = FileLock(folder / SERVER_LOCK_FILE, mode=0o600, thread_local=False)
    with reported(folder / SERVER_LOCK_FILE, StoreUnusable):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StoreTaken(path=str(folder)) from None
    return lock
