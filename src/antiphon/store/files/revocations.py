"""The revocation log beside accounts in a file: reading it also notices edits by hand."""

from antiphon.store.contracts import Revocation
from antiphon.store.files.accounts import FilesAccounts
from antiphon.store.sql.database import Database
from antiphon.store.sql.revocations import SqlRevocationLog


class FilesRevocationLog(SqlRevocationLog):
    """`contracts.RevocationLog` in a database, with the revocations that edits by hand cause."""

    def __init__(self, database: Database, accounts: FilesAccounts) -> None:
        """Read the log in `database`, and look at the file of `accounts` each time."""
        super().__init__(database)
        self._accounts = accounts

    async def entries(self, after: int) -> list[Revocation]:
        """See `contracts.RevocationLog`."""
        await self._accounts.look()
        return await super().entries(after)
