"""Server processes in SQL."""

from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Executable, Select, bindparam, delete, func, select, update

from antiphon.store.clock import StoreClock
from antiphon.store.contracts import ProcessRecord
from antiphon.store.sql.database import Connection, Database, Direct, Lock
from antiphon.store.sql.schema import ANTIPHON, PROCESSES
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
_BEAT = Statement(update(PROCESSES).where(_of_one).values(beat=PROCESSES.c.beat + 1, keys=bindparam("held")))
_TIME = Statement(select(func.extract("epoch", func.clock_timestamp())))
_BEATS = Statement(select(PROCESSES.c.id, PROCESSES.c.beat))
_SEALING = Statement(select(ANTIPHON.c.sealing))


# For other transactions: each takes the connection of a transaction.


def processes(connection: Connection) -> list[ProcessRecord]:
    """Return all processes, the oldest first."""
    return [ProcessRecord(**row) for row in _LIST.rows(connection)]


def sealing_key(connection: Connection) -> str | None:
    """Return the mark of the key that seals, None if none was noted. Precondition: `Lock.SEALING` is held."""
    key: str | None = _SEALING.value(connection)
    return key


def time_of(connection: Connection) -> datetime:
    """Return the time of the database's clock."""
    return datetime.fromtimestamp(float(_TIME.value(connection)), UTC)


class SqlProcesses:
    """`contracts.Processes` in a database."""

    def __init__(self, database: Database, clock: StoreClock | None = None, *, shared: bool = False) -> None:
        """Keep processes in a database that has the tables of `schema.SESSIONS_SCHEMA`.

        With each heartbeat `clock` follows that of the database, if one is given. With `shared`, it has the tables
        of `schema.SHARED_SCHEMA` too.
        """
        self._database = database
        self._clock = clock
        self._shared = shared

    async def enter(self, process: ProcessRecord) -> bool:
        """See `contracts.Processes`."""

        def work(connection: Connection) -> bool:
            if self._shared:
                # A change of the key in progress comes first: or it finds this process, and what that lacks.
                connection.lock(Lock.SEALING, shared=True)
                if (key := sealing_key(connection)) is not None and key not in process.keys.split():
                    return False
            # A claim in progress has found it dead: it comes first, and is among the claims that are read after.
            connection.lock(Lock.PROCESS, process.id)
            _ENTER.change(connection, **asdict(process))
            return True

        return await self._database.run(work, order=process.id)

    async def find(self, id: str) -> ProcessRecord | None:
        """See `contracts.Processes`."""
        row = await self._database.run(lambda connection: _FIND.row(connection, sought=id))
        return ProcessRecord(**row) if row else None

    async def all(self) -> list[ProcessRecord]:
        """See `contracts.Processes`."""
        return await self._database.run(processes)

    async def remove(self, id: str, beat: int | None = None) -> bool:
        """See `contracts.Processes`."""

        def work(connection: Connection) -> bool:
            if beat is None:
                return _REMOVE_ONE.change(connection, sought=id) > 0
            return _REMOVE_SILENT.change(connection, sought=id, counted=beat) > 0

        return await self._database.run(work, order=id)

    def pulse(self, keys: Callable[[], str] = lambda: "") -> "SqlPulse":
        """See `contracts.Processes`."""
        return SqlPulse(self._database.direct(), keys, self._clock)


class SqlPulse:
    """`contracts.Pulse` on a connection of its own."""

    def __init__(self, direct: Direct, keys: Callable[[], str], clock: StoreClock | None = None) -> None:
        """Own a connection to a database that has the tables of `schema.SESSIONS_SCHEMA`; note the `keys`."""
        self._direct = direct
        self._keys = keys
        self._clock = clock

    def beat(self, id: str) -> dict[str, int] | None:
        """See `contracts.Pulse`."""
        keys = self._keys()

        def work(connection: Connection) -> dict[str, int] | None:
            # First: if this process cannot write, others may not be able to either, and nobody is dead.
            if not _BEAT.change(connection, sought=id, held=keys):
                return None
            if self._clock is not None:
                self._clock.follow(lambda: time_of(connection))
            return {row["id"]: row["beat"] for row in _BEATS.rows(connection)}

        return self._direct.run(work)

    def close(self) -> None:
        """See `contracts.Pulse`."""
        self._direct.close()
