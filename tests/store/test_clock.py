"""The clock of a store: of several machines on one database none is right, and all agree."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from antiphon.store.clock import NEAR_SECONDS, StoreClock
from antiphon.store.opening import open_store
from antiphon.store.sql import open_sqlite
from support.stored import process

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


class Times:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_without_a_database_it_is_the_clock_of_this_machine() -> None:
    wall = [NOON]
    clock = StoreClock(lambda: wall[0], Times())
    assert clock.now() == NOON
    wall[0] += HOUR
    assert clock.now() == NOON + HOUR


def test_it_follows_the_database_and_this_machine_s_monotonic_clock_in_between() -> None:
    times = Times()
    clock = StoreClock(lambda: NOON + HOUR, times)
    clock.follow(lambda: NOON)
    times.now += 5
    assert clock.now() == NOON + 5 * SECOND
    clock.follow(lambda: NOON + 7 * SECOND)  # the database's clock was set
    assert clock.now() == NOON + 7 * SECOND


def test_an_answer_counts_from_the_midst_of_its_time_and_a_late_one_not_at_all() -> None:
    times = Times()
    clock = StoreClock(lambda: NOON + HOUR, times)

    def answer(at: datetime, after: float) -> datetime:
        times.now += after
        return at

    clock.follow(lambda: answer(NOON, NEAR_SECONDS))
    assert clock.now() == NOON + SECOND * NEAR_SECONDS / 2
    before = clock.now()
    clock.follow(lambda: answer(NOON + HOUR, NEAR_SECONDS * 10))  # this process was frozen, before or after it
    assert clock.now() == before + SECOND * NEAR_SECONDS * 10


def test_an_error_changes_nothing() -> None:
    clock = StoreClock(lambda: NOON, Times())
    with pytest.raises(psycopg.OperationalError):
        clock.follow(lambda: _raise(psycopg.OperationalError()))
    assert clock.now() == NOON


def _raise(error: Exception) -> datetime:
    raise error


async def test_a_shared_database_has_one_time_for_all(database: str, tmp_path: Path) -> None:
    """From the opening on, and again with each heartbeat."""
    store = await open_store(database, tmp_path)
    clock = store.now.__self__  # type: ignore[attr-defined] # `StoreClock`
    true = datetime.now(UTC)
    clock._wall = lambda: true + HOUR
    assert abs(store.now() - true) < HOUR / 60
    clock.follow(lambda: NOON)
    assert abs(store.now() - NOON) < HOUR / 60
    await store.processes.enter(process("one"))
    pulse = store.processes.pulse()
    pulse.beat("one")
    assert abs(store.now() - true) < HOUR / 60
    pulse.close()
    await store.close()


async def test_a_folder_has_the_time_of_its_machine(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path)
    assert abs(store.now() - datetime.now(UTC)) < HOUR / 60
    await store.close()
