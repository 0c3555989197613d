"""The SQLite engine: the two files of a store, how they are made ready, and the connections to them.

The default engine. Everything that only SQLite knows stands here, and nothing of SQLite leaves `store/`: at the
start its errors become `FolderUnusable`, later `TryLater` with SQLite's error as the cause.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, Literal, Self, TypeVar

import sqlalchemy
from filelock import FileLock
from sqlalchemy import URL, Dialect, MetaData, NullPool, create_engine
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DBAPIError

from antiphon.errors import FolderUnusable, Problem, TryLater
from antiphon.files import check_file, make_private, reported
from antiphon.language import N_
from antiphon.store.sql.database import Lock
from antiphon.store.sql.schema import ACCOUNTS_SCHEMA, SCHEMA_VERSION, SESSIONS_SCHEMA
from antiphon.store.sql.store import SqlStore
from antiphon.store.sql.upgrades import BESIDE_TABLES, OLDEST, keep_copy, upgrade
from antiphon.store.thread import StoreThread

ACCOUNTS_FILE = "accounts.db"
SESSIONS_FILE = "sessions.db"
LOCK_FILE = "store.lock"
"""Held while a file is made ready."""
LOCK_SECONDS = 30.0
"""The lock is held for milliseconds; a process that holds it for so long is stuck."""
BUSY_SECONDS = 1.5
"""How long SQLite waits for another process to unlock the file."""

_BESIDE = ("", "-wal", "-shm", "-journal")
"""Suffixes of the files that SQLite keeps for a database; it gives the others the mode of the first."""

_LOCKED = Problem(N_("another process keeps it locked"))
_NOT_OURS = Problem(N_("it is not a database of this program"))
_NEWER = Problem(N_("it is of a newer version of this program"))
_MISSING = Problem(
    N_(
        "it is missing, but sessions.db is there; restore it from a backup, or remove sessions.db as well to begin"
        " anew"
    )
)
_EMPTY = Problem(N_("it is empty, but sessions.db is not; restore it from a backup, or remove both to begin anew"))
_PROBLEMS = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_CORRUPT: Problem(N_("it is damaged")),
    sqlite3.SQLITE_FULL: Problem(N_("the disk is full")),
    sqlite3.SQLITE_NOTADB: _NOT_OURS,
    sqlite3.SQLITE_READONLY: Problem(N_("it is read-only")),
}
_PRIMARY_CODE = 0xFF
"""Low byte of an SQLite result code; the rest tells more about it."""
_WITH_ACCOUNTS = 0x416E7431
"""Application id of a `sessions.db` beside which `accounts.db` has been made ready; with a store of files it never
is."""

Result = TypeVar("Result")
Connect = Callable[[], "SqliteConnection"]


# --- opening ------------------------------------------------------------------------------------------------


async def open_sqlite(folder: Path) -> SqlStore:
    """Open the store in `folder`, which exists; missing files are made. Call `close` in the end.

    Several servers may share one folder.

    Raises:
        FolderUnsafe: another user can reach a file, or a symbolic link stands in its place.
        FolderUnusable: a file is no database of this program, damaged, of a newer version, or cannot be written;
            or the accounts are gone, and sessions of theirs are there.
        TryLater: everything is there, but cannot be opened now.
    """
    # The mark is read before the accounts and set after them: no crash and no other server comes between.
    expected = await asyncio.to_thread(_has_mark, folder / SESSIONS_FILE)
    accounts = await _open(folder / ACCOUNTS_FILE, ACCOUNTS_SCHEMA, "FULL", expected=expected)
    try:
        return SqlStore(accounts, await open_sessions(folder, mark=True))
    except BaseException:
        await accounts.close()
        raise


async def open_sessions(folder: Path, *, mark: bool = False) -> "SqliteDatabase":
    """Open the database of `folder` for sessions alone, and what belongs to them. It raises as `open_sqlite`.

    With `mark` it is noted there that `accounts.db` is ready beside it, and must not be missing from now on.
    """
    # Accounts must survive everything; a lost session costs its user one more sign-in.
    return await _open(folder / SESSIONS_FILE, SESSIONS_SCHEMA, "NORMAL", mark=mark)


async def _open(
    path: Path,
    schema: MetaData,
    synchronous: Literal["FULL", "NORMAL"],
    *,
    expected: bool = False,
    mark: bool = False,
) -> "SqliteDatabase":
    copy = await asyncio.to_thread(prepare, path, schema, expected=expected, mark=mark)
    return await SqliteDatabase.open(path, synchronous, copy)


# --- a connection -------------------------------------------------------------------------------------------


class SqliteConnection(sqlite3.Connection):
    """Connection of the driver, as `database.Connection`."""

    dialect: Final[Dialect] = SQLiteDialect_pysqlite(paramstyle="named")

    def begin_writing(self) -> None:
        """See `database.Connection`."""
        if not self.in_transaction:
            self.execute("BEGIN IMMEDIATE")

    def lock(self, lock: Lock, of: object = "", *, shared: bool = False) -> None:  # noqa: ARG002 - there is one writer
        """See `database.Connection`: one writer at a time has all locks."""
        self.begin_writing()

    def number_above(self, table: str, highest: int) -> None:
        """See `database.Connection`."""
        values = {"name": table, "seq": highest}
        if not self.execute("UPDATE sqlite_sequence SET seq = max(seq, :seq) WHERE name = :name", values).rowcount:
            self.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)", values)

    def notify(self, channel: str) -> None:
        """See `database.Connection`: a file tells nobody."""


class SqliteDatabase:
    """Database in a file, with one connection that is kept open: a pool costs more than the statements here."""

    def __init__(
        self, thread: StoreThread, connection: SqliteConnection, connect: Connect, copy: Path | None = None
    ) -> None:
        """Own an open connection and the thread that it belongs to; `open` makes both. `connect` makes another."""
        self._thread = thread
        self._connection = connection
        self._connect = connect
        self.copy = copy

    @classmethod
    async def open(cls, path: Path, synchronous: Literal["FULL", "NORMAL"], copy: Path | None = None) -> Self:
        """Open the file at `path`, which `prepare` has made ready; `copy` is what it returned.

        With `synchronous` FULL a committed transaction survives a loss of power; with NORMAL the last ones may be
        lost then, but none when only the process is killed.

        Raises:
            TryLater: it cannot be opened.
        """
        connect = partial(_connect, path, synchronous)
        thread = StoreThread(path.name)
        try:
            return cls(thread, await thread.do(connect), connect, copy)
        except sqlite3.Error as error:
            await thread.close()
            raise TryLater from error

    async def run(self, work: Callable[[SqliteConnection], Result], order: object = None) -> Result:  # noqa: ARG002 - all are carried out in order
        """See `database.Database`. The transaction begins with the first statement that writes (the driver's way).

        Raises:
            TryLater: the database is locked, full, damaged, frozen or closed.
        """
        try:
            return await self._thread.run(partial(self._transact, work))
        except sqlite3.Error as error:
            raise TryLater from error

    async def close(self) -> None:
        """See `database.Database`. A frozen transaction is left behind; the file is closed when it thaws."""
        await self._thread.close(self._connection.close)

    def direct(self) -> "SqliteDirect":
        """See `database.Database`."""
        return SqliteDirect(self._connect)

    async def listen(self, channel: str, heard: Callable[[], object]) -> None:
        """See `database.Database`: there is nothing to hear."""

    def _transact(self, work: Callable[[SqliteConnection], Result]) -> Result:
        with self._connection:
            return work(self._connection)


class SqliteDirect:
    """Connection of its own to the file of a database, used in the thread of the caller."""

    def __init__(self, connect: Connect) -> None:
        """Connect when it is first used."""
        self._connect = connect
        self._connection: SqliteConnection | None = None

    def run(self, work: Callable[[SqliteConnection], Result]) -> Result:
        """See `database.Direct`."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            with self._connection:
                return work(self._connection)
        except sqlite3.Error as error:
            raise TryLater from error

    def close(self) -> None:
        """See `database.Direct`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _connect(path: Path, synchronous: str) -> SqliteConnection:
    # One thread at a time, and not always the same one: a `SqliteDirect` may be closed by another.
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, factory=SqliteConnection, check_same_thread=False)
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


# --- making a file ready ------------------------------------------------------------------------------------


def prepare(path: Path, schema: MetaData, *, expected: bool = False, mark: bool = False) -> Path | None:
    """Make the database at `path` if it is missing: private to this user, in WAL mode, with its tables.

    One of an earlier version is upgraded in place; a copy of it stays, whose path is returned.

    It blocks: run it outside the event loop. Servers that start together wait for each other.

    Args:
        path: the file.
        schema: its tables.
        expected: it must be there, with its tables.
        mark: note in it that the accounts beside it are ready.

    Raises:
        FolderUnsafe: the file, or one that SQLite keeps beside it, is a symbolic link, another user's, or can be
            read or written by others.
        FolderUnusable: it is no database of this program, damaged, of a newer version, locked, or cannot be
            written; or it is `expected` and gone.
    """
    with _locked(path.parent / LOCK_FILE), reported_by_sqlite(path):
        _check_files(path)
        if expected and not path.exists():
            raise FolderUnusable(path=str(path), problem=_MISSING)
        # An existing file is never opened here: closing it would drop the locks that SQLite has on it (fcntl).
        make_private(path)  # SQLite would give it the umask's mode
        with _connected(path) as connection:
            copy = _make_tables(connection, path, schema, expected=expected)
            if mark and not _is_marked(connection):
                connection.exec_driver_sql(f"PRAGMA application_id = {_WITH_ACCOUNTS}")
    return copy


def version_of(path: Path) -> int | None:
    """Return the version of the tables of the database at `path`, None if there is none. It blocks.

    Raises:
        FolderUnsafe, FolderUnusable: as `prepare`.
    """
    with reported_by_sqlite(path):
        _check_files(path)
        if not path.exists():
            return None
        with _connected(path) as connection:
            return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one()) or None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock at `path`; what is wrong with it is reported under its own name."""
    lock = FileLock(path, timeout=LOCK_SECONDS, mode=0o600)
    with reported(path):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _connected(path: Path) -> contextlib.AbstractContextManager[sqlalchemy.Connection]:
    url = URL.create("sqlite", database=str(path))
    return create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS}).connect()


