"""Failures that several servers count together, and a table that does not grow for ever."""

import asyncio
import math
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from antiphon.identity.throttle import MOST_FAILURES, kept_until
from antiphon.store.contracts import COUNTED_NAMES
from antiphon.store.sql import open_sqlite
from antiphon.store.sql.failures import TRIM_EVERY
from support.retried import retry_everything

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN, AWAY = b"a" * 32, b"x" * 32


@pytest.mark.parametrize("known", [False, True])
async def test_of_fifty_attempts_at_two_servers_at_once_five_pass(tmp_path: Path, known: bool) -> None:
    stores = [await open_sqlite(tmp_path) for _ in range(2)]
    if known:
        await stores[0].failures.succeeded(ANN, AWAY, NOON)
    waits = await asyncio.gather(*(stores[n % 2].failures.attempt(ANN, AWAY, NOON) for n in range(50)))
    for store in stores:
        await store.close()
    assert (waits.count(0), waits.count(1)) == (5, 45)


def number_of(at: datetime) -> int:
    """Return a time as the database keeps it."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def crowd(folder: Path, failures: int, first: datetime, names: list[bytes]) -> None:
    """Put names into the table that failed so often, one a second."""
    with closing(sqlite3.connect(folder / "sessions.db")) as database, database:
        times = ((name, first + timedelta(seconds=number)) for number, name in enumerate(names))
        rows = ((name, failures, number_of(at), number_of(kept_until(failures, at))) for name, at in times)
        database.executemany(
            "INSERT INTO failures (name, failures, failed_at, kept_until) VALUES (?, ?, ?, ?)", rows
        )


def names_in(folder: Path) -> set[bytes]:
    with closing(sqlite3.connect(folder / "sessions.db")) as database:
        return {name for (name,) in database.execute("SELECT name FROM failures")}


@pytest.mark.parametrize("retried", [False, True])
async def test_the_table_is_bounded_and_of_names_that_failed_as_often_the_oldest_makes_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, retried: bool
) -> None:
    if retried:
        retry_everything(monkeypatch)
    await (await open_sqlite(tmp_path)).close()
    crowded = [b"%d" % number for number in range(COUNTED_NAMES)]
    crowd(tmp_path, 1, NOON - timedelta(days=1), crowded)
    store = await open_sqlite(tmp_path)
    names = [b"new %d" % number for number in range(3 * TRIM_EVERY)]
    for number, name in enumerate(names):
        await store.failures.attempt(name, AWAY, NOON + timedelta(seconds=number))
    await store.close()
    left = names_in(tmp_path)
    assert COUNTED_NAMES <= len(left) <= COUNTED_NAMES + TRIM_EVERY
    assert left.issuperset(names)
    gone = set(crowded) - left
    assert gone == set(crowded[: len(gone)])
    assert len(gone) == 2 * TRIM_EVERY + 1  # trimmed at the 1st, the 65th and the 129th


async def test_names_that_failed_often_outlast_new_ones_and_a_locked_name_outlasts_all(tmp_path: Path) -> None:
    await (await open_sqlite(tmp_path)).close()
    crowded = [b"%d" % number for number in range(COUNTED_NAMES)]
    crowd(tmp_path, 7, NOON, crowded)
    crowd(tmp_path, MOST_FAILURES, NOON - timedelta(days=10_000), [ANN])
    store = await open_sqlite(tmp_path)
    for number in range(TRIM_EVERY):
        await store.failures.attempt(b"new %d" % number, AWAY, NOON + timedelta(seconds=number))
    await store.failures.attempt(b"last", AWAY, NOON)  # this one trims
    assert await store.failures.attempt(ANN, AWAY, NOON + timedelta(days=1)) == math.inf
    await store.close()
    assert len(set(crowded) - names_in(tmp_path)) <= 1  # pushed out by ann, which is kept longer


async def test_names_that_were_refused_without_a_failure_make_way_first(tmp_path: Path) -> None:
    """Broken first messages cost no attempt: they must push out nothing but one another."""
    await (await open_sqlite(tmp_path)).close()
    crowded = [b"%d" % number for number in range(COUNTED_NAMES)]
    crowd(tmp_path, 1, NOON - timedelta(days=30), crowded)
    store = await open_sqlite(tmp_path)
    for number in range(2 * TRIM_EVERY + 1):
        await store.failures.refused(b"new %d" % number, NOON)
    await store.close()
    left = names_in(tmp_path)
    assert left.issuperset(crowded)
    assert len(left) <= COUNTED_NAMES + TRIM_EVERY
