"""Contents of a store in SQL: read from an SQLite file, and written into a database that has no accounts yet."""

import contextlib
import sqlite3
from collections.abc import Iterator
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path

from sqlalchemy import func, insert, select

from antiphon.store.contents import Contents, Row
from antiphon.store.copied import Told
from antiphon.store.sql.database import Connection
from antiphon.store.sql.schema import ACCOUNTS_SCHEMA
from antiphon.store.sql.sqlite import ACCOUNTS_FILE, SqliteConnection, prepare, reported_by_sqlite
from antiphon.store.sql.statement import Statement

BATCH = 1000
"""Rows that are read and written at once."""

_TABLES = {table.name: table for table in ACCOUNTS_SCHEMA.sorted_tables}  # accounts before their credentials
_READ = {name: Statement(select(table)) for name, table in _TABLES.items()}
_COUNT = {name: Statement(select(func.count()).select_from(table)) for name, table in _TABLES.items()}
_ADD = {name: Statement(insert(table), *table.columns.keys()) for name, table in _TABLES.items()}
_NUMBERS = "SELECT name, seq FROM sqlite_sequence"


@contextlib.contextmanager
def contents_of_sqlite(folder: Path) -> Iterator[Contents]:
    """Yield the contents of the store in `folder`, whose tables are of this version, and which nobody else uses.

    Raises:
        FolderUnusable: the file cannot be read, or is damaged.
    """
    path = folder / ACCOUNTS_FILE
    with (
        reported_by_sqlite(path),
        contextlib.closing(sqlite3.connect(path, factory=SqliteConnection)) as connection,
    ):
        yield Contents(
            rows=_rows(connection),
            size=sum(count.value(connection) for count in _COUNT.values()),
            numbers=dict(connection.execute(_NUMBERS).fetchall()),
        )


def _rows(connection: SqliteConnection) -> Iterator[tuple[str, Row]]:
    for name, statement in _READ.items():
        for row in statement.each(connection, BATCH):
            yield name, row


def fill_sqlite(folder: Path, contents: Contents, told: Told) -> None:
    """Make a store in `folder`, which has none, with these contents.

    Raises:
        FolderUnusable: the file cannot be written.
    """
    path = folder / ACCOUNTS_FILE
    prepare(path, ACCOUNTS_SCHEMA)
    with (
        reported_by_sqlite(path),
        contextlib.closing(sqlite3.connect(path, factory=SqliteConnection)) as connection,
        connection,
    ):
        fill(connection, contents, told)


def is_empty(connection: Connection) -> bool:
    """Return whether there are no accounts, and nothing else that `fill` writes."""
    return not any(count.value(connection) for count in _COUNT.values())


def fill(connection: Connection, contents: Contents, told: Told) -> None:
    """Write the contents of a store into the tables of a database, which are empty, inside a transaction.

    Rows keep their numbers, and new ones get higher numbers than were ever given.
    """
    done = 0
    for name, rows in groupby(contents.rows, key=itemgetter(0)):
        while batch := [row for _, row in islice(rows, BATCH)]:
            _ADD[name].change_each(connection, batch)
            done += len(batch)
            told(done, contents.size)
    for name, highest in contents.numbers.items():
        if highest:
            connection.number_above(name, highest)
