"""Makes an SQLite file ready before anybody uses it: this user's own, in WAL mode, with its tables."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock
from sqlalchemy import URL, Connection, MetaData, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from antiphon.errors import FolderUnusable, Problem
from antiphon.files import check_file, make_private, reported
from antiphon.language import N_
from antiphon.store.sql.engine import BUSY_SECONDS
from antiphon.store.sql.schema import SCHEMA_VERSION

LOCK_FILE = "store.lock"
LOCK_SECONDS = 30.0
"""The lock is held for milliseconds; a process that keeps it for so long is stuck."""

_BESIDE = ("", "-wal", "-shm", "-journal")
"""What SQLite keeps under a database's name; it gives the others the mode of the first."""

_LOCKED = Problem(N_("another process keeps it locked"))
_NOT_OURS = Problem(N_("it is not a database of this program"))
_NEWER = Problem(N_("it is of a newer version of this program"))
_PROBLEMS = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_CORRUPT: Problem(N_("it is damaged")),
    sqlite3.SQLITE_FULL: Problem(N_("the disk is full")),
    sqlite3.SQLITE_NOTADB: _NOT_OURS,
    sqlite3.SQLITE_READONLY: Problem(N_("it is read-only")),
}
_PRIMARY_CODE = 0xFF
"""The low byte of an SQLite result code; the rest tells more about it."""


def prepare(path: Path, schema: MetaData) -> None:
    """Make the database at `path` if it is not there, and its tables if it has none.

    It blocks: run it outside the event loop. Servers that start together wait for each other.

    Raises:
        FolderUnsafe: the file, or one that SQLite keeps beside it, is a symbolic link, another user's, or can be
            read or written by others.
        FolderUnusable: it is no database of ours, damaged, of a newer version, locked, or cannot be written.
    """
    with _reported(path), FileLock(path.parent / LOCK_FILE, timeout=LOCK_SECONDS, mode=0o600):
        _make_private(path)
        url = URL.create("sqlite", database=str(path))
        engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})
        with engine.connect() as connection:
            _make_tables(connection, path, schema)


def _make_private(path: Path) -> None:
    """Refuse files that others can reach; make the database, empty, before SQLite does with the umask's mode."""
    for suffix in _BESIDE:
        beside = path.with_name(path.name + suffix)
        with contextlib.suppress(FileNotFoundError):
            check_file(beside, beside.lstat())
    # A file that is there is never opened here: to close it would drop the locks that SQLite has on it (fcntl).
    make_private(path)


def _make_tables(connection: Connection, path: Path, schema: MetaData) -> None:
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if version > SCHEMA_VERSION:
        raise FolderUnusable(path=str(path), problem=_NEWER)
    if version == SCHEMA_VERSION:
        return
    if connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
        raise FolderUnusable(path=str(path), problem=_NOT_OURS)
    connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar()
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # all tables and the version, or nothing
    schema.create_all(connection, checkfirst=False)
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.commit()


@contextlib.contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turn what the system, the lock and SQLite raise into the error that says so of `path`."""
    try:
        with reported(path):
            yield
    except DBAPIError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY_CODE
        raise FolderUnusable(path=str(path), problem=_PROBLEMS.get(code, str(error.orig))) from error
