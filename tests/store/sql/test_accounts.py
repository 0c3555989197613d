"""Accounts that several processes share, and one that is killed."""

import asyncio
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from antiphon.identity.names import prepare
from antiphon.store.sql import open_sqlite

KILLS = 10

REGISTRAR = """
import asyncio, datetime, pathlib, sys
from antiphon.errors import NameTaken
from antiphon.identity.names import prepare
from antiphon.store.sql import open_sqlite

async def main(folder, names):
    store = await open_sqlite(pathlib.Path(folder))
    print("ready", flush=True)
    sys.stdin.readline()
    now = datetime.datetime.now(datetime.UTC)
    for name in names:
        try:
            await store.accounts.register(prepare(name), lambda number, _: b"%d" % number, "type", now, "::1")
        except NameTaken:
            continue
        print(name, flush=True)
    await store.close()

folder, first, last = sys.argv[1:]
asyncio.run(main(folder, [f"n{number}" for number in range(int(first), int(last))]))
"""


def registrar(folder: Path, first: int, last: int) -> subprocess.Popen[str]:
    """Start a process that registers n<first>, n<first + 1>... and prints each name once it is kept."""
    process = subprocess.Popen(
        [sys.executable, "-c", REGISTRAR, str(folder), str(first), str(last)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_of_two_processes_that_register_the_same_names_one_gets_each(tmp_path: Path) -> None:
    processes = [registrar(tmp_path, 0, 100) for _ in range(2)]
    for process in processes:
        go(process)
    got = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(got[0] + got[1]) == sorted(f"n{number}" for number in range(100))


@pytest.mark.parametrize("seed", range(KILLS))
async def test_an_account_that_was_acknowledged_survives_a_kill(tmp_path: Path, seed: int) -> None:
    process = registrar(tmp_path, 0, 100_000)
    assert process.stdout is not None
    go(process)
    chance = random.Random(seed)
    acknowledged = [process.stdout.readline().strip() for _ in range(chance.randrange(1, 40))]
    await asyncio.sleep(chance.uniform(0, 0.005))  # so that the kill falls anywhere within a transaction
    process.kill()
    acknowledged += process.communicate(timeout=60)[0].split()
    store = await open_sqlite(tmp_path)
    found = [await store.accounts.find(name) for name in acknowledged]
    await store.close()
    assert [account and account.key for account in found] == acknowledged
    assert all(account and account.credential == b"%d" % account.id for account in found)


async def test_no_credential_of_an_account_is_left_out_where_a_batch_ends(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path)
    now = datetime.now(UTC)
    for name in ("ann", "bob"):
        await store.accounts.register(prepare(name), lambda *_: b"old", "one", now, "::1")
    with closing(sqlite3.connect(tmp_path / "accounts.db")) as database, database:
        database.execute("INSERT INTO credentials SELECT account_id, 'two', data, 0, NULL, NULL FROM credentials")
    after: int | None = 0
    while after is not None:
        after = (await store.accounts.reseal(lambda *_: b"new", after, 1)).last
    await store.close()
    with closing(sqlite3.connect(tmp_path / "accounts.db")) as database:
        assert database.execute("SELECT data, count(*) FROM credentials GROUP BY data").fetchall() == [(b"new", 4)]
