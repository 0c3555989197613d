"""Clients by address in SQL."""

from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from antiphon.identity.names import Name
from antiphon.store.contracts import Client
from antiphon.store.sql.engine import Database
from antiphon.store.sql.schema import CLIENTS

# The first statement of each transaction that changes something writes, so that it has the database to itself
# before it reads.

_ALL = select(CLIENTS).order_by(CLIENTS.c.address, CLIENTS.c.key)
_AT = (
    select(CLIENTS)
    .where(CLIENTS.c.address == bindparam("place"))
    .order_by(CLIENTS.c.visited_at.desc(), CLIENTS.c.key)
)
_ONE = (CLIENTS.c.address == bindparam("place")) & (CLIENTS.c.key == bindparam("sought"))
_TOUCH = update(CLIENTS).where(_ONE).values(display=CLIENTS.c.display).returning(CLIENTS.c.visited_at)
_VISIT = update(CLIENTS).where(_ONE).values(visited_at=bindparam("at"))
_ADD = insert(CLIENTS)
_MAKE_WAY = delete(CLIENTS).where(
    CLIENTS.c.address == bindparam("place"),
    CLIENTS.c.key.in_(
        select(CLIENTS.c.key)
        .where(CLIENTS.c.address == bindparam("place"), CLIENTS.c.key != bindparam("sought"))
        .order_by(CLIENTS.c.visited_at.desc())
        .offset(bindparam("others"))
    ),
)
_TAKE_OUT = delete(CLIENTS).where(_ONE).returning(CLIENTS.c.first_at, CLIENTS.c.visited_at)


class SqlClients:
    """`contracts.Clients` in a database."""

    def __init__(self, database: Database) -> None:
        """Keep clients in a database that has the tables of `schema.ACCOUNTS_SCHEMA`."""
        self._database = database

    async def at(self, address: str) -> list[Client]:
        """See `contracts.Clients`."""
        return await self._database.run(
            lambda connection: [Client(**row) for row in connection.execute(_AT, {"place": address}).mappings()]
        )

    async def visited(self, address: str, name: Name, at: datetime, most: int) -> datetime | None:
        """See `contracts.Clients`."""
        which = {"place": address, "sought": name.key}

        def work(connection: Connection) -> datetime | None:
            before: datetime | None = connection.scalar(_TOUCH, which)
            if before is not None:
                connection.execute(_VISIT, which | {"at": at})
                return before
            _add(connection, address, name, at, at)
            connection.execute(_MAKE_WAY, which | {"others": most - 1})
            return None

        return await self._database.run(work)

    async def renamed(self, address: str, key: str, name: Name, at: datetime) -> None:
        """See `contracts.Clients`."""

        def work(connection: Connection) -> None:
            taken = [
                row
                for sought in {key, name.key}
                for row in connection.execute(_TAKE_OUT, {"place": address, "sought": sought})
            ]
            first_at = min((row.first_at for row in taken), default=at)
            visited_at = max((row.visited_at for row in taken), default=at)
            _add(connection, address, name, first_at, visited_at)

        await self._database.run(work)

    async def forget(self, address: str, key: str) -> bool:
        """See `contracts.Clients`."""
        which = {"place": address, "sought": key}
        return await self._database.run(
            lambda connection: connection.execute(_TAKE_OUT, which).first() is not None
        )

    async def all(self) -> list[Client]:
        """See `contracts.Clients`."""
        return await self._database.run(
            lambda connection: [Client(**row) for row in connection.execute(_ALL).mappings()]
        )

    async def close(self) -> None:
        """See `contracts.Clients`."""
        await self._database.close()


def _add(connection: Connection, address: str, name: Name, first_at: datetime, visited_at: datetime) -> None:
    row = {
        "address": address,
        "key": name.key,
        "display": name.display,
        "first_at": first_at,
        "visited_at": visited_at,
    }
    connection.execute(_ADD, row)
