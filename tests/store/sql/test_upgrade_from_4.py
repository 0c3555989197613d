"""A database of version 4 is upgraded in place, a copy stays, and servers of version 4 may go on with it."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import FolderUnsafe, FolderUnusable
from antiphon.store.contracts import Claim
from antiphon.store.sql import SqlStore, open_sqlite
from antiphon.store.sql.schema import SCHEMA_VERSION
from support.documents import ROOT
from support.old_stores import dump_of, make_old, shape_of, version_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
FILES = ("accounts.db", "sessions.db")
OLD = "0123456789abcdef"
"""The server of version 4 that holds the first session."""
HELD, KEPT = b"h" * 32, b"k" * 32
SNAPSHOT = b"\x94\x02\x01\x90\x90"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The databases of a server of version 4: accounts Ann and bob, two sessions, a snapshot, an invitation."""
    make_old(tmp_path, 4)
    return tmp_path


def copy_in(folder: Path, name: str) -> Path:
    return folder / f"{name}.version-4"


# --- the upgrade --------------------------------------------------------------------------------------------


async def check_everything(store: SqlStore) -> None:
    """Check that all is there that the version before had written."""
    overviews = await store.accounts.overviews()
    assert [(each.id, each.name, each.key) for each in overviews] == [(1, "Ann", "ann"), (2, "bob", "bob")]
    account = await store.accounts.find("bob")
    assert account
    assert (account.credential, account.must_change) == (b"sealed for 2", True)
    sessions = {session.fingerprint: session for session in await store.sessions.all()}
    assert sessions.keys() == {HELD, KEPT}
    assert [(each.home, each.claim) for each in sessions.values()] == [(None, 0)] * 2
    assert (sessions[HELD].owner, sessions[KEPT].owner) == (OLD, None)
    assert [invitation.display for invitation in await store.invitations.all()] == ["cleo"]
    assert [client.display for client in await store.clients.at("192.0.2.1")] == ["dora"]
    assert await store.failures.refusals() == {b"b" * 32: 1}
    assert [entry.reason for entry in await store.revocations.entries(0)] == ["revoked"]
    assert await store.processes.all() == []


async def test_everything_is_kept(folder: Path) -> None:
    for copies in ([copy_in(folder, name) for name in FILES], []):  # the second time there is nothing to do
        store = await open_sqlite(folder)
        assert store.copies == copies
        await check_everything(store)
        await store.close()
    assert {version_of(folder / name) for name in FILES} == {SCHEMA_VERSION}


async def test_an_upgraded_database_is_as_a_new_one(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    new = tmp_path_factory.mktemp("new")
    for each in (folder, new):
        await (await open_sqlite(each)).close()
    for name in FILES:
        assert shape_of(folder / name) == shape_of(new / name)


async def test_sessions_of_the_version_before_are_claimed_with_their_snapshots(folder: Path) -> None:
    store = await open_sqlite(folder)
    assert await store.sessions.claim(KEPT, 0, "new", "::1", NOON) == Claim(1, 1, SNAPSHOT)
    assert await store.sessions.claim(HELD, 0, "new", "::1", NOON) == Claim(1, 2, None)
    (_, entry) = await store.revocations.entries(0)  # the server of version 4 reads it
    assert (entry.fingerprint, entry.owner, entry.reason) == (HELD, "new", "replaced")
    await store.close()


async def test_servers_that_start_together_upgrade_once(folder: Path) -> None:
    stores = await asyncio.gather(*(open_sqlite(folder) for _ in range(4)))
    for store in stores:
        await check_everything(store)
        await store.close()


@pytest.mark.parametrize("name", FILES)
async def test_a_newer_database_is_refused_and_kept(folder: Path, name: str) -> None:
    with closing(sqlite3.connect(folder / name)) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = dump_of(folder / name)
    with pytest.raises(FolderUnusable, match=f"{name} cannot be used: it is of a newer version"):
        await open_sqlite(folder)
    assert dump_of(folder / name) == before
    assert not copy_in(folder, name).exists()


# --- the copy -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o777])
async def test_a_private_copy_of_either_database_stays(folder: Path, umask: int) -> None:
    before = {name: dump_of(folder / name) for name in FILES}
    masked = os.umask(umask)
    try:
        await (await open_sqlite(folder)).close()
    finally:
        os.umask(masked)
    for name in FILES:
        copy = copy_in(folder, name)
        assert copy.stat().st_mode & 0o777 == 0o600
        assert (dump_of(copy), version_of(copy)) == (before[name], 4)
    names = {path.name.removesuffix("-wal").removesuffix("-shm") for path in folder.iterdir()}
    assert names == {*FILES, *(f"{name}.version-4" for name in FILES), "store.lock"}


async def test_a_copy_has_what_stands_only_in_the_write_ahead_log(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "accounts.db", isolation_level=None)) as running:
        running.execute("PRAGMA wal_autocheckpoint = 0")
        running.execute("UPDATE accounts SET display = 'BOB' WHERE id = 2")
        await (await open_sqlite(folder)).close()
        assert (folder / "accounts.db-wal").stat().st_size
    with closing(sqlite3.connect(copy_in(folder, "accounts.db"))) as copy:
        assert copy.execute("SELECT display FROM accounts WHERE id = 2").fetchone() == ("BOB",)


