"""Server processes in SQL."""

from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Executable, Select, bindparam, delete, func, select, update

from antiphon.store.clock import StoreClock
from antiphon.store.contracts import ProcessRecord
from antiphon.store.sql.database import Connection, Database, Direct, Lock
from antiphon.store.sql.schema import PROCESSES
from antiphon.store.sql.statement import Statement

_COLUMNS = [field.name for field in fields(ProcessRecord)]
"""A record's fields and a row's columns have the same names."""


def _enter(insert: Any) -> Executable:
    new = insert(PROCESSES)
    replaced = {name: new.excluded[name] for name in _COLUMNS if name != "id"}
    statement: Executable = new.on_conflict_do_update(index_elements=["id"], set_=replaced)
    return statement


ALIVE: Select[tuple[str]] = select(PROCESSES.c.id)
"""Ids of the processes that are alive, for the conditions of other statements."""
RELAYED_TO = ALIVE.where(PROCESSES.c.relay_address != "")
"""Ids of those that take relays."""

_of_one = PROCESSES.c.id == bindparam("sought")
_REMOVE_ONE = Statement(delete(PROCESSES).where(_of_one))
_REMOVE_SILENT = Statement(delete(PROCESSES).where(_of_one, PROCESSES.c.beat == bindparam("counted")))
_ENTER = Statement(_enter, *_COLUMNS)
_all = select(*(PROCESSES.c[name] for name in _COLUMNS))
_FIND = Statement(_all.where(_of_one))
_LIST = Statement(_all.order_by(PROCESSES.c.started_at, PROCESSES.c.id))
_BEAT = Statement(update(PROCESSES).where(_of_one).values(beat=PROCESSES.c.beat + 1))
_TIME = Statement(select(func.extract("epoch", func.clock_timestamp())))
_BEATS = Statement(select(PROCESSES.c.id, PROCESSES.c.beat))


def time_of(connection: Connection) -> datetime:
    """Return the time of the database's clock."""
    return datetime.fromtimestamp(float(_TIME.value(connection)), UTC)


class SqlProcesses:
    """`contracts.Processes` in a database."""

    def __init__(self, database: Database, clock: StoreClock | None = None) -> None:
        """Keep processes in a database that has the tables of `schema.SESSIONS_SCHEMA`.

        With each heartbeat `clock` follows that of the database, if one is given.
        """
        self._database = database
        self._clock = clock

    async def enter(self, process: ProcessRecord) -> None:
        """See `contracts.Processes`."""

        def work(connection: Connection) -> None:
            # A claim in progress has found it dead: it comes first, and is among the claims that are read after.
            connection.lock(Lock.PROCESS, process.id)
            _ENTER.change(connection, **asdict(process))

        await self._database.run(work, order=process.id)

    async def find(self, id: str) -> ProcessRecord | None:
        """See `contracts.Processes`."""
        row = await self._database.run(lambda connection: _FIND.row(connection, sought=id))
        return ProcessRecord(**row) if row else None

    async def all(self) -> list[ProcessRecord]:
        """See `contracts.Processes`."""
        return [ProcessRecord(**row) for row in await self._database.run(_LIST.rows)]

    async def remove(self, id: str, beat: int | None = None) -> bool:
        """See `contracts.Processes`."""

        def work(connection: Connection) -> bool:
            if beat is None:
                return _REMOVE_ONE.change(connection, sought=id) > 0
            return _REMOVE_SILENT.change(connection, sought=id, counted=beat) > 0

        return await self._database.run(work, order=id)

    def pulse(self) -> "SqlPulse":
        """See `contracts.Processes`."""
        return SqlPulse(self._database.direct(), self._clock)


class SqlPulse:
    """`contracts.Pulse` on a connection of its own."""

    def __init__(self, direct: Direct, clock: StoreClock | None = None) -> None:
        """Own a connection to a database that has the tables of `schema.SESSIONS_SCHEMA`."""
        self._direct = direct
        self._clock = clock

    def beat(self, id: str) -> dict[str, int] | None:
        """See `contracts.Pulse`."""

        def work(connection: Connection) -> dict[str, int] | None:
            # First: if this process cannot write, others may not be able to either, and nobody is dead.
            if not _BEAT.change(connection, sought=id):
                return None
            if self._clock is not None:
                self._clock.follow(lambda: time_of(connection))
            return {row["id"]: row["beat"] for row in _BEATS.rows(connection)}

        return self._direct.run(work)

    def close(self) -> None:
        """See `contracts.Pulse`."""
        self._direct.close()
