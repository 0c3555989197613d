"""Makes an SQLite file ready before anybody uses it: this user's own, in WAL mode, with its tables."""

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, MetaData, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from antiphon.errors import FolderUnsafe, FolderUnusable, Problem
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
    sqlite3.SQLITE_READONLY: Problem(N_("it can only be read")),
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
        with contextlib.suppress(FileNotFoundError):
            _check(path.with_name(path.name + suffix))
    # A file that is there is never opened here: to close it would drop the locks that SQLite has on it (fcntl).
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            os.fchmod(descriptor, 0o600)  # whatever the umask
        finally:
            os.close(descriptor)


def _check(path: Path) -> None:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise FolderUnsafe(path=str(path), problem=Problem(N_("is a symbolic link")))
    if not stat.S_ISREG(found.st_mode):
        raise FolderUnsafe(path=str(path), problem=Problem(N_("is not a plain file")))
    if os.name != "posix":
        return
    if found.st_uid != os.geteuid():
        raise FolderUnsafe(path=str(path), problem=Problem(N_("belongs to another user")))
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise FolderUnsafe(path=str(path), problem=Problem(N_("can be read or written by others")))


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
        yield
    except DBAPIError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY_CODE
        raise FolderUnusable(path=str(path), problem=_PROBLEMS.get(code, str(error.orig))) from error
    except Timeout as error:  # before OSError, which it is
        raise FolderUnusable(path=str(path), problem=_LOCKED) from error
    except OSError as error:
        raise FolderUnusable(path=str(path), problem=error.strerror or str(error)) from error
