"""Login failures in SQL.

The first statement of each transaction writes, so that no other process changes what it reads.
"""

from datetime import datetime

from sqlalchemy import bindparam, case, delete, insert, select, update

from antiphon.identity.throttle import wait
from antiphon.store.contracts import COUNTED_NAMES, KNOWN_SOURCES
from antiphon.store.sql.database import Connection, Database
from antiphon.store.sql.schema import FAILURES, SOURCES, UtcTime
from antiphon.store.sql.statement import Statement

_OF_NAME = FAILURES.c.name == bindparam("of_name")
_OF_SOURCE = (SOURCES.c.name == bindparam("of_name")) & (SOURCES.c.source == bindparam("of_source"))

_TAKE_SOURCE = Statement(
    update(SOURCES)
    .where(_OF_SOURCE)
    .values(failures=SOURCES.c.failures)
    .returning(SOURCES.c.failures, SOURCES.c.failed_at)
)
_TAKE_NAME = Statement(
    lambda insert: (
        insert(FAILURES)
        .values(name=bindparam("of_name"), failures=0, failed_at=bindparam("at"))
        .on_conflict_do_update(index_elements=[FAILURES.c.name], set_={"failures": FAILURES.c.failures})
        .returning(FAILURES.c.failures, FAILURES.c.failed_at)
    )
)
_COUNT_SOURCE = Statement(
    update(SOURCES).where(_OF_SOURCE).values(failures=SOURCES.c.failures + 1, failed_at=bindparam("at"))
)
_COUNT_NAME = Statement(
    update(FAILURES).where(_OF_NAME).values(failures=FAILURES.c.failures + 1, failed_at=bindparam("at"))
)
_TRIM = Statement(
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

TRIM_EVERY = 64
"""New names after which the table is trimmed: it takes 2 ms, and so many more rows cost nothing."""


class SqlLoginFailures:
    """`contracts.LoginFailures` in a database."""

    def __init__(self, database: Database) -> None:
        """Count in a database that has the tables of `schema.SESSIONS_SCHEMA`."""
        self._database = database
        self._new = TRIM_EVERY
        """New names since the table was trimmed; trim at once, whatever an earlier run has left."""

    async def attempt(self, name: bytes, source: bytes, at: datetime) -> float:
        """See `contracts.LoginFailures`."""
        trim = self._new >= TRIM_EVERY
        if trim:
            self._new = 0  # at once, so that of several attempts in progress one trims

        def work(connection: Connection) -> tuple[float, bool]:
            counted = _attempt(connection, name, source, at)
            if trim:
                _TRIM.change(connection)
            return counted

        try:
            seconds, is_new = await self._database.run(work)
        except BaseException:
            if trim:
                self._new += TRIM_EVERY
            raise
        self._new += is_new
        return seconds

    async def succeeded(self, name: bytes, source: bytes, at: datetime) -> None:
        """See `contracts.LoginFailures`."""
        await self._database.run(lambda connection: forgive_and_remember(connection, name, source, at))

    async def forgive(self, name: bytes) -> None:
        """See `contracts.LoginFailures`."""

        def work(connection: Connection) -> None:
            _FORGIVE_NAME.change(connection, of_name=name)
            _FORGIVE_SOURCES.rows(connection, of_name=name, of_source=None, at=None)

        await self._database.run(work)


def forgive_and_remember(connection: Connection, name: bytes, source: bytes, at: datetime) -> None:
    """Do what `contracts.LoginFailures.succeeded` says, in the transaction of `connection`."""
    _FORGIVE_NAME.change(connection, of_name=name)
    known = _FORGIVE_SOURCES.rows(connection, of_name=name, of_source=source, at=at)
    if {"source": source} not in known:
        _REMEMBER.change(connection, of_name=name, of_source=source, at=at)
        if len(known) >= KNOWN_SOURCES:
            _FORGET_OLDEST.change(connection, of_name=name)


def _attempt(connection: Connection, name: bytes, source: bytes, at: datetime) -> tuple[float, bool]:
    """Return the seconds to wait, 0 when the attempt was counted, and whether the name is newly counted."""
    known = _TAKE_SOURCE.row(connection, of_name=name, of_source=source)
    (count,) = [known] if known else _TAKE_NAME.rows(connection, of_name=name, at=at)
    seconds = wait(count["failures"], count["failed_at"], at)
    if seconds:
        return seconds, False
    if known:
        _COUNT_SOURCE.change(connection, of_name=name, of_source=source, at=at)
    else:
        _COUNT_NAME.change(connection, of_name=name, at=at)
    return 0.0, not (known or count["failures"])
