"""Opening of a PostgreSQL database: what it must be, how its tables are made and upgraded, what can be wrong."""

import asyncio
import contextlib
import re
import shlex
import time
from collections.abc import Iterator
from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import MetaData, Table
from sqlalchemy.schema import CreateIndex, CreateTable

from antiphon.errors import DatabaseOutdated, DatabaseUnreachable, DatabaseUnusable, Problem
from antiphon.language import N_
from antiphon.store.clock import StoreClock
from antiphon.store.sql import schema
from antiphon.store.sql.database import Lock
from antiphon.store.sql.postgres.connection import PostgresConnection, SilentError, connect
from antiphon.store.sql.postgres.database import PostgresDatabase
from antiphon.store.sql.postgres.outbox import PostgresOutbox
from antiphon.store.sql.processes import time_of
from antiphon.store.sql.store import SqlStore
from antiphon.store.sql.upgrades import upgrade

TABLES_SECONDS = 30.0
"""Time for the making or the upgrade of the tables, waiting for another process that does it included."""
OPEN_SECONDS = 2 * TABLES_SECONDS
"""Time for all of an opening: a server that says nothing any more is given up then."""
_SCHEMAS: Final[tuple[MetaData, ...]] = (schema.ACCOUNTS_SCHEMA, schema.SESSIONS_SCHEMA, schema.SHARED_SCHEMA)
_TABLES: Final[list[Table]] = [table for each in _SCHEMAS for table in each.sorted_tables]
_VERSION = "SELECT version FROM antiphon"
_TEXT, _WORDS = re.compile(r"\bTEXT\b"), 'TEXT COLLATE "C"'
"""The type of texts in `upgrades.STEPS`, and as `schema` has it here."""
_LOOK = (
    "SELECT count(*), count(*) FILTER (WHERE relname = 'antiphon') FROM pg_class"
    " WHERE relnamespace = to_regnamespace(quote_ident(current_schema()))"
    " AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT EXISTS (SELECT FROM pg_depend"
    " WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')"
)
"""What stands in the schema and belongs to no extension, and what of it has our name: in one look, since another
process may be making our tables."""

_NO_ADDRESS = Problem(N_("libpq cannot read this address"))
_NO_SCHEMA = Problem(N_("its search_path names no schema that is there"))
_ANOTHERS = Problem(N_("it holds the tables of another program"))
_NEWER = Problem(N_("its tables are of a newer version of this program"))
_MAY_NOT = Problem(N_("this user may not make tables in it, or may not use ours"))
_READ_ONLY = Problem(N_("it is read-only"))
_ASKS = Problem(N_("it asks for a password, and there is none for it in ~/.pgpass or in the file of PGPASSFILE"))
_WRONG = Problem(N_("the server refuses the password of this user"))
_MISSING = Problem(N_("there is no such database"))
_NO_ROLE = Problem(N_("there is no such user"))
_NO_TLS = Problem(N_("the server has no TLS, and sslmode asks for it"))
_NOT_TRUSTED = Problem(N_("the certificate of the server is not trusted, and sslmode asks for one that is"))
_REFUSED_SO = Problem(N_("the server takes no such connection of this user; see its pg_hba.conf"))
_NO_SERVICE = Problem(N_("there is no such service in pg_service.conf"))
_NOBODY = Problem(N_("nobody listens there"))
_SILENT = Problem(N_("nobody answers there in time"))
_NO_HOST = Problem(N_("there is no such host"))
_NOT_POSTGRESQL = Problem(N_("what answers there is no PostgreSQL server"))
_FULL = Problem(N_("it has no connection left"))
_LOST = Problem(N_("the connection to it was lost"))

