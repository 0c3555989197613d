"""PostgreSQL below a store, behind a network that loses everything without a word."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import pytest

from antiphon.errors import TryLater
from antiphon.store.contracts import STORE_SECONDS
from antiphon.store.sql.database import POLLS
from antiphon.store.sql.postgres.connection import PostgresConnection
from antiphon.store.sql.postgres.database import THREADS, PostgresDatabase
from faults.proxy import DatabaseNetwork
from support.postgres import Postgres

PATIENCE_SECONDS = 20.0


@pytest.fixture
async def network(postgres: Postgres) -> AsyncIterator[DatabaseNetwork]:
    made = DatabaseNetwork(postgres.port)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def engine(
    network: DatabaseNetwork, database: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PostgresDatabase]:
    monkeypatch.setenv("PGPASSWORD", "correct")
    name = database.rpartition("@/")[2].partition("?")[0]
    made = PostgresDatabase(f"postgresql://keeper@127.0.0.1:{network.port}/{name}")
    together = threading.Barrier(THREADS)
    await asyncio.gather(*(made.run(lambda _: together.wait(60)) for _ in range(THREADS)))  # each has a connection
    yield made
    await made.close()


def one(connection: PostgresConnection) -> object:
    return connection.execute("SELECT 1").fetchall()


async def test_a_network_that_loses_everything_keeps_nobody_waiting_and_is_used_when_it_is_back(
    engine: PostgresDatabase, network: DatabaseNetwork
) -> None:
    await network.cut("silent")
    began = time.monotonic()
    outcomes = await asyncio.gather(*(engine.run(one) for _ in range(4 * THREADS)), return_exceptions=True)
    assert {type(each) for each in outcomes} == {TryLater}
    assert time.monotonic() - began < 3 * STORE_SECONDS, "four that wait after each other take longer"
    waits = []
    for _ in range(3):  # nobody waits for what is known
        began = time.monotonic()
        with pytest.raises(TryLater):
            await engine.run(one)
        waits.append(time.monotonic() - began)
    assert min(waits) < 1.25, "half of what a transaction may take; a busy machine adds to some of the three"
    await network.heal()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await engine.run(one)
                break
            except TryLater:
                await asyncio.sleep(0.02)
    outcomes = await asyncio.gather(*(engine.run(one) for _ in range(4 * THREADS)))
    assert outcomes == [[(1,)]] * len(outcomes)


async def test_no_connection_that_is_dead_without_a_word_is_given_out(
    engine: PostgresDatabase, network: DatabaseNetwork
) -> None:
    await network.cut("silent")
    await network.heal()  # what was open stays dead
    outcomes = await asyncio.gather(*(engine.run(one) for _ in range(THREADS)), engine.run(one, POLLS))
    assert outcomes == [[(1,)]] * (THREADS + 1)


async def test_who_polls_does_not_wait_for_attempts_that_are_lost(
    engine: PostgresDatabase, network: DatabaseNetwork
) -> None:
    await network.cut("silent")
    polling = asyncio.ensure_future(engine.run(one, POLLS))
    async with asyncio.timeout(PATIENCE_SECONDS):
        before = network.taken
        while network.taken == before:
            await asyncio.sleep(0.01)
    await network.heal()  # the attempt that was begun never ends
    assert await polling == [(1,)]


async def test_who_polls_waits_for_nobody_else(engine: PostgresDatabase) -> None:
    done = threading.Event()
    others = [asyncio.ensure_future(engine.run(lambda _: done.wait(PATIENCE_SECONDS))) for _ in range(THREADS)]
    await asyncio.sleep(0)
    assert await engine.run(one, POLLS) == [(1,)]
    assert not any(other.done() for other in others)
    done.set()
    await asyncio.gather(*others)
