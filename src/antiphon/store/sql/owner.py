"""The owner of a database in SQL."""

from collections.abc import Mapping

from sqlalchemy import bindparam, select, update

from antiphon.store.contracts import Owned, ProcessRecord
from antiphon.store.sql.database import Connection, Database, Lock
from antiphon.store.sql.processes import ALIVE, processes
from antiphon.store.sql.schema import ANTIPHON
from antiphon.store.sql.statement import Statement

_noted = select(ANTIPHON.c.ring, ANTIPHON.c.place, ANTIPHON.c.sealing)
_NOTED = Statement(_noted)
_TAKE = Statement(_noted.with_for_update())
_NOTE = Statement(
    update(ANTIPHON).values(ring=bindparam("its_ring"), place=bindparam("its_place"), sealing=bindparam("its_key"))
)
_SEAL_WITH = Statement(update(ANTIPHON).values(sealing=bindparam("its_key")))
_ANYBODY = Statement(ALIVE.limit(1))


def take(connection: Connection) -> Owned:
    """Return what is noted; nobody else notes anything until the transaction ends."""
    return Owned(**_TAKE.rows(connection)[0])


def note(connection: Connection, owned: Owned) -> None:
    """Note something else. Precondition: `take` was called in this transaction."""
    _NOTE.change(connection, its_ring=owned.ring, its_place=owned.place, its_key=owned.sealing)


class SqlOwner:
    """`contracts.Owner` in a database."""

    def __init__(self, database: Database) -> None:
        """Note it in a database that has the tables of `schema.SHARED_SCHEMA` and `schema.SESSIONS_SCHEMA`."""
        self._database = database

    async def noted(self) -> Owned:
        """See `contracts.Owner`."""
        return await self._database.run(lambda connection: Owned(**_NOTED.rows(connection)[0]))

    async def join(self, ring: bytes | None, place: str | None, sealing: str | None = None) -> Owned:
        """See `contracts.Owner`."""

        def work(connection: Connection) -> Owned:
            if sealing is not None:
                connection.lock(Lock.SEALING)  # whoever seals at this moment has been told of no key
            connection.begin_writing()
            before = take(connection)
            free = place is not None and _ANYBODY.value(connection) is None
            after = Owned(before.ring or ring, place if free else before.place, before.sealing or sealing)
            if after != before:
                note(connection, after)
            return after

        return await self._database.run(work)

    async def seal_with(self, key: str, still: Mapping[str, int]) -> list[ProcessRecord]:
        """See `contracts.Owner`."""

        def work(connection: Connection) -> list[ProcessRecord]:
            connection.lock(Lock.SEALING)
            lacking = [
                each
                for each in processes(connection)
                if key not in each.keys.split() and still.get(each.id) != each.beat
            ]
            if not lacking:
                _SEAL_WITH.change(connection, its_key=key)
            return lacking

        return await self._database.run(work)
