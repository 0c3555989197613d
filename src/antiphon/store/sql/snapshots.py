"""Snapshots in SQL: a column of the sessions, so that a snapshot goes when its session ends."""

from collections.abc import Mapping

from sqlalchemy import bindparam, select, update

from antiphon.store.sql.database import Connection, Database
from antiphon.store.sql.schema import SESSIONS
from antiphon.store.sql.statement import Statement

_SAVE = Statement(
    update(SESSIONS).where(SESSIONS.c.fingerprint == bindparam("sought")).values(kept=bindparam("data"))
)
_SAVED = Statement(
    select(SESSIONS.c.kept).where(SESSIONS.c.fingerprint == bindparam("sought"), SESSIONS.c.kept.is_not(None))
)


class SqlSnapshots:
    """`contracts.Snapshots` in a database."""

    def __init__(self, database: Database) -> None:
        """Keep snapshots in a database that has the tables of `schema.SESSIONS_SCHEMA`."""
        self._database = database

    async def save(self, snapshots: Mapping[bytes, bytes]) -> None:
        """See `contracts.Snapshots`."""
        rows = [{"sought": fingerprint, "data": data} for fingerprint, data in snapshots.items()]
        if rows:
            await self._database.run(lambda connection: _SAVE.change_each(connection, rows))

    async def take(self, fingerprint: bytes) -> bytes | None:
        """See `contracts.Snapshots`."""

        def work(connection: Connection) -> bytes | None:
            data: bytes | None = _SAVED.value(connection, sought=fingerprint)
            return data if data is not None and _SAVE.change(connection, sought=fingerprint, data=None) else None

        return await self._database.run(work)
