"""Failures that several servers count together, and a table that does not grow for ever."""

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

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
    assert sorted(waits) == [0] * 5 + [1] * 45


@pytest.mark.parametrize("retried", [False, True])
async def test_the_table_is_bounded_and_the_name_that_failed_longest_ago_makes_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, retried: bool
) -> None:
    if retried:
        retry_everything(monkeypatch)
    await (await open_sqlite(tmp_path)).close()
    with sqlite3.connect(tmp_path / "sessions.db") as database:
        rows = ((b"%d" % number, number) for number in range(COUNTED_NAMES))
        database.executemany("INSERT INTO failures VALUES (?, 7, ?)", rows)
    store = await open_sqlite(tmp_path)
    names = [b"new %d" % number for number in range(3 * TRIM_EVERY)]
    for number, name in enumerate(names):
        await store.failures.attempt(name, AWAY, NOON + timedelta(seconds=number))
    await store.close()
    left = {name for (name,) in database.execute("SELECT name FROM failures")}
    database.close()
    assert COUNTED_NAMES <= len(left) <= COUNTED_NAMES + TRIM_EVERY
    assert left.issuperset(names)
    gone = {b"%d" % number for number in range(COUNTED_NAMES)} - left
    assert gone == {b"%d" % number for number in range(len(gone))}
    assert len(gone) == 2 * TRIM_EVERY + 1  # trimmed at the 1st, the 65th and the 129th
