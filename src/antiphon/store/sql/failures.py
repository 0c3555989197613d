"""Login failures and refusals in SQL.

The first statement of each transaction writes the row that the rest depends on, and so locks it: of attempts at
once, each waits for the one before it.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import bindparam, case, delete, insert, select, update

from antiphon.identity.throttle import kept_until, wait
from antiphon.store.contracts import COUNTED_NAMES, KNOWN_SOURCES
from antiphon.store.sql.database import Connection, Database, Result
from antiphon.store.sql.schema import FAILURES, SOURCES, UtcTime
from antiphon.store.sql.statement import Statement

_UNKEPT: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""`kept_until` of a name without failures: it makes way before any other."""

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
        .values(name=bindparam("of_name"), failures=0, failed_at=bindparam("at"), kept_until=_UNKEPT, refusals=0)
        .on_conflict_do_update(index_elements=[FAILURES.c.name], set_={"failures": FAILURES.c.failures})
        .returning(FAILURES.c.failures, FAILURES.c.failed_at)
    )
)
_COUNT_SOURCE = Statement(
    update(SOURCES).where(_OF_SOURCE).values(failures=SOURCES.c.failures + 1, failed_at=bindparam("at"))
)
_COUNT_NAME = Statement(
    update(FAILURES)
    .where(_OF_NAME)
    .values(failures=FAILURES.c.failures + 1, failed_at=bindparam("at"), kept_until=bindparam("until"))
)
_REFUSE = Statement(
    lambda insert: (
        insert(FAILURES)
        .values(name=bindparam("of_name"), failures=0, failed_at=bindparam("at"), kept_until=_UNKEPT, refusals=1)
        .on_conflict_do_update(index_elements=[FAILURES.c.name], set_={"refusals": FAILURES.c.refusals + 1})
        .returning(FAILURES.c.failures, FAILURES.c.refusals)
    )
)
_REFUSALS = Statement(select(FAILURES.c.name, FAILURES.c.refusals).where(FAILURES.c.refusals > 0))
_TAKE_REFUSALS = Statement(delete(FAILURES).where(_OF_NAME).returning(FAILURES.c.refusals))
_TRIM = Statement(
    delete(FAILURES).where(
        FAILURES.c.name.in_(
            select(FAILURES.c.name)
            .order_by(FAILURES.c.kept_until.desc(), FAILURES.c.failed_at.desc())
            .offset(COUNTED_NAMES)
        )
    )
)

_FORGIVE_NAME = Statement(update(FAILURES).where(_OF_NAME).values(failures=0, kept_until=_UNKEPT))
_FORGET_NAME = Statement(delete(FAILURES).where(_OF_NAME, FAILURES.c.refusals == 0))
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

    async def attempt(self, name: bytes, source: bytes, at: datetime, *, only_known: bool = False) -> float | None:
        """See `contracts.LoginFailures`."""
        return await self._count(lambda connection: _attempt(connection, name, source, at, only_known=only_known))

    async def refused(self, name: bytes, at: datetime) -> None:
        """See `contracts.LoginFailures`."""

        def work(connection: Connection) -> tuple[None, bool]:
            (row,) = _REFUSE.rows(connection, of_name=name, at=at)
            return None, (row["failures"], row["refusals"]) == (0, 1)

        await self._count(work)

    async def refusals(self) -> Mapping[bytes, int]:
        """See `contracts.LoginFailures`."""
        return {row["name"]: row["refusals"] for row in await self._database.run(_REFUSALS.rows)}

    async def _count(self, count: Callable[[Connection], tuple[Result, bool]]) -> Result:
        """Return what `count` returns first; second is whether a name is newly counted. Trim the table in time."""
        trim = self._new >= TRIM_EVERY
        if trim:
            self._new = 0  # at once, so that of several attempts in progress one trims

        def work(connection: Connection) -> tuple[Result, bool]:
            counted = count(connection)
            if trim:
                _TRIM.change(connection)
            return counted

        try:
            result, is_new = await self._database.run(work)
        except BaseException:
            if trim:
                self._new += TRIM_EVERY
            raise
        self._new += is_new
        return result

    async def succeeded(self, name: bytes, source: bytes, at: datetime) -> None:
        """See `contracts.LoginFailures`."""
        await self._database.run(lambda connection: forgive_proved(connection, name, source, at))

    async def forgive(self, name: bytes) -> None:
        """See `contracts.LoginFailures`."""

        def work(connection: Connection) -> None:
            _forgive(connection, name)
            _FORGIVE_SOURCES.rows(connection, of_name=name, of_source=None, at=None)

        await self._database.run(work)


def take_refusals(connection: Connection, name: bytes, source: bytes, at: datetime) -> int:
    """Do what `contracts.Sessions.open` does for `proved`, in its transaction; return the refusals."""
    refusals = _TAKE_REFUSALS.value(connection, of_name=name)
    _remember(connection, name, source, at)
    return refusals or 0


def forgive_proved(connection: Connection, name: bytes, source: bytes, at: datetime) -> None:
    """Do what `contracts.LoginFailures.succeeded` does, in the transaction of the connection."""
    _forgive(connection, name)
    _remember(connection, name, source, at)


def _forgive(connection: Connection, name: bytes) -> None:
    _FORGIVE_NAME.change(connection, of_name=name)
    _FORGET_NAME.change(connection, of_name=name)


def _remember(connection: Connection, name: bytes, source: bytes, at: datetime) -> None:
    """Forget the failures at all known sources of a name, and keep this one among them."""
    known = _FORGIVE_SOURCES.rows(connection, of_name=name, of_source=source, at=at)
    if {"source": source} not in known:
        _REMEMBER.change(connection, of_name=name, of_source=source, at=at)
        if len(known) >= KNOWN_SOURCES:
            _FORGET_OLDEST.change(connection, of_name=name)


def _attempt(
    connection: Connection, name: bytes, source: bytes, at: datetime, *, only_known: bool
) -> tuple[float | None, bool]:
    """Return what `contracts.LoginFailures.attempt` returns, and whether the name is newly counted."""
    known = _TAKE_SOURCE.row(connection, of_name=name, of_source=source)
    if only_known and not known:
        return None, False
    (count,) = [known] if known else _TAKE_NAME.rows(connection, of_name=name, at=at)
    seconds = wait(count["failures"], count["failed_at"], at)
    if seconds:
        return seconds, False
    if known:
        _COUNT_SOURCE.change(connection, of_name=name, of_source=source, at=at)
    else:
        _COUNT_NAME.change(connection, of_name=name, at=at, until=kept_until(count["failures"] + 1, at))
    return 0.0, not (known or count["failures"])
