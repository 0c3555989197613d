"""A backup that is restored into another kind of store: all of it moves, or nothing."""

import asyncio
import contextlib
import errno
import os
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from antiphon.data.backup import back_up
from antiphon.data.belonging import open_with_ring
from antiphon.data.credentials import seal, unseal
from antiphon.data.empty_folder import UNFINISHED
from antiphon.data.folder import DataFolder
from antiphon.data.restore import Backup, restore_backup
from antiphon.data.store_note import noted_store
from antiphon.errors import (
    AntiphonError,
    BackupRefused,
    DatabaseUnreachable,
    FolderUnusable,
    KeyRingElsewhere,
    RestoreRefused,
)
from antiphon.identity.names import prepare
from antiphon.store.contracts import NewAccount, Store
from antiphon.store.copied import Told
from antiphon.store.sql.postgres.connection import PostgresConnection
from antiphon.wire.bodies import SCRAM_SHA_256
from support.rekey_kills import forked
from support.serving import verifier

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)


async def people(store: Store) -> list[Any]:
    """Return everything that a backup saves of a store, but for the credentials."""
    return [
        await store.accounts.overviews(),
        await store.accounts.old_forms(AT),
        await store.clients.all(),
        await store.invitations.all(),
    ]


async def settle(data: Path, kept_in: str) -> list[Any]:
    """Fill a new store with one of everything; return it."""
    folder = DataFolder.open(data)
    store, ring = await open_with_ring(kept_in, folder, os.urandom)

    def new(name: str, **marks: Any) -> NewAccount:
        return NewAccount(
            name=prepare(name),
            seal=lambda number, key: seal(ring, verifier(), number, key, os.urandom),
            credential_type=SCRAM_SHA_256,
            **marks,
        )

    try:
        accounts = store.accounts
        ann, bea, old, gone = await accounts.add(
            [
                new("ann"),
                new("Béa", must_change=True),
                new("old", expires_at=AT + timedelta(days=9), old_form="md5"),
                new("gone"),
            ],
            AT,
            "192.0.2.7",
        )
        await accounts.set_administrator(ann.id, administrator=True)
        await accounts.set_disabled(bea.id, disabled=True)
        await accounts.visited(ann, AT + timedelta(seconds=1.5), "2001:db8::1")
        await accounts.rename(old.id, prepare("Older"))
        await accounts.remove(gone.id)
        await store.clients.visited("192.0.2.7", prepare("ann"), AT, 9)
        await store.invitations.invite(b"used", prepare("dora"), AT, AT + timedelta(days=1), "operator")
        await accounts.register(
            prepare("dora"),
            lambda number, key: seal(ring, verifier(), number, key, os.urandom),
            SCRAM_SHA_256,
            AT,
            "192.0.2.8",
            invitation=b"used",
        )
        await accounts.remove((await found(store, "dora")).id)
        await store.invitations.invite(b"withdrawn", prepare("eve"), AT, AT + timedelta(days=1), "operator")
        await store.invitations.withdraw("eve")
        return await people(store)
    finally:
        await store.close()


async def found(store: Store, name: str) -> Any:
    account = await store.accounts.find(prepare(name).key)
    assert account is not None
    return account