async def test_a_copy_that_is_there_is_kept(folder: Path) -> None:
    copy = copy_in(folder, "accounts.db")
    copy.touch(0o600)
    copy.write_bytes(b"first")
    await (await open_sqlite(folder)).close()
    assert copy.read_bytes() == b"first"
    assert version_of(folder / "accounts.db") == SCHEMA_VERSION


async def test_a_link_in_the_place_of_a_copy_is_refused(folder: Path) -> None:
    target = folder / "target"
    copy_in(folder, "sessions.db").symlink_to(target)
    with pytest.raises(FolderUnsafe, match="is a symbolic link"):
        await open_sqlite(folder)
    assert not target.exists()
    assert version_of(folder / "sessions.db") == 4


async def test_what_an_unfinished_copy_has_left_is_removed(folder: Path) -> None:
    target = folder / "target"
    target.write_bytes(b"another's")
    unfinished = folder / ".accounts.db.version-4.new"
    unfinished.symlink_to(target)
    unfinished.with_name(f"{unfinished.name}-journal").write_bytes(b"half")
    await (await open_sqlite(folder)).close()
    assert target.read_bytes() == b"another's"
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    assert version_of(copy_in(folder, "accounts.db")) == 4


async def test_without_a_copy_there_is_no_upgrade(folder: Path) -> None:
    (folder / ".sessions.db.version-4.new").mkdir()
    with pytest.raises(FolderUnusable, match=r"sessions\.db cannot be used"):
        await open_sqlite(folder)
    assert version_of(folder / "sessions.db") == 4


async def test_an_upgrade_that_is_killed_at_any_step_leaves_either_version_whole(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "support.upgrade_kills", "4", tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        timeout=200,
        check=True,
    )
    folders = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    seen = []
    shapes = {}
    for version, folder in ((4, folders[0]), (SCHEMA_VERSION, folders[-1])):
        shapes[version] = {name: shape_of(folder / name) for name in FILES}
    for folder in folders:
        versions = {name: version_of(folder / name) for name in FILES}
        seen.append(tuple(versions.values()))
        for name, version in versions.items():
            assert shape_of(folder / name) == shapes[version][name]
            assert version == 4 or version_of(copy_in(folder, name)) == 4
        store = await open_sqlite(folder)
        await check_everything(store)
        await store.close()
        assert [version_of(copy_in(folder, name)) for name in FILES] == [4, 4]
    assert set(seen) == {(4, 4), (SCHEMA_VERSION, 4), (SCHEMA_VERSION, SCHEMA_VERSION)}
    assert len(folders) > 10


# --- servers of version 4 that go on ------------------------------------------------------------------------


@pytest.fixture
def old_server(folder: Path) -> Iterator["OldServer"]:
    with closing(sqlite3.connect(folder / "sessions.db")) as connection:
        yield OldServer(connection)


