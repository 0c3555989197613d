"""Statements of SQLAlchemy as the driver executes them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    bindparam,
    case,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql

from antiphon.store.sql import accounts, clients, failures, invitations, processes, revocations, sessions
from antiphon.store.sql.schema import UtcTime
from antiphon.store.sql.sqlite import SqliteConnection
from antiphon.store.sql.statement import Statement

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
THINGS = Table(
    "things",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("key", LargeBinary),
    Column("at", UtcTime),
    Column("on", Boolean),
    Column("count", Integer),
)
ADD = Statement(insert(THINGS).values(count=7), "key", "at", "on")
ALL = Statement(select(THINGS).order_by(THINGS.c.id))
CLEAR = Statement(update(THINGS).where(THINGS.c.at < bindparam("before")).values(at=None, on=False))
TAKE = Statement(
    update(THINGS)
    .where(THINGS.c.id == bindparam("sought"))
    .values(count=THINGS.c.count + 1)
    .returning(THINGS.c.count, THINGS.c.at.label("then"))
)
COUNT = Statement(select(func.count()).where(THINGS.c.on == bindparam("wanted")))


@pytest.fixture
def connection() -> Iterator[SqliteConnection]:
    with closing(sqlite3.connect(":memory:", factory=SqliteConnection)) as opened:
        opened.execute('CREATE TABLE things (id INTEGER PRIMARY KEY, "key", at, "on", count)')
        yield opened


def test_values_go_in_and_come_out_as_their_types_say(connection: SqliteConnection) -> None:
    moscow = NOON.astimezone(timezone(timedelta(hours=3)))
    assert ADD.change(connection, key=b"\x00one", at=moscow, on=True) == 1
    assert ADD.change(connection, key=None, at=None, on=None) == 1
    kept = connection.execute('SELECT key, at, "on" FROM things').fetchall()
    assert kept == [(b"\x00one", 1_772_366_400_123_456, 1), (None, None, None)]
    first, second = ALL.rows(connection)
    assert first == {"id": 1, "key": b"\x00one", "at": NOON, "on": True, "count": 7}
    assert (type(first["key"]), type(first["on"])) == (bytes, bool)
    assert second == {"id": 2, "key": None, "at": None, "on": None, "count": 7}


def test_what_stands_in_a_statement_needs_no_parameter(connection: SqliteConnection) -> None:
    ADD.change(connection, key=b"one", at=NOON, on=True)
    assert CLEAR.change(connection, before=NOON) == 0
    assert CLEAR.change(connection, before=NOON + timedelta(microseconds=1)) == 1
    row = ALL.row(connection)
    assert row is not None
    assert (row["at"], row["on"], row["count"]) == (None, False, 7)


def test_a_statement_that_changes_may_give_rows(connection: SqliteConnection) -> None:
    ADD.change(connection, key=b"one", at=NOON, on=True)
    assert TAKE.row(connection, sought=1) == {"count": 8, "then": NOON}
    assert TAKE.value(connection, sought=1) == 9
    assert TAKE.row(connection, sought=2) is None
    assert TAKE.value(connection, sought=2) is None


def test_many_sets_of_parameters_are_executed_one_by_one(connection: SqliteConnection) -> None:
    ADD.change_each(connection, [{"key": b"%d" % n, "at": NOON, "on": n % 2 == 0} for n in range(5)])
    assert [row["key"] for row in ALL.rows(connection)] == [b"0", b"1", b"2", b"3", b"4"]
    assert COUNT.value(connection, wanted=True) == 3
    ADD.change_each(connection, [])
    assert len(ALL.rows(connection)) == 5


def test_a_parameter_that_is_missing_is_an_error_and_not_null(connection: SqliteConnection) -> None:
    for values in ({"key": b"one", "on": True}, {"at": NOON, "on": True}):
        with pytest.raises((KeyError, sqlite3.ProgrammingError)):
            ADD.change(connection, **values)
    assert ALL.rows(connection) == []


def test_a_parameter_without_a_type_is_refused_before_the_driver_makes_what_it_likes_of_it(
    connection: SqliteConnection,
) -> None:
    untyped = Statement(update(THINGS).values(at=case((THINGS.c.id == 1, bindparam("then")), else_=None)))
    with pytest.raises(TypeError, match="“then” has no type"):
        untyped.change(connection, then=NOON)


STORES = (accounts, clients, failures, invitations, revocations, sessions, processes)
STATEMENTS = [
    pytest.param(statement, id=f"{module.__name__.rpartition('.')[2]}.{name}")
    for module in STORES
    for name, statement in vars(module).items()
    if isinstance(statement, Statement)
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_every_statement_can_be_compiled_for_another_engine_too(statement: Statement) -> None:
    other = postgresql.dialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]  # SQLAlchemy's
    for_sqlite, for_other = statement.compiled(SqliteConnection.dialect), statement.compiled(other)
    assert [name for name, _ in for_other.outward] == [name for name, _ in for_sqlite.outward]
    assert statement.compiled(SqliteConnection.dialect) is for_sqlite
    assert statement.compiled(other) is for_other