class Move:
    """A store that has everything, its backup, and where it goes."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.data, self.new = folder / "data", folder / "new"
        self.file, self.keys = folder / "backup.tar", folder / "backup.keys"
        store = "sqlite" if kind == "sqlite" else f"files:{self.data}"
        self.people = asyncio.run(settle(self.data, store))
        self._store = store
        self.save()

    def save(self) -> None:
        """Make the backup, again if the store was changed."""
        back_up(DataFolder.open(self.data), self._store, self.file, self.keys, made_at=AT, force=True)

    async def to(self, store: str, new: Path | None = None, told: Told = lambda _done, _of: None) -> None:
        """Restore it into a store."""
        with self.file.open("rb") as accounts, self.keys.open("rb") as keys:
            backup = Backup(("backup.tar", accounts), ("backup.keys", keys))
            data = new or self.new
            await restore_backup(backup, data, backup.store_for(store, data), told)

    def refused(self, store: str, expected: type[AntiphonError]) -> str:
        """Return why it is not restored there; no folder is there then."""
        with pytest.raises(expected) as told:
            asyncio.run(self.to(store))
        assert not self.new.exists()
        return told.value.text()


async def check_moved(data: Path, before: list[Any]) -> None:
    """Check that all is in the store that the data folder notes, as it was before, with credentials that open."""
    noted = noted_store(data)
    assert noted is not None
    store, ring = await open_with_ring(noted, DataFolder.open(data), os.urandom, serving=True)
    try:
        assert await people(store) == before
        accounts = [await found(store, each.name) for each in before[0]]
        assert [unseal(ring, account) for account in accounts] == [verifier()] * 3
        visit = await store.accounts.visited(await found(store, "ann"), AT + timedelta(hours=1), "192.0.2.9")
        assert (visit and visit.at) == AT + timedelta(seconds=1.5)
        invitation = await store.invitations.invite(b"new", prepare("f"), AT, AT + timedelta(days=1), "operator")
        assert invitation.id == 3
        account = await store.accounts.register(
            prepare("zoe"), lambda number, key: b"sealed", SCRAM_SHA_256, AT, "192.0.2.9"
        )
        assert account.id == 6, "no number is given again, also not that of who was removed last"
    finally:
        await store.close()


@pytest.mark.parametrize(("kind", "target"), [("sqlite", "database"), ("files", "database"), ("files", "sqlite")])
def test_everything_moves_and_keeps_its_number_and_its_marks(
    tmp_path: Path, database: str, kind: str, target: str
) -> None:
    move = Move(tmp_path, kind)
    asyncio.run(move.to(database if target == "database" else target))
    there = {"accounts.db"} if target == "sqlite" else set()
    assert {path.name for path in move.new.iterdir()} == there | {"secret.key", "store"}
    asyncio.run(check_moved(move.new, move.people))


@pytest.fixture
def move(tmp_path: Path) -> Move:
    return Move(tmp_path, "sqlite")


def rows(database: str) -> int:
    """Return how many rows a restore has written there."""
    count = "SELECT (SELECT count(*) FROM accounts) + (SELECT count(ring) FROM antiphon)"
    with psycopg.connect(database) as connection:
        (number,) = connection.execute(count).fetchone() or (None,)
    assert isinstance(number, int)
    return number


def test_a_database_that_was_used_is_refused(move: Move, database: str, tmp_path: Path) -> None:
    other = DataFolder.open(tmp_path / "other")
    store, _ = asyncio.run(open_with_ring(database, other, os.urandom))
    asyncio.run(store.close())
    told = move.refused(database, RestoreRefused)
    assert told == f"Nothing can be restored into {database}: it has accounts, or a server has used it."
    assert rows(database) == 1, "that ring's mark is all that is there"


def test_of_two_at_once_one_has_the_database(move: Move, database: str, tmp_path: Path) -> None:
    async def both() -> list[BaseException | None]:
        folders = [tmp_path / "one", tmp_path / "two"]
        return await asyncio.gather(*(move.to(database, folder) for folder in folders), return_exceptions=True)

    told = asyncio.run(both())
    assert {type(each) for each in told} == {type(None), RestoreRefused}
    (taken,) = [folder for folder, each in zip(("one", "two"), told, strict=True) if each is None]
    asyncio.run(check_moved(tmp_path / taken, move.people))


def at_rename_of(name: str, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something when a file is to get this name."""
    rename = os.rename

    def renamed(old: Path, new: Path) -> None:
        if new.name == name:
            act()
        rename(old, new)

    monkeypatch.setattr(os, "rename", renamed)


def test_after_an_error_nothing_is_in_the_database(
    move: Move, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "full")

    at_rename_of("store", monkeypatch, fail)
    assert "the disk is full" in move.refused(database, FolderUnusable)
    assert rows(database) == 0


def end_connections(database: str) -> None:
    """End all connections to a database, as its operator can."""
    with psycopg.connect(database) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
        )