class OldServer:
    """A server of version 4, with the statements that it executes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def open(self, fingerprint: bytes) -> None:
        """Open a session."""
        self._execute(
            "INSERT INTO sessions (fingerprint, account_id, name, epoch, opened_at, expires_at, seen_at, owner,"
            " address) VALUES (:fingerprint, 1, 'Ann', 0, 0, 9000000000000000, 0, :owner, '::1')",
            fingerprint=fingerprint,
        )

    def claim(self, fingerprint: bytes) -> None:
        """Take a session over, as version 4 does that knows no homes."""
        self._execute(
            "INSERT INTO revocations (fingerprint, owner, reason, at) SELECT fingerprint, :owner, 'replaced', 0"
            " FROM sessions WHERE fingerprint = :fingerprint AND owner != :owner",
            "UPDATE sessions SET seen_at = 0, owner = :owner, address = '::1' WHERE fingerprint = :fingerprint",
            fingerprint=fingerprint,
        )

    def release(self, fingerprint: bytes) -> None:
        """Say that no connection holds a session any more."""
        self._execute(
            "UPDATE sessions SET seen_at = 0, owner = NULL WHERE fingerprint = :fingerprint AND owner = :owner",
            fingerprint=fingerprint,
        )

    def take_snapshot(self, fingerprint: bytes) -> None:
        """Take the snapshot of a session."""
        self._execute("UPDATE sessions SET kept = NULL WHERE fingerprint = :fingerprint", fingerprint=fingerprint)

    def _execute(self, *statements: str, **values: Any) -> None:
        with self._connection:
            for statement in statements:
                self._connection.execute(statement, {"owner": OLD, **values})


async def test_a_server_of_version_4_goes_on_while_the_database_is_upgraded(
    folder: Path, old_server: OldServer
) -> None:
    old_server.claim(HELD)
    store = await open_sqlite(folder)
    old_server.release(HELD)
    old_server.open(b"new")
    found = await store.sessions.find(b"new")
    assert found
    assert (found.home, found.claim, found.owner) == (None, 0, OLD)
    assert await store.sessions.claim(b"new", 0, "second", "::1", NOON) == Claim(1, 2, None)
    await store.close()


@pytest.mark.parametrize("held", [True, False])
async def test_what_a_server_of_version_4_takes_its_home_has_lost(
    folder: Path, old_server: OldServer, held: bool
) -> None:
    store = await open_sqlite(folder)
    sessions = store.sessions
    await sessions.claim(KEPT, 0, "new", "::1", NOON)
    if not held:
        await sessions.released(KEPT, "new", 1, NOON)
    old_server.claim(KEPT)
    for _ in range(2):
        found = await sessions.find(KEPT)
        assert found
        assert (found.home, found.claim) == (None, 2)
        assert await sessions.hold(KEPT, "new", 1, owner="new", address="::1", at=NOON) is None
        assert await sessions.hand_on(KEPT, "new", 1, b"late", NOON) is False
        old_server.release(KEPT)  # and nothing looks as if it had ever been away
    claim = await sessions.claim(KEPT, 2, "new", "::1", NOON)
    assert claim is not None
    assert (claim.number, claim.snapshot) == (3, SNAPSHOT)
    await store.close()


async def test_a_session_moves_from_version_5_to_version_4_and_back(folder: Path, old_server: OldServer) -> None:
    store = await open_sqlite(folder)
    await store.sessions.claim(KEPT, 0, "new", "::1", NOON)
    await store.sessions.hand_on(KEPT, "new", 1, b"kept", NOON)
    old_server.claim(KEPT)
    await store.sessions.end(KEPT, "new", 1)
    old_server.take_snapshot(KEPT)
    claim = await store.sessions.claim(KEPT, 1, "new", "::1", NOON)
    assert claim is not None
    assert (claim.number, claim.snapshot) == (2, None)
    found = await store.sessions.find(KEPT)
    assert found
    assert (found.home, found.owner) == ("new", "new")
    await store.close()