_USED: Final = (
    ("password authentication failed", _WRONG),
    ("no password supplied", _ASKS),
    ("pg_hba.conf", _REFUSED_SO),
    ("permission denied", _MAY_NOT),
    ('role "', _NO_ROLE),
    ('database "', _MISSING),
    ("does not support ssl", _NO_TLS),
    ("certificate", _NOT_TRUSTED),
    ("definition of service", _NO_SERVICE),
    ("service file", _NO_SERVICE),
)
"""What libpq says in English when it comes as far as the server: nothing else tells these cases apart. The first
that fits counts."""
_UNREACHED: Final = (
    ("connection refused", _NOBODY),
    ("no such file or directory", _NOBODY),
    ("timeout", _SILENT),
    ("timed out", _SILENT),
    ("name or service not known", _NO_HOST),
    ("could not translate host name", _NO_HOST),
    ("failed to resolve host", _NO_HOST),
    ("invalid response", _NOT_POSTGRESQL),
    ("server closed the connection unexpectedly", _NOT_POSTGRESQL),
    ("expected authentication request", _NOT_POSTGRESQL),
    ("too many clients", _FULL),
    ("remaining connection slots", _FULL),
)
"""Likewise when it does not."""


async def open_postgres(dsn: str) -> SqlStore:
    """Open the store in the database of a `postgresql://` address; an empty one is set up. Call `close` at last.

    Raises:
        DatabaseUnreachable: there is no server, or none of PostgreSQL.
        DatabaseUnusable: there is no such database, or none that this user may use; it is another program's, or of
            a newer version.
        DatabaseOutdated: its tables are of an earlier version.
    """
    clock = StoreClock()
    await asyncio.to_thread(prepare, dsn, clock=clock)
    database = PostgresDatabase(dsn)
    return SqlStore(database, database, shared=True, clock=clock, outbox=PostgresOutbox(database))


def prepare(dsn: str, *, upgrading: bool = False, clock: StoreClock | None = None) -> int | None:
    """Make the tables of an empty database; with `upgrading`, those of an earlier version become the present ones.

    `clock` follows that of the database. It blocks. Of several processes that start together, one makes the
    tables, and the others wait.

    Returns:
        The version that was found; None for an empty database.

    Raises:
        AntiphonError: as `open_postgres`; nothing is made then.
    """
    with reported_by_postgres(dsn), contextlib.closing(connected(dsn)) as connection:
        if clock is not None:
            clock.follow(lambda: time_of(connection))
        found = _found(connection, dsn)
        if found is not None and not (upgrading and found < schema.SCHEMA_VERSION):
            _check(found, dsn)
            return found
        with alone(connection):
            found = _found(connection, dsn)  # another process may have made them meanwhile
            if found is None:
                _make(connection)
            elif upgrading and found < schema.SCHEMA_VERSION:
                tables = {table.name for table in _TABLES}
                upgrade(lambda step: connection.execute(_TEXT.sub(_WORDS, step)), tables, found)
                connection.execute("UPDATE antiphon SET version = %(version)s", {"version": schema.SCHEMA_VERSION})
            else:
                _check(found, dsn)
            return found


def version_of(dsn: str) -> int | None:
    """Return the version of the tables of a database, None if it is empty. It blocks.

    Raises:
        AntiphonError: as `open_postgres`, but for the version.
    """
    with reported_by_postgres(dsn), contextlib.closing(connected(dsn)) as connection:
        return _found(connection, dsn)


def connected(dsn: str) -> PostgresConnection:
    """Return a connection to the database of a `postgresql://` address, on which all takes `OPEN_SECONDS` at most.

    Raises:
        AntiphonError: libpq cannot read the address, or there is no connection.
    """
    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:  # what it says may repeat a part of a password
        raise DatabaseUnusable(database=dsn.partition("@")[2] or "…", problem=_NO_ADDRESS) from None
    try:
        connection = connect(dsn)
    except psycopg.Error as error:
        raise _reported(error, dsn) from error
    connection.limit(time.monotonic() + OPEN_SECONDS)
    return connection


