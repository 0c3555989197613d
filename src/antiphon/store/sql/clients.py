"""Clients by address in SQL.

A transaction that reads before it writes locks the clients of the address first.
"""

from datetime import datetime

from sqlalchemy import Integer, bindparam, delete, insert, select, update

from antiphon.identity.names import Name
from antiphon.store.contracts import Client
from antiphon.store.sql.database import Connection, Database, Lock
from antiphon.store.sql.schema import CLIENTS
from antiphon.store.sql.statement import Statement

_ALL = Statement(select(CLIENTS).order_by(CLIENTS.c.address, CLIENTS.c.key))
_AT = Statement(
    select(CLIENTS)
    .where(CLIENTS.c.address == bindparam("place"))
    .order_by(CLIENTS.c.visited_at.desc(), CLIENTS.c.key)
)
_ONE = (CLIENTS.c.address == bindparam("place")) & (CLIENTS.c.key == bindparam("sought"))
_TOUCH = Statement(update(CLIENTS).where(_ONE).values(display=CLIENTS.c.display).returning(CLIENTS.c.visited_at))
_VISIT = Statement(update(CLIENTS).where(_ONE).values(visited_at=bindparam("at")))
_ADD = Statement(insert(CLIENTS), "address", "key", "display", "first_at", "visited_at")
_TRIM = Statement(
    delete(CLIENTS).where(
        CLIENTS.c.address == bindparam("place"),
        CLIENTS.c.key.in_(
            select(CLIENTS.c.key)
            .where(CLIENTS.c.address == bindparam("place"), CLIENTS.c.key != bindparam("sought"))
            .order_by(CLIENTS.c.visited_at.desc())
            .offset(bindparam("others", type_=Integer))
        ),
    )
)
_TAKE_OUT = Statement(delete(CLIENTS).where(_ONE).returning(CLIENTS.c.first_at, CLIENTS.c.visited_at))


class SqlClients:
    """`contracts.Clients` in a database."""

    def __init__(self, database: Database) -> None:
        """Keep clients in a database that has the tables of `schema.ACCOUNTS_SCHEMA`."""
        self._database = database

    async def at(self, address: str) -> list[Client]:
        """See `contracts.Clients`."""
        rows = await self._database.run(lambda connection: _AT.rows(connection, place=address))
        return [Client(**row) for row in rows]

    async def visited(self, address: str, name: Name, at: datetime, most: int) -> datetime | None:
        """See `contracts.Clients`."""
        which = {"place": address, "sought": name.key}

        def work(connection: Connection) -> datetime | None:
            connection.lock(Lock.CLIENTS, address)
            before: datetime | None = _TOUCH.value(connection, **which)
            if before is not None:
                _VISIT.change(connection, **which, at=at)
                return before
            _add(connection, address, name, at, at)
            _TRIM.change(connection, **which, others=most - 1)
            return None

        return await self._database.run(work)

    async def renamed(self, address: str, key: str, name: Name, at: datetime) -> None:
        """See `contracts.Clients`."""

        def work(connection: Connection) -> None:
            connection.lock(Lock.CLIENTS, address)
            taken = [
                row
                for sought in {key, name.key}
                for row in _TAKE_OUT.rows(connection, place=address, sought=sought)
            ]
            first_at = min((row["first_at"] for row in taken), default=at)
            visited_at = max((row["visited_at"] for row in taken), default=at)
            _add(connection, address, name, first_at, visited_at)

        await self._database.run(work)

    async def forget(self, address: str, key: str) -> bool:
        """See `contracts.Clients`."""
        return await self._database.run(
            lambda connection: bool(_TAKE_OUT.rows(connection, place=address, sought=key))
        )

    async def all(self) -> list[Client]:
        """See `contracts.Clients`."""
        return [Client(**row) for row in await self._database.run(_ALL.rows)]


def _add(connection: Connection, address: str, name: Name, first_at: datetime, visited_at: datetime) -> None:
    _ADD.change(
        connection,
        address=address,
        key=name.key,
        display=name.display,
        first_at=first_at,
        visited_at=visited_at,
    )
