"""The revocation log in SQL."""

from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select

from antiphon.store.contracts import REVOCATIONS_KEPT, Revocation
from antiphon.store.sql.database import POLLS, REVOCATIONS_CHANNEL, Connection, Database, Lock
from antiphon.store.sql.schema import REVOCATIONS
from antiphon.store.sql.statement import Statement

_REVOKE = Statement(insert(REVOCATIONS), "fingerprint", "account_id", "owner", "reason", "at")
_ENTRIES = Statement(
    select(*(REVOCATIONS.c[field.name] for field in fields(Revocation)))
    .where(REVOCATIONS.c.id > bindparam("after"))
    .order_by(REVOCATIONS.c.id)
)
NEWEST = select(func.coalesce(func.max(REVOCATIONS.c.id), 0))
"""The position of the log, for other statements too."""
_POSITION = Statement(NEWEST)
_TRIM = Statement(delete(REVOCATIONS).where(REVOCATIONS.c.at <= bindparam("before")))


# For the transactions that end sessions: each takes the connection of a transaction.


def log_revoked(
    connection: Connection, fingerprint: bytes, reason: str, at: datetime, *, owner: str | None = None
) -> None:
    """Write that one session is over; for everybody, or for all but the process `owner`, which took it over."""
    _log(connection, fingerprint=fingerprint, account_id=None, owner=owner, reason=reason, at=at)


def log_account_revoked(connection: Connection, account_id: int, reason: str, at: datetime) -> None:
    """Write that all sessions of an account are over."""
    _log(connection, fingerprint=None, account_id=account_id, owner=None, reason=reason, at=at)


def _log(connection: Connection, **entry: Any) -> None:
    # Held until the commit: whoever has read a number has read all lower ones.
    connection.lock(Lock.REVOCATIONS)
    _REVOKE.change(connection, **entry)
    connection.notify(REVOCATIONS_CHANNEL)


def position(connection: Connection) -> int:
    """Return the number of the newest revocation, 0 if there was none."""
    return int(_POSITION.value(connection))


class SqlRevocationLog:
    """`contracts.RevocationLog` in a database."""

    def __init__(self, database: Database) -> None:
        """Read the log in a database that has the tables of `schema.SESSIONS_SCHEMA`."""
        self._database = database

    async def entries(self, after: int) -> list[Revocation]:
        """See `contracts.RevocationLog`."""
        rows = await self._database.run(lambda connection: _ENTRIES.rows(connection, after=after), POLLS)
        return [Revocation(**row) for row in rows]

    async def listen(self, heard: Callable[[], object]) -> None:
        """See `contracts.RevocationLog`."""
        await self._database.listen(REVOCATIONS_CHANNEL, heard)

    async def position(self) -> int:
        """See `contracts.RevocationLog`."""
        return await self._database.run(position)

    async def trim(self, at: datetime) -> None:
        """See `contracts.RevocationLog`."""
        await self._database.run(lambda connection: _TRIM.change(connection, before=at - REVOCATIONS_KEPT))