def _found(connection: PostgresConnection, dsn: str) -> int | None:
    if _value(connection, "SELECT current_schema()") is None:
        raise DatabaseUnusable(database=dsn, problem=_NO_SCHEMA)
    ((everything, ours),) = connection.execute(_LOOK).fetchall()
    if not everything:
        return None
    if not ours:
        raise DatabaseUnusable(database=dsn, problem=_ANOTHERS)
    try:
        return int(_value(connection, _VERSION))
    except (errors.UndefinedColumn, TypeError, ValueError):  # of another program that has our name, or with no row
        raise DatabaseUnusable(database=dsn, problem=_ANOTHERS) from None


def check_version(dsn: str) -> int | None:
    """Check that a server can use the tables of the database; return their version, None if there are none yet.

    Raises:
        AntiphonError: it cannot, as `open_postgres` says.
    """
    version = version_of(dsn)
    if version is not None:
        _check(version, dsn)
    return version


def _check(version: int, dsn: str) -> None:
    if version < schema.SCHEMA_VERSION:
        raise DatabaseOutdated(
            database=dsn, quoted=shlex.quote(dsn), version=version, wanted=schema.SCHEMA_VERSION
        )
    if version > schema.SCHEMA_VERSION:
        raise DatabaseUnusable(database=dsn, problem=_NEWER)


@contextlib.contextmanager
def alone(connection: PostgresConnection) -> Iterator[None]:
    """Run a block as one transaction, in which nobody else makes or upgrades tables."""
    connection.begin()
    try:
        connection.execute(f"SET LOCAL statement_timeout = {TABLES_SECONDS * 1000:.0f}")
        connection.lock(Lock.TABLES)
        yield
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def _make(connection: PostgresConnection) -> None:
    for table in _TABLES:
        connection.execute(str(CreateTable(table).compile(dialect=connection.dialect)))
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            connection.execute(str(CreateIndex(index).compile(dialect=connection.dialect)))
    connection.execute("INSERT INTO antiphon (version) VALUES (%(version)s)", {"version": schema.SCHEMA_VERSION})


def _value(connection: PostgresConnection, text: str) -> Any:
    row = connection.execute(text).fetchone()
    return row[0] if row else None


@contextlib.contextmanager
def reported_by_postgres(dsn: str) -> Iterator[None]:
    """Turn errors of the driver into the error that names the database and the problem."""
    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise DatabaseUnusable(database=dsn, problem=_MAY_NOT) from error
    except errors.ReadOnlySqlTransaction as error:
        raise DatabaseUnusable(database=dsn, problem=_READ_ONLY) from error
    except (errors.AdminShutdown, errors.CrashShutdown, errors.IdleInTransactionSessionTimeout) as error:
        raise DatabaseUnreachable(database=dsn, problem=_LOST) from error
    except psycopg.OperationalError as error:
        if error.sqlstate or isinstance(error, SilentError):
            raise _reported(error, dsn) from error
        raise DatabaseUnreachable(database=dsn, problem=_LOST) from error
    except psycopg.Error as error:
        raise _reported(error, dsn) from error


def _reported(error: psycopg.Error, dsn: str) -> DatabaseUnreachable | DatabaseUnusable:
    said = _last_line(error)
    for fragment, problem in _UNREACHED:
        if fragment in said.lower():
            return DatabaseUnreachable(database=dsn, problem=problem)
    for fragment, problem in _USED:
        if fragment in said.lower():
            return DatabaseUnusable(database=dsn, problem=problem)
    unknown = DatabaseUnusable if error.sqlstate else DatabaseUnreachable
    return unknown(database=dsn, problem=said)


def _last_line(error: psycopg.Error) -> str:
    """Return the last thing that the driver said: of several addresses of a host, what the last one did."""
    beside = ("Multiple", "-", "\t", "DETAIL", "HINT")
    lines = [line for line in str(error).splitlines() if line and not line.startswith(beside)]
    return lines[-1].rstrip(".") if lines else type(error).__name__
