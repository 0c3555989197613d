"""The default store: two SQLite files in the data folder."""

import asyncio
from pathlib import Path

from antiphon.store.sql.accounts import SqlAccounts
from antiphon.store.sql.clients import SqlClients
from antiphon.store.sql.engine import Database
from antiphon.store.sql.invitations import SqlInvitations
from antiphon.store.sql.prepare import prepare
from antiphon.store.sql.schema import ACCOUNTS_SCHEMA, SESSIONS_SCHEMA
from antiphon.store.sql.sessions import SqlSessions

ACCOUNTS_FILE = "accounts.db"
SESSIONS_FILE = "sessions.db"


class SqlStore:
    """Two databases as the contracts that stand on them, opened and closed together."""

    def __init__(self, durable: Database, sessions: Database) -> None:
        """Hand out the contracts: what must outlive anything is in `durable`."""
        self.accounts = SqlAccounts(durable)
        self.clients = SqlClients(durable)
        self.invitations = SqlInvitations(durable)
        self.sessions = SqlSessions(sessions)

    async def close(self) -> None:
        """Close all; the thread of each database ends."""
        await self.sessions.close()
        await self.clients.close()
        await self.invitations.close()
        await self.accounts.close()


async def open_sqlite(folder: Path) -> SqlStore:
    """Return the store in `folder`, which exists; its files are made if they are not there.

    Call `close` in the end. Several servers may share one folder.

    Raises:
        FolderUnsafe: somebody else can reach a file, or has put a link in its place.
        FolderUnusable: a file is no database of ours, damaged, of a newer version, or cannot be written.
        TryLater: it is all there, but cannot be opened now.
    """
    accounts, sessions = folder / ACCOUNTS_FILE, folder / SESSIONS_FILE
    await asyncio.to_thread(prepare, accounts, ACCOUNTS_SCHEMA)
    await asyncio.to_thread(prepare, sessions, SESSIONS_SCHEMA)
    # Accounts outlive anything; a session that is lost costs its person one more sign-in.
    durable = await Database.open(accounts, "FULL")
    try:
        return SqlStore(durable, await Database.open(sessions, "NORMAL"))
    except BaseException:
        await durable.close()
        raise