def test_a_connection_that_is_lost_is_told_as_that(
    move: Move, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_rename_of("store", monkeypatch, lambda: end_connections(database))
    assert "cannot be reached: the connection to it was lost." in move.refused(database, DatabaseUnreachable)
    assert rows(database) == 0


def test_a_commit_whose_answer_is_lost_has_happened(
    move: Move, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = PostgresConnection.commit

    def unanswered(self: PostgresConnection) -> None:
        commit(self)
        if rows(database) and not self.lost:
            monkeypatch.setattr(PostgresConnection, "commit", commit)
            self.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(PostgresConnection, "commit", unanswered)
    asyncio.run(move.to(database))
    assert PostgresConnection.commit is commit
    asyncio.run(check_moved(move.new, move.people))


async def cancelled(move: Move, database: str, when: Callable[[Callable[[], object]], Told]) -> None:
    """Restore, and cancel that from its thread; `when` gets what cancels, and returns what is told of the work."""
    loop, seen = asyncio.get_running_loop(), threading.Event()

    def cancel() -> None:
        loop.call_soon_threadsafe(lambda: (restoring.cancel(), loop.call_soon(seen.set)))
        assert seen.wait(30)

    restoring = asyncio.ensure_future(move.to(database, told=when(cancel)))
    await restoring


def test_who_gives_up_while_rows_are_written_leaves_nothing(move: Move, database: str) -> None:
    def when(cancel: Callable[[], object]) -> Told:
        def told(done: int, of: int) -> None:
            if done and of < 100:  # rows, not bytes
                cancel()

        return told

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled(move, database, when))
    assert not move.new.exists()
    assert rows(database) == 0


def test_who_gives_up_while_it_is_committed_is_too_late(
    move: Move, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def when(cancel: Callable[[], object]) -> Told:
        at_rename_of("store", monkeypatch, cancel)
        return lambda _done, _of: None

    asyncio.run(cancelled(move, database, when))
    asyncio.run(check_moved(move.new, move.people))


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("UPDATE clients SET address = ?", "d\0ra"),
        ("UPDATE clients SET address = ?", "".join(map(chr, range(0x4E00, 0x6E00)))),
        ("UPDATE credentials SET account_id = ? WHERE account_id = 1", 77),
        ("UPDATE accounts SET registered_at = ?", 10**18),
    ],
)
def test_what_a_database_cannot_hold_is_told(move: Move, database: str, change: str, value: object) -> None:
    with contextlib.closing(sqlite3.connect(move.data / "accounts.db")) as connection, connection:
        connection.execute(change, [value])
    move.save()
    told = move.refused(database, BackupRefused)
    assert "PostgreSQL cannot hold a row of it: a text contains a NUL character or is too long, or the row" in told
    assert rows(database) == 0


@pytest.mark.parametrize(("name", "written"), [("store", False), ("secret.key", True)])
def test_on_what_one_that_was_killed_leaves_no_server_starts(
    move: Move, database: str, monkeypatch: pytest.MonkeyPatch, name: str, *, written: bool
) -> None:
    at_rename_of(name, monkeypatch, lambda: os.kill(os.getpid(), 9))
    assert os.waitstatus_to_exitcode(forked(lambda: asyncio.run(move.to(database)))) == -9
    monkeypatch.undo()
    assert bool(rows(database)) == written
    there = {path.name for path in move.new.iterdir() if not path.name.startswith(UNFINISHED)}
    assert there == ({"store"} if written else set())
    if written:
        with pytest.raises(KeyRingElsewhere, match="it is missing"):
            asyncio.run(open_with_ring(database, DataFolder.open(move.new), os.urandom))
    else:
        for store in ("sqlite", database):
            with pytest.raises(FolderUnusable, match="a restore into it was cut short"):
                asyncio.run(open_with_ring(store, DataFolder.open(move.new), os.urandom))
        asyncio.run(move.to(database))
        asyncio.run(check_moved(move.new, move.people))


def test_what_cannot_be_done_is_told_before_anything_is_made(move: Move, tmp_path: Path) -> None:
    told = move.refused(f"files:{tmp_path / 'people'}", BackupRefused)
    assert "it holds an SQLite store, which does not go into files; leave --store out" in told
    assert "nobody listens there" in move.refused("postgresql://127.0.0.1:1/antiphon", AntiphonError)
    assert "must be sqlite, files:DIR or postgresql" in move.refused("mysql://localhost/antiphon", AntiphonError)