def _has_mark(path: Path) -> bool:
    """Return whether the sessions at `path` say that there are accounts beside them."""
    with reported_by_sqlite(path):
        _check_files(path)
        if not path.exists():
            return False
        with _connected(path) as connection:
            return _is_marked(connection)


def _is_marked(connection: sqlalchemy.Connection) -> bool:
    return bool(connection.exec_driver_sql("PRAGMA application_id").scalar_one() == _WITH_ACCOUNTS)


def _check_files(path: Path) -> None:
    """Refuse files that others can reach."""
    for suffix in _BESIDE:
        beside = path.with_name(path.name + suffix)
        with contextlib.suppress(FileNotFoundError):
            check_file(beside, beside.lstat())


def _make_tables(
    connection: sqlalchemy.Connection, path: Path, schema: MetaData, *, expected: bool
) -> Path | None:
    """Make the tables, or upgrade them; return the copy that was made before an upgrade."""
    copy = None
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if version > SCHEMA_VERSION:
        raise FolderUnusable(path=str(path), problem=_NEWER)
    if version == SCHEMA_VERSION:
        return None
    if version >= OLDEST:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # all changes and the version, or nothing
        copy = keep_copy(path, version, BUSY_SECONDS)  # of what is upgraded: nobody else writes meanwhile
        upgrade(connection.exec_driver_sql, schema.tables, version)
    elif connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
        raise FolderUnusable(path=str(path), problem=_NOT_OURS)
    elif expected:
        raise FolderUnusable(path=str(path), problem=_EMPTY)
    else:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar()
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # all tables and the version, or nothing
        schema.create_all(connection, checkfirst=False)
        for table, statements in BESIDE_TABLES.items():
            for statement in statements if table in schema.tables else ():
                connection.exec_driver_sql(statement)
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.commit()
    return copy


@contextlib.contextmanager
def reported_by_sqlite(path: Path) -> Iterator[None]:
    """Turn errors of the system, the lock and SQLite into the error that names `path` and the problem."""
    try:
        with reported(path):
            yield
    except DBAPIError as error:
        raise _unusable(path, error.orig) from error
    except sqlite3.Error as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: BaseException | None) -> FolderUnusable:
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
    return FolderUnusable(path=str(path), problem=_PROBLEMS.get(code, str(error)))
