"""PostgreSQL below a store: connections that break, servers that are away, transactions that are tried again."""

import asyncio
import os
import threading
import time
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from antiphon.errors import TryLater
from antiphon.store.contracts import STORE_SECONDS, Store
from antiphon.store.opening import open_store
from antiphon.store.sql.postgres import connection as connection_module
from antiphon.store.sql.postgres.connection import IDLE_SECONDS, PostgresConnection
from antiphon.store.sql.postgres.database import THREADS, TRIES, PostgresDatabase, PostgresDirect
from store.test_accounts_contract import register
from support.postgres import Postgres
from support.stored import NOON, opened, process, record


@pytest.fixture
async def store(database: str, tmp_path: Path) -> AsyncIterator[Store]:
    made = await open_store(database, tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def engine(database: str) -> AsyncIterator[PostgresDatabase]:
    made = PostgresDatabase(database)
    yield made
    await made.close()


def cut_all(postgres: Postgres) -> int:
    """Have the server close every connection but this one; return how many there were."""
    with postgres.root() as root:
        cut = root.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'antiphon' AND pid <> pg_backend_pid()"
        )
        return len(cut.fetchall())


async def test_connections_that_broke_are_made_again_and_nobody_notices(store: Store, postgres: Postgres) -> None:
    account = await register(store.accounts, "ann")
    await store.processes.enter(process("one"))
    pulse = store.processes.pulse()
    assert pulse.beat("one") is not None
    await asyncio.gather(*(store.accounts.find("ann") for _ in range(4 * THREADS)))
    assert cut_all(postgres) >= 2
    found = await asyncio.gather(*(store.accounts.find("ann") for _ in range(4 * THREADS)))
    assert found == [account] * len(found)
    assert pulse.beat("one") == {"one": 3}
    pulse.close()


async def test_a_server_that_is_away_says_try_later_and_all_is_well_when_it_is_back(
    store: Store, postgres: Postgres
) -> None:
    await opened(store.sessions, record(b"one"))
    postgres.stop()
    try:
        began = time.monotonic()
        outcomes = await asyncio.gather(*(store.sessions.find(b"one") for _ in range(20)), return_exceptions=True)
        assert {type(each) for each in outcomes} == {TryLater}
        assert time.monotonic() - began < 3 * STORE_SECONDS  # on a busy machine
    finally:
        postgres.start(postgres.port)
    assert await store.sessions.find(b"one") == record(b"one")


async def test_a_row_that_another_program_has_locked_is_waited_for_no_longer_than_promised(
    store: Store, database: str
) -> None:
    await opened(store.sessions, record(b"one"))
    with psycopg.connect(database) as other:
        other.execute("SELECT FROM sessions FOR UPDATE")
        began = time.monotonic()
        with pytest.raises(TryLater):
            await store.sessions.revoke(b"one", "revoked", NOON)
        assert time.monotonic() - began < 3 * STORE_SECONDS  # on a busy machine
    assert await store.sessions.revoke(b"one", "revoked", NOON) is True


async def test_a_transaction_that_another_one_prevents_is_tried_a_few_times(engine: PostgresDatabase) -> None:
    tries = 0

    def work(connection: PostgresConnection) -> int:
        nonlocal tries
        tries += 1
        if tries < TRIES:
            connection.execute("DO $$ BEGIN RAISE 'conflict' USING ERRCODE = 'serialization_failure'; END $$")
        return tries

    assert await engine.run(work) == TRIES
    tries = -1
    with pytest.raises(TryLater):
        await engine.run(work)
    assert tries == TRIES - 1


async def test_nothing_is_left_of_a_transaction_that_failed(engine: PostgresDatabase) -> None:
    def fail(connection: PostgresConnection) -> None:
        connection.execute("UPDATE antiphon SET place = 'nowhere'")
        raise LookupError

    with pytest.raises(LookupError):
        await engine.run(fail)
    found = await engine.run(lambda connection: connection.execute("SELECT place FROM antiphon").fetchall())
    assert found == [(None,)]


@pytest.mark.parametrize("committed", [False, True])
def test_a_transaction_is_not_tried_again_once_it_may_have_been_committed(
    database: str, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    commit = PostgresConnection.commit
    direct = PostgresDirect(database)
    direct.run(lambda _: None)

    def lose(connection: PostgresConnection) -> None:
        if committed:
            commit(connection)
        connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(PostgresConnection, "commit", lose)
    tries: list[object] = []
    with pytest.raises(TryLater):
        direct.run(tries.append)
    assert len(tries) == 1
    direct.close()


def test_a_process_that_is_frozen_within_a_transaction_does_not_keep_its_locks(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = connection_module._BEGIN.replace(f"{IDLE_SECONDS * 1000:.0f}".encode(), b"100")
    monkeypatch.setattr(connection_module, "_BEGIN", brief)
    frozen, other = PostgresDirect(database), PostgresDirect(database)
    changed: list[int] = []

    def change(connection: PostgresConnection) -> int:
        return connection.execute("UPDATE antiphon SET place = 'nowhere'").rowcount

    def change_and_freeze(connection: PostgresConnection) -> None:
        change(connection)
        changed.append(other.run(change))  # it waits for the row

    with pytest.raises(TryLater):
        frozen.run(change_and_freeze)
    assert changed == [1]
    for direct in (frozen, other):
        direct.close()


async def test_calls_with_one_order_do_not_overtake_each_other(engine: PostgresDatabase) -> None:
    done: list[int] = []
    others_are_done = threading.Event()

    def work(connection: PostgresConnection, number: int) -> None:
        if number == 0:
            others_are_done.wait(0.2)
        done.append(number)
        if len(done) == THREADS - 1:
            others_are_done.set()

    def call(number: int, order: object = None) -> asyncio.Future[None]:
        return asyncio.ensure_future(engine.run(lambda connection: work(connection, number), order))

    await asyncio.gather(*(call(number, b"one") for number in range(THREADS)))
    assert done == [*range(THREADS)]


async def test_calls_without_an_order_do_not_wait_for_each_other(engine: PostgresDatabase) -> None:
    together = threading.Barrier(THREADS)
    await asyncio.gather(*(engine.run(lambda _: together.wait(2)) for _ in range(THREADS)))


async def test_texts_are_sorted_by_code_points_whatever_the_database_does(engine: PostgresDatabase) -> None:
    statement = (
        "SELECT DISTINCT collname FROM pg_attribute JOIN pg_collation ON attcollation = pg_collation.oid"
        " JOIN pg_class ON attrelid = pg_class.oid WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    assert await engine.run(lambda connection: connection.execute(statement).fetchall()) == [("C",)]


async def test_a_child_of_a_fork_has_no_part_in_the_connections(engine: PostgresDatabase) -> None:
    assert await engine.run(lambda connection: connection.execute("SELECT 1").fetchall()) == [(1,)]
    (descriptor,) = (
        each._connection._driver.fileno() for each in engine._connections.values() if each._connection
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the child does nothing that threads could have locked
        child = os.fork()
    if not child:
        os._exit(os.fstat(descriptor).st_rdev == Path(os.devnull).stat().st_rdev)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert await engine.run(lambda connection: connection.execute("SELECT 1").fetchall()) == [(1,)]
