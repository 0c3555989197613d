"""The files of the SQLite store: whose they are, what they are, and who makes them."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.errors import FolderUnsafe, FolderUnusable
from antiphon.identity.names import prepare as name
from antiphon.store.sql import open_sqlite
from antiphon.store.sql.schema import SCHEMA_VERSION
from store.test_accounts_contract import NOON, register

FILES = ("accounts.db", "sessions.db")

OPENER = """
import asyncio, pathlib, sys
from antiphon.store.sql import open_sqlite

async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    store = await open_sqlite(pathlib.Path(sys.argv[1]))
    assert await store.accounts.find("ann") is None
    await store.close()

asyncio.run(main())
"""


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777], indirect=True)
async def test_every_file_is_private_whatever_the_umask(umask: None, tmp_path: Path) -> None:
    folder = tmp_path
    store = await open_sqlite(folder)
    await register(store.accounts, "ann")
    await store.sessions.end(b"none", "nobody", 1)
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    await store.close()
    assert {"accounts.db", "accounts.db-wal", "accounts.db-shm"} < modes.keys()
    assert {"sessions.db", "sessions.db-wal", "sessions.db-shm"} < modes.keys()
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
async def test_a_symbolic_link_in_the_place_of_a_file_is_refused(tmp_path: Path, file: str, suffix: str) -> None:
    target = tmp_path / "target"
    (tmp_path / f"{file}{suffix}").symlink_to(target)
    with pytest.raises(FolderUnsafe, match="is a symbolic link"):
        await open_sqlite(tmp_path)
    assert not target.exists()


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o602])
async def test_a_file_that_others_can_reach_is_refused(tmp_path: Path, file: str, mode: int) -> None:
    await (await open_sqlite(tmp_path)).close()
    (tmp_path / file).chmod(mode)
    with pytest.raises(FolderUnsafe, match="can be read or written by others"):
        await open_sqlite(tmp_path)


async def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "accounts.db").mkdir()
    with pytest.raises(FolderUnsafe, match="is not a plain file"):
        await open_sqlite(tmp_path)


@pytest.mark.parametrize("file", FILES)
async def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path, file: str) -> None:
    path = tmp_path / file
    path.write_bytes(b"name;password\n" * 100)
    path.chmod(0o600)
    with pytest.raises(FolderUnusable, match="not a database of this program"):
        await open_sqlite(tmp_path)
    assert path.read_bytes() == b"name;password\n" * 100


async def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE bookmarks (place TEXT)")
    other.close()
    path.chmod(0o600)
    with pytest.raises(FolderUnusable, match="not a database of this program"):
        await open_sqlite(tmp_path)


@pytest.mark.parametrize("file", FILES)
async def test_a_database_of_a_newer_version_is_refused_and_kept(tmp_path: Path, file: str) -> None:
    await (await open_sqlite(tmp_path)).close()
    database = sqlite3.connect(tmp_path / file)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.close()
    with pytest.raises(FolderUnusable, match=f"{file} cannot be used: it is of a newer version"):
        await open_sqlite(tmp_path)


async def test_what_was_kept_is_there_when_opened_again(tmp_path: Path) -> None:
    first = await open_sqlite(tmp_path)
    account = await register(first.accounts, "ann")
    await first.close()
    second = await open_sqlite(tmp_path)
    assert await second.accounts.find("ann") == account
    await second.close()


async def test_a_number_is_not_given_again_when_its_account_is_gone(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path)
    gone = await register(store.accounts, "ann")
    database = sqlite3.connect(tmp_path / "accounts.db")
    with database:
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("DELETE FROM accounts")
    database.close()
    assert (await register(store.accounts, "ann")).id > gone.id
    await store.close()


async def test_two_stores_of_one_process_open_a_fresh_folder_at_once(tmp_path: Path) -> None:
    one, two = await asyncio.gather(open_sqlite(tmp_path), open_sqlite(tmp_path))
    account = await one.accounts.register(name("ann"), lambda *_: b"sealed", "type", NOON, "::1")
    assert await two.accounts.find("ann") == account
    await one.close()
    await two.close()


@pytest.mark.parametrize("attempt", range(3))
def test_four_processes_open_a_fresh_folder_at_once(tmp_path: Path, attempt: int) -> None:
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for opener in openers:
        assert opener.stdout is not None
        assert opener.stdout.readline() == "ready\n"
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write("\n")
        opener.stdin.flush()
    for opener in openers:
        opener.communicate(timeout=60)
    assert [opener.returncode for opener in openers] == [0] * 4
