"""The owner of a database in SQL."""

from sqlalchemy import bindparam, select, update

from antiphon.store.contracts import Owned
from antiphon.store.sql.database import Connection, Database
from antiphon.store.sql.processes import ALIVE
from antiphon.store.sql.schema import ANTIPHON
from antiphon.store.sql.statement import Statement

_noted = select(ANTIPHON.c.ring, ANTIPHON.c.place)
_NOTED = Statement(_noted)
_TAKE = Statement(_noted.with_for_update())
_NOTE = Statement(update(ANTIPHON).values(ring=bindparam("its_ring"), place=bindparam("its_place")))
_ANYBODY = Statement(ALIVE.limit(1))


class SqlOwner:
    """`contracts.Owner` in a database."""

    def __init__(self, database: Database) -> None:
        """Note it in a database that has the tables of `schema.SHARED_SCHEMA` and `schema.SESSIONS_SCHEMA`."""
        self._database = database

    async def noted(self) -> Owned:
        """See `contracts.Owner`."""
        return await self._database.run(lambda connection: Owned(**_NOTED.rows(connection)[0]))

    async def join(self, ring: bytes | None, place: str | None) -> Owned:
        """See `contracts.Owner`."""

        def work(connection: Connection) -> Owned:
            connection.begin_writing()
            before = Owned(**_TAKE.rows(connection)[0])
            free = place is not None and _ANYBODY.value(connection) is None
            after = Owned(before.ring or ring, place if free else before.place)
            if after != before:
                _NOTE.change(connection, its_ring=after.ring, its_place=after.place)
            return after

        return await self._database.run(work)
