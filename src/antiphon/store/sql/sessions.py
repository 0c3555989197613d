"""Sessions in SQL."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from operator import attrgetter

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from antiphon.store.contracts import SessionRecord
from antiphon.store.sql.engine import Database
from antiphon.store.sql.failures import Failures
from antiphon.store.sql.schema import SESSIONS

_COLUMNS = [field.name for field in fields(SessionRecord)]
"""A record's fields and a row's columns have the same names."""
_values = attrgetter(*_COLUMNS)

_OPEN = insert(SESSIONS)
_FIND = select(*(SESSIONS.c[name] for name in _COLUMNS)).where(SESSIONS.c.fingerprint == bindparam("sought"))
_SEEN = update(SESSIONS).where(SESSIONS.c.fingerprint == bindparam("sought")).values(seen_at=bindparam("at"))
_END = delete(SESSIONS).where(SESSIONS.c.fingerprint == bindparam("sought"))
_FORGET = delete(SESSIONS).where(SESSIONS.c.expires_at <= bindparam("at"))


class SqlSessions:
    """`contracts.Sessions` in a database."""

    def __init__(self, database: Database) -> None:
        """Keep sessions in a database that has the tables of `schema.SESSIONS_SCHEMA`."""
        self._database = database
        self._failures = Failures()

    async def open(self, record: SessionRecord) -> None:
        """See `contracts.Sessions`."""
        row = dict(zip(_COLUMNS, _values(record), strict=True))
        await self._database.execute(_OPEN, row)

    async def find(self, fingerprint: bytes) -> SessionRecord | None:
        """See `contracts.Sessions`."""

        def work(connection: Connection) -> SessionRecord | None:
            row = connection.execute(_FIND, {"sought": fingerprint}).mappings().one_or_none()
            return SessionRecord(**row) if row else None

        return await self._database.run(work)

    async def held(self, fingerprints: Sequence[bytes], at: datetime) -> None:
        """See `contracts.Sessions`."""
        rows = [{"sought": fingerprint, "at": at} for fingerprint in fingerprints]
        if rows:
            await self._database.execute(_SEEN, rows)

    async def released(self, fingerprint: bytes, at: datetime) -> None:
        """See `contracts.Sessions`."""
        await self.held([fingerprint], at)

    async def end(self, fingerprint: bytes) -> None:
        """See `contracts.Sessions`."""
        await self._database.execute(_END, {"sought": fingerprint})

    async def forget(self, expired_by: datetime) -> None:
        """See `contracts.Sessions`."""
        await self._database.execute(_FORGET, {"at": expired_by})

    async def attempt(self, name: bytes, source: bytes, at: datetime) -> float:
        """See `contracts.Sessions`."""
        return await self._database.run(lambda connection: self._failures.attempt(connection, name, source, at))

    async def succeeded(self, name: bytes, source: bytes, at: datetime) -> None:
        """See `contracts.Sessions`."""
        await self._database.run(lambda connection: self._failures.succeeded(connection, name, source, at))

    async def forgive(self, name: bytes) -> None:
        """See `contracts.Sessions`."""
        await self._database.run(lambda connection: self._failures.forgive(connection, name))

    async def close(self) -> None:
        """See `contracts.Sessions`."""
        await self._database.close()
