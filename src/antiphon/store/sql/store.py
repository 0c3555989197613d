"""A store in SQL, for every engine: all contracts on the engine's databases."""

from antiphon.store.clock import StoreClock
from antiphon.store.contracts import Outbox
from antiphon.store.sql.accounts import SqlAccounts
from antiphon.store.sql.clients import SqlClients
from antiphon.store.sql.database import Database
from antiphon.store.sql.failures import SqlLoginFailures
from antiphon.store.sql.invitations import SqlInvitations
from antiphon.store.sql.owner import SqlOwner
from antiphon.store.sql.processes import SqlProcesses
from antiphon.store.sql.revocations import SqlRevocationLog
from antiphon.store.sql.sessions import SqlSessions


class SqlStore:
    """All contracts, opened and closed together."""

    def __init__(
        self,
        accounts: Database,
        sessions: Database,
        *,
        shared: bool = False,
        clock: StoreClock | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        """Keep in `accounts` what must survive everything (`ACCOUNTS_SCHEMA`), the rest in `sessions`.

        Both may be the same one. With `shared`, it is not in the data folder of its servers (`SHARED_SCHEMA`).
        Then `clock` follows the database's, again with each heartbeat.
        """
        self.now = (clock or StoreClock()).now
        self.accounts = SqlAccounts(accounts, shared=shared)
        self.clients = SqlClients(accounts)
        self.invitations = SqlInvitations(accounts)
        self.sessions = SqlSessions(sessions)
        self.revocations = SqlRevocationLog(sessions)
        self.failures = SqlLoginFailures(sessions)
        self.processes = SqlProcesses(sessions, clock, shared=shared)
        self.owner = SqlOwner(sessions) if shared else None
        self.outbox = outbox
        self.copies = [each.copy for each in (accounts, sessions) if each.copy is not None]
        self._databases = (sessions, accounts)

    async def close(self) -> None:
        """See `contracts.Store`."""
        for database in self._databases:
            await database.close()
