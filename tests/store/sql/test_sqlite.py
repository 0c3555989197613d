"""Faults below a store, and what SQLite was told."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from antiphon.errors import FolderUnusable, TryLater
from antiphon.store.contracts import STORE_SECONDS, Account
from antiphon.store.sql import SqlStore, open_sqlite, sqlite
from antiphon.store.sql.sqlite import SqliteDatabase
from store.test_accounts_contract import NOON, register

CONNECT = sqlite._connect

LOCKER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    opened = await open_sqlite(tmp_path)
    yield opened
    await opened.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process holds the database at `path`."""
    command = [sys.executable, "-c", LOCKER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as locker:
        assert locker.stdout is not None
        assert locker.stdout.readline() == "locked\n"
        yield
        locker.communicate()


def database_of(part: Any) -> SqliteDatabase:
    """Return the database below one contract."""
    database = part._database
    assert isinstance(database, SqliteDatabase)
    return database


class Ice:
    """What freezes a database, as a disk does that no longer answers."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._loop = asyncio.get_running_loop()
        self.frozen = asyncio.Event()
        self.thaw = threading.Event()

    @classmethod
    async def on(cls, database: SqliteDatabase) -> Self:
        ice = cls(database)

        await database.run(lambda connection: connection.create_function("freeze", 0, ice._wait))
        return ice

    async def freeze(self, *statements: str) -> None:
        """Execute `statements`, which call `freeze()`, in one transaction."""

        def work(connection: sqlite3.Connection) -> None:
            for statement in statements or ("SELECT freeze()",):
                connection.execute(statement).fetchall()

        await self._database.run(work)

    def _wait(self) -> int:
        self._loop.call_soon_threadsafe(self.frozen.set)
        return self.thaw.wait(60)


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


async def test_accounts_are_synchronised_in_full_and_sessions_normally(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, normal = 2, 1
    monkeypatch.setattr(sqlite, "_connect", CONNECT)  # not as the other tests have it, which wait for no disk
    store = await open_sqlite(tmp_path)
    for database, synchronous in ((database_of(store.accounts), full), (database_of(store.sessions), normal)):
        assert await database.run(lambda connection: pragma(connection, "journal_mode")) == "wal"
        assert await database.run(lambda connection: pragma(connection, "synchronous")) == synchronous
        assert await database.run(lambda connection: pragma(connection, "foreign_keys")) == 1
    await store.close()


async def test_a_credential_without_an_account_is_refused(store: SqlStore) -> None:
    statement = "INSERT INTO credentials (account_id, type, data) VALUES (1, 'type', x'00')"
    with pytest.raises(TryLater):
        await database_of(store.accounts).run(lambda connection: connection.execute(statement))


async def test_a_locked_database_can_be_read_and_says_try_later_to_writers(
    store: SqlStore, tmp_path: Path
) -> None:
    account = await register(store.accounts, "ann")
    with locked(tmp_path / "accounts.db"):
        assert await store.accounts.find("ann") == account
        began = time.monotonic()
        with pytest.raises(TryLater) as raised:
            await register(store.accounts, "bob")
        assert time.monotonic() - began < 3 * STORE_SECONDS  # on a busy machine
        assert "locked" in str(raised.value.__cause__)
        assert "locked" not in str(raised.value)
    assert await register(store.accounts, "bob") == await store.accounts.find("bob")


async def test_everybody_who_waits_for_a_locked_database_is_told_in_time(store: SqlStore, tmp_path: Path) -> None:
    account = await register(store.accounts, "ann")
    with locked(tmp_path / "accounts.db"):
        began = time.monotonic()
        calls = (store.accounts.set_disabled(account.id, disabled=True) for _ in range(20))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - began < 3 * STORE_SECONDS  # on a busy machine
        assert {type(outcome) for outcome in outcomes} == {TryLater}


async def test_a_database_that_is_locked_at_the_start_is_named(tmp_path: Path) -> None:
    (tmp_path / "accounts.db").touch(0o600)
    with (
        locked(tmp_path / "accounts.db"),
        pytest.raises(FolderUnusable, match="cannot be used: another process keeps it locked"),
    ):
        await open_sqlite(tmp_path)


async def test_a_frozen_database_says_try_later_and_works_again_when_it_thaws(store: SqlStore) -> None:
    account = await register(store.accounts, "ann")
    ice = await Ice.on(database_of(store.accounts))
    began = time.monotonic()
    try:
        calls = (store.accounts.set_disabled(account.id, disabled=True) for _ in range(5))
        outcomes = await asyncio.gather(ice.freeze(), *calls, return_exceptions=True)
        assert time.monotonic() - began < 3 * STORE_SECONDS  # on a busy machine
        assert {type(outcome) for outcome in outcomes} == {TryLater}
    finally:
        ice.thaw.set()
    await store.accounts.visited(account, NOON, "::1")
    assert await store.accounts.find("ann") == account


async def test_what_was_given_up_while_waiting_is_not_done_later(store: SqlStore) -> None:
    account = await register(store.accounts, "ann")
    ice = await Ice.on(database_of(store.accounts))
    frozen = asyncio.create_task(ice.freeze())
    try:
        await ice.frozen.wait()
        with pytest.raises(TryLater):
            await store.accounts.set_disabled(account.id, disabled=True)
    finally:
        ice.thaw.set()
    await asyncio.gather(frozen, return_exceptions=True)
    assert await store.accounts.find("ann") == account


async def test_a_frozen_database_does_not_keep_a_server_from_closing(store: SqlStore) -> None:
    ice = await Ice.on(database_of(store.accounts))
    frozen = asyncio.create_task(ice.freeze())
    await ice.frozen.wait()
    began = time.monotonic()
    try:
        await store.close()
        assert time.monotonic() - began < 3 * STORE_SECONDS  # on a busy machine
    finally:
        ice.thaw.set()
    with pytest.raises(TryLater):
        await frozen
    with pytest.raises(TryLater):
        await store.accounts.find("ann")


async def test_a_transaction_is_finished_although_nobody_waits_for_it(store: SqlStore) -> None:
    ice = await Ice.on(database_of(store.accounts))
    asked = asyncio.create_task(
        ice.freeze("CREATE TABLE kept (one INTEGER)", "INSERT INTO kept VALUES (1)", "SELECT freeze()")
    )
    await ice.frozen.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    ice.thaw.set()
    count = await database_of(store.accounts).run(lambda c: c.execute("SELECT one FROM kept").fetchone())
    assert count == (1,)


async def test_a_full_disk_says_try_later_and_works_again_when_there_is_room(store: SqlStore) -> None:
    database = database_of(store.accounts)
    await database.run(
        lambda connection: pragma(connection, "max_page_count = 1")
    )  # SQLite makes it the present size
    outcome: Account | BaseException | None = None
    for number in range(1000):
        outcome = (await asyncio.gather(register(store.accounts, f"n{number}"), return_exceptions=True))[0]
        if isinstance(outcome, BaseException):
            break
    assert isinstance(outcome, TryLater)
    assert "full" in str(outcome.__cause__)
    assert await store.accounts.find("n0") is not None
    await database.run(lambda connection: pragma(connection, "max_page_count = 1000000"))
    assert (await register(store.accounts, "ann")).key == "ann"


async def test_a_damaged_database_says_try_later(tmp_path: Path) -> None:
    before = await open_sqlite(tmp_path)
    await register(before.accounts, "ann")
    await before.close()
    path = tmp_path / "accounts.db"
    page = sqlite3.connect(path)
    size, pages = page.execute("PRAGMA page_size").fetchone()[0], page.execute("PRAGMA page_count").fetchone()[0]
    page.close()
    with path.open("r+b") as file:  # all but the first page, which holds the version and the tables' names
        file.seek(size)
        file.write(b"\xff" * size * (pages - 1))
    store = await open_sqlite(tmp_path)
    try:
        with pytest.raises(TryLater):
            await store.accounts.find("ann")
    finally:
        await store.close()


def test_the_contracts_do_not_import_sqlalchemy() -> None:
    code = "import sys, antiphon.store.contracts; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
