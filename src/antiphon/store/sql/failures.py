"""Failed sign-ins in SQL, for `SqlSessions`: what is done inside one transaction each."""

import sqlite3
from datetime import datetime

from sqlalchemy import bindparam, case, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from antiphon.identity.throttle import wait
from antiphon.store.contracts import COUNTED_NAMES, KNOWN_SOURCES
from antiphon.store.sql.schema import FAILURES, SOURCES, UtcTime
from antiphon.store.sql.statement import Statement

# The first statement of each transaction writes, so that it has the database to itself before it reads.

_OF_NAME = FAILURES.c.name == bindparam("of_name")
_OF_SOURCE = (SOURCES.c.name == bindparam("of_name")) & (SOURCES.c.source == bindparam("of_source"))

_TAKE_SOURCE = Statement(
    update(SOURCES)
    .where(_OF_SOURCE)
    .values(failures=SOURCES.c.failures)
    .returning(SOURCES.c.failures, SOURCES.c.failed_at)
)
_TAKE_NAME = Statement(
    insert(FAILURES)
    .values(name=bindparam("of_name"), failures=0, failed_at=bindparam("at"))
    .on_conflict_do_update(index_elements=[FAILURES.c.name], set_={"failures": FAILURES.c.failures})
    .returning(FAILURES.c.failures, FAILURES.c.failed_at)
)
_COUNT_SOURCE = Statement(
    update(SOURCES).where(_OF_SOURCE).values(failures=SOURCES.c.failures + 1, failed_at=bindparam("at"))
)
_COUNT_NAME = Statement(
    update(FAILURES).where(_OF_NAME).values(failures=FAILURES.c.failures + 1, failed_at=bindparam("at"))
)
_MAKE_WAY = Statement(
    delete(FAILURES).where(
        FAILURES.c.name.in_(select(FAILURES.c.name).order_by(FAILURES.c.failed_at.desc()).offset(COUNTED_NAMES))
    )
)

_FORGIVE_NAME = Statement(delete(FAILURES).where(_OF_NAME))
_FORGIVE_SOURCES = Statement(
    update(SOURCES)
    .where(SOURCES.c.name == bindparam("of_name"))
    .values(
        failures=0,
        used_at=case(
            (SOURCES.c.source == bindparam("of_source"), bindparam("at", type_=UtcTime)), else_=SOURCES.c.used_at
        ),
    )
    .returning(SOURCES.c.source)
)
_REMEMBER = Statement(
    insert(SOURCES).values(
        name=bindparam("of_name"),
        source=bindparam("of_source"),
        used_at=bindparam("at"),
        failures=0,
        failed_at=bindparam("at"),
    )
)
_FORGET_OLDEST = Statement(
    delete(SOURCES).where(
        SOURCES.c.name == bindparam("of_name"),
        SOURCES.c.source.in_(
            select(SOURCES.c.source)
            .where(SOURCES.c.name == bindparam("of_name"))
            .order_by(SOURCES.c.used_at.desc())
            .offset(KNOWN_SOURCES)
        ),
    )
)

MAKE_WAY_EVERY = 64
"""New names after which the oldest make way: to find them costs 2 ms, and so many rows more cost nothing."""


class Failures:
    """The methods of `contracts.Sessions` that count; each takes the connection of a transaction."""

    def __init__(self) -> None:
        """Begin; the first new name makes the oldest make way, whatever an earlier run has left."""
        self._new = 0

    def attempt(self, connection: sqlite3.Connection, name: bytes, source: bytes, at: datetime) -> float:
        """See `contracts.Sessions.attempt`."""
        known = _TAKE_SOURCE.row(connection, of_name=name, of_source=source)
        (count,) = [known] if known else _TAKE_NAME.rows(connection, of_name=name, at=at)
        seconds = wait(count["failures"], count["failed_at"], at)
        if seconds:
            return seconds
        if known:
            _COUNT_SOURCE.change(connection, of_name=name, of_source=source, at=at)
        else:
            _COUNT_NAME.change(connection, of_name=name, at=at)
        if not (known or count["failures"]):
            if self._new % MAKE_WAY_EVERY == 0:
                _MAKE_WAY.change(connection)
            self._new += 1
        return 0.0

    def succeeded(self, connection: sqlite3.Connection, name: bytes, source: bytes, at: datetime) -> None:
        """See `contracts.Sessions.succeeded`."""
        _FORGIVE_NAME.change(connection, of_name=name)
        known = _FORGIVE_SOURCES.rows(connection, of_name=name, of_source=source, at=at)
        if {"source": source} not in known:
            _REMEMBER.change(connection, of_name=name, of_source=source, at=at)
            if len(known) >= KNOWN_SOURCES:
                _FORGET_OLDEST.change(connection, of_name=name)

    def forgive(self, connection: sqlite3.Connection, name: bytes) -> None:
        """See `contracts.Sessions.forgive`."""
        _FORGIVE_NAME.change(connection, of_name=name)
        _FORGIVE_SOURCES.rows(connection, of_name=name, of_source=None, at=None)
