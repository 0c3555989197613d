"""Backups: taken while others write, whole or not there, refused if anything about them is wrong."""

import asyncio
import hashlib
import io
import json
import os
import shutil
import sqlite3
import stat
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from antiphon.data.backup import UNFINISHED, back_up
from antiphon.data.certificate import load_or_make
from antiphon.data.empty_folder import UNFINISHED as UNFINISHED_RESTORE
from antiphon.data.empty_folder import EmptyFolder
from antiphon.data.folder import DataFolder
from antiphon.data.in_thread import in_thread
from antiphon.data.restore import Backup, restore_backup
from antiphon.errors import (
    AntiphonError,
    BackupExists,
    BackupRefused,
    FileUnusable,
    FolderUnusable,
    KeyRingUnusable,
    RekeyUnderWay,
    RestoreRefused,
    StoreUnusable,
)
from antiphon.store.sql import copying
from antiphon.store.sql.schema import SCHEMA_VERSION
from support.key_rings import change_keys, enrol, in_store, lost
from support.old_stores import version_of
from support.rekey_kills import forked
from support.serving import seed

NAMES = ["ann", "bea", "cleo"]
AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
Told = Callable[[int, int], None]


def names_in(data: Path) -> list[str]:
    async def work(store: Any) -> list[str]:
        return [overview.name for overview in await store.accounts.overviews()]

    return in_store(data, work)


class Place:
    """A data folder with three accounts, and where its backup goes."""

    def __init__(self, folder: Path, like: "Place | None" = None) -> None:
        """With `like` only the two files are there, as that one has them."""
        self.data = folder / "data"
        self.file, self.keys = folder / "backup.tar", folder / "backup.keys"
        self.new = folder / "new"
        if like is None:
            enrol(self.data, NAMES)
        else:
            shutil.copyfile(like.file, self.file)
            shutil.copyfile(like.keys, self.keys)

    def back_up(self, told: Told = lambda _done, _of: None, *, store: str = "sqlite", force: bool = False) -> None:
        back_up(DataFolder.open(self.data), store, self.file, self.keys, made_at=AT, told=told, force=force)

    def restore(self, *, store: str | None = None) -> None:
        with self.file.open("rb") as accounts, self.keys.open("rb") as keys:
            backup = Backup(("backup.tar", accounts), ("backup.keys", keys))
            asyncio.run(restore_backup(backup, self.new, backup.store_for(store, self.new)))

    def refused(self, **options: Any) -> str:
        """Return why a restore is refused; nothing of it is left."""
        with pytest.raises(BackupRefused) as told:
            self.restore(**options)
        assert not self.new.exists()
        return told.value.text()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def nothing_is_left(place: Place) -> bool:
    return sorted(path.name for path in place.data.parent.iterdir()) == ["data"]


# --- taking one -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o277])
def test_its_files_are_private_plain_and_restored_as_private(place: Place, umask: int) -> None:
    (place.data / "port").write_text("7863\n")
    (place.data / "port").chmod(0o600)
    seen: set[int] = set()

    def told(_done: int, _of: int) -> None:
        seen.update(stat.S_IMODE(path.stat().st_mode) for path in place.file.parent.glob(f"{UNFINISHED}*"))

    before = os.umask(umask)
    try:
        place.back_up(told)
        place.restore()
    finally:
        os.umask(before)
    for path in (place.file, place.keys, *place.new.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert {stat.S_IMODE(place.new.stat().st_mode)} == seen == {0o700}
    with tarfile.open(place.file, "r:") as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == ["manifest.json", "accounts.db", "port"]
        assert {member.mode for member in members} == {0o600}
        manifest = json.load(archive.extractfile("manifest.json") or io.BytesIO())
        database = (archive.extractfile("accounts.db") or io.BytesIO()).read()
    assert (manifest["format"], manifest["store"], manifest["accounts"]) == (1, "sqlite", 3)
    assert manifest["files"][0]["sha256"] == hashlib.sha256(database).hexdigest()
    assert b"secret" not in place.file.read_bytes()
    with tarfile.open(place.keys, "r:") as archive:
        assert archive.getnames() == ["manifest.json", "secret.key"]
    assert sorted(path.name for path in place.new.iterdir()) == ["accounts.db", "port", "secret.key", "store"]
    assert (names_in(place.new), lost(place.new)) == (NAMES, [])


def test_it_is_of_one_moment_and_ends_while_others_write(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "STEP_PAGES", 1)
    calls = 0

    def told(_done: int, _of: int) -> None:
        nonlocal calls
        calls += 1
        with closing(sqlite3.connect(place.data / "accounts.db", isolation_level=None)) as other:
            other.execute("UPDATE accounts SET epoch = epoch + 1")

    place.back_up(told)
    with closing(sqlite3.connect(place.data / "accounts.db")) as database:
        assert set(database.execute("SELECT epoch FROM accounts")) == {(calls,)}
    assert calls > 5
    place.restore()
    with closing(sqlite3.connect(place.new / "accounts.db")) as database:
        assert set(database.execute("SELECT epoch FROM accounts")) == {(0,)}


def test_a_file_that_is_there_stays_unless_it_is_to_be_replaced(place: Place) -> None:
    for path in (place.file, place.keys):
        path.write_text("mine")
        with pytest.raises(BackupExists, match=path.name):
            place.back_up()
        assert path.read_text() == "mine"
        path.unlink()
    assert nothing_is_left(place)
    place.back_up()
    enrol(place.data, ["dora"])
    place.back_up(force=True)
    place.restore()
    assert names_in(place.new) == [*NAMES, "dora"]


def test_a_file_that_comes_there_meanwhile_stays_too_and_nothing_else_does(place: Place) -> None:
    def told(_done: int, _of: int) -> None:
        place.file.write_text("mine")

    with pytest.raises(BackupExists):
        place.back_up(told)
    assert place.file.read_text() == "mine"
    place.file.unlink()
    assert nothing_is_left(place)


def test_no_link_and_no_folder_is_written_through(place: Place) -> None:
    place.file.symlink_to(place.data / "secret.key")
    with pytest.raises(AntiphonError, match="is a symbolic link"):
        place.back_up(force=True)
    place.file.unlink()
    place.file.mkdir()
    with pytest.raises(FileUnusable, match="it is a folder"):
        place.back_up(force=True)
    place.file.rmdir()
    place.file = place.data.parent / "missing" / "backup.tar"
    with pytest.raises(FileUnusable, match="missing cannot be used: there is no such file"):
        place.back_up()
    assert nothing_is_left(place)


def test_of_one_that_was_killed_no_file_is_there_and_the_next_one_tidies_up(place: Place) -> None:
    def killed() -> None:
        place.back_up(lambda _done, _of: os.kill(os.getpid(), 9))

    assert os.waitstatus_to_exitcode(forked(killed)) == -9
    assert not place.file.exists()
    assert not place.keys.exists()
    left = list(place.data.parent.glob(f"{UNFINISHED}*"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in left} == {0o700}
    assert len(left) == 2
    for path in left:
        os.utime(path, (0, 0))
    place.back_up()
    assert not list(place.data.parent.glob(f"{UNFINISHED}*"))
    place.restore()
    assert lost(place.new) == []


def test_keys_are_not_changed_while_it_is_taken(place: Place) -> None:
    with FileLock(place.data / "rekey.lock"), pytest.raises(RekeyUnderWay):
        place.back_up()
    assert nothing_is_left(place)
    refused: list[object] = []

    def told(_done: int, _of: int) -> None:
        if not refused:
            with pytest.raises(RekeyUnderWay) as error:
                change_keys(place.data)
            refused.append(error)

    place.back_up(told)
    assert refused


def test_a_damaged_database_is_told_and_not_saved(place: Place) -> None:
    path = place.data / "accounts.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'credentials'").fetchone()
    with path.open("r+b") as file:
        file.seek(4096 * (root - 1))
        file.write(b"\xff" * 64)
    with pytest.raises(FolderUnusable, match=r"accounts\.db cannot be used: it is damaged"):
        place.back_up()
    assert nothing_is_left(place)


def test_one_that_is_given_up_ends_and_leaves_nothing(place: Place) -> None:
    async def main() -> None:
        began, go_on = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def told(_done: int, _of: int) -> None:
            loop.call_soon_threadsafe(began.set)
            go_on.wait()

        task = asyncio.create_task(in_thread(place.back_up, told))
        await began.wait()
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert nothing_is_left(place)

    asyncio.run(main())


# --- a store of files -----------------------------------------------------------------------------------------


@pytest.fixture
def of_files(place: Place) -> str:
    store = f"files:{place.data.parent / 'people'}"
    for name in NAMES:
        seed(place.data, name, store=store)
    return store


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_store_of_files_is_restored_where_it_is_wanted(place: Place, of_files: str, *, elsewhere: bool) -> None:
    place.back_up(store=of_files)
    people = place.new.parent / "others" if elsewhere else place.new
    place.restore(store=f"files:{people}" if elsewhere else None)
    kept = {path.name: path.read_bytes() for path in people.iterdir() if path.suffix in (".csv", ".txt")}
    before = place.data.parent / "people"
    assert sorted(kept) == ["accounts.csv", "clients.txt", "invitations.csv", "numbers.csv"]
    assert all((before / name).read_bytes() == data for name, data in kept.items())
    assert (place.new / "secret.key").read_bytes() == (place.data / "secret.key").read_bytes()


def test_while_somebody_writes_the_files_no_half_of_them_is_taken(place: Place, of_files: str) -> None:
    with FileLock(place.data.parent / "people" / "write.lock"), pytest.raises(StoreUnusable, match="locked"):
        place.back_up(store=of_files)
    assert not place.file.exists()


# --- restoring one --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("taken"))
    place.back_up()
    return place


@pytest.fixture
def saved(tmp_path: Path, taken: Place) -> Place:
    return Place(tmp_path, taken)


def rewrite(path: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], object]) -> None:
    """Change the members of an archive."""
    with tarfile.open(path, "r:") as archive:
        members = [
            (member, (archive.extractfile(member) or io.BytesIO()).read()) for member in archive.getmembers()
        ]
    change(members)
    with tarfile.open(path, "w") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def described(change: Callable[[dict[str, Any]], object]) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    """Return the change of an archive that changes its manifest."""

    def act(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        manifest = json.loads(members[0][1])
        change(manifest)
        members[0] = members[0][0], json.dumps(manifest).encode()

    return act


def plain(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    return member, data


def listed(name: str) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    """Return the change that adds a file with this name, also to the manifest."""

    def act(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        entry = {"name": name, "size": 0, "sha256": hashlib.sha256().hexdigest()}
        described(lambda manifest: manifest["files"].append(entry))(members)
        members.append(plain(name))

    return act


def in_place_of_accounts(kind: bytes) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    def act(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        members[1] = plain("accounts.db", kind)

    return act


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (listed("../../evil"), "“../../evil” does not belong into a backup"),
        (listed("/etc/evil"), "“/etc/evil” does not belong into a backup"),
        (listed("certificate.key"), "“certificate.key” does not belong into a backup"),
        (listed("accounts.db"), "“accounts.db” does not belong into a backup"),
        (lambda members: members.append(plain("../evil")), "“../evil” does not belong into a backup"),
        (lambda members: members.insert(1, plain("../evil")), "“../evil” does not belong into a backup"),
        (in_place_of_accounts(tarfile.SYMTYPE), "“accounts.db” in it is not a plain file"),
        (in_place_of_accounts(tarfile.LNKTYPE), "“accounts.db” in it is not a plain file"),
        (in_place_of_accounts(tarfile.FIFOTYPE), "“accounts.db” in it is not a plain file"),
        (in_place_of_accounts(tarfile.REGTYPE), "“accounts.db” in it is damaged"),
        (lambda members: members.pop(), "“accounts.db” is missing in it"),
        (described(lambda manifest: manifest["files"].clear()), "“accounts.db” is missing in it"),
        (described(lambda manifest: manifest.update(format=2)), "it is of a newer version of this program"),
        (described(lambda manifest: manifest.update(format=2, files="?")), "it is of a newer version"),
        (described(lambda manifest: manifest.update(tables=99)), "it is of a newer version of this program"),
        (described(lambda manifest: manifest.update(part="?")), "it is no backup of this program"),
        (described(lambda manifest: manifest["files"][0].update(sha256="0")), "“accounts.db” in it is damaged"),
        (lambda members: members.pop(0), "it is no backup of this program"),
    ],
)
def test_what_is_wrong_with_it_is_told_and_nothing_is_restored(
    saved: Place, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], object], told: str
) -> None:
    rewrite(saved.file, change)
    assert told in saved.refused()
    assert not (saved.data.parent / "evil").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: b"", "it is no backup of this program"),
        (lambda data: b"no tar at all" * 999, "it is no backup of this program"),
        (lambda data: data[:9000], "it ends in the middle of “accounts.db”"),
        (lambda data: data[:9000] + b"!" + data[9001:], "“accounts.db” in it is damaged"),
    ],
)
def test_one_that_is_damaged_is_refused(saved: Place, change: Callable[[bytes], bytes], told: str) -> None:
    saved.file.write_bytes(change(saved.file.read_bytes()))
    assert told in saved.refused()


def test_one_of_an_earlier_version_is_upgraded(saved: Place, tmp_path: Path) -> None:
    def earlier(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        path = tmp_path / "earlier.db"
        path.write_bytes(members[1][1])
        with closing(sqlite3.connect(path)) as database:
            database.executescript(
                "ALTER TABLE credentials DROP COLUMN old_form; ALTER TABLE accounts DROP COLUMN administrator;"
                "PRAGMA user_version = 4"
            )
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        data = path.read_bytes()
        members[1] = members[1][0], data
        entry = {"name": "accounts.db", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        described(lambda manifest: manifest.update(files=[entry], tables=4))(members)

    rewrite(saved.file, earlier)
    saved.restore()
    assert sorted(path.name for path in saved.new.iterdir()) == ["accounts.db", "secret.key", "store"]
    assert version_of(saved.new / "accounts.db") == SCHEMA_VERSION
    assert (names_in(saved.new), lost(saved.new)) == (NAMES, [])


def test_keys_that_do_not_open_the_accounts_are_refused(place: Place, tmp_path: Path) -> None:
    place.back_up()
    (tmp_path / "b").mkdir()
    other = Place(tmp_path / "b")
    other.back_up()
    keys, place.keys = place.keys, other.keys
    assert "its keys do not open the accounts" in place.refused()
    place.keys = keys
    change_keys(place.data)
    place.file.unlink()
    back_up(DataFolder.open(place.data), "sqlite", place.file, None, made_at=AT)
    assert "its keys do not open the accounts" in place.refused()
    place.keys = place.file
    assert "it holds accounts, and the keys are wanted here" in place.refused()


def test_it_is_restored_into_an_empty_folder_only(saved: Place) -> None:
    place = saved
    place.new.mkdir(mode=0o700)
    (place.new / "mine").write_text("mine")
    with pytest.raises(RestoreRefused, match="it is not empty"):
        place.restore()
    assert [path.name for path in place.new.iterdir()] == ["mine"]
    (place.new / "mine").unlink()
    left = place.new / f"{UNFINISHED_RESTORE}1234"  # of one that was killed
    left.mkdir()
    (left / "accounts.db").touch()
    with EmptyFolder.taken(place.new), pytest.raises(RestoreRefused, match="another restore is under way there"):
        place.restore()
    place.restore()
    assert sorted(path.name for path in place.new.iterdir()) == ["accounts.db", "secret.key", "store"]


def test_on_what_a_killed_restore_leaves_no_server_starts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    load_or_make(DataFolder.open(place.data), [])
    place.back_up()
    rename = os.rename

    def killed_at_the_keys(old: Path, new: Path) -> None:
        if new.name == "secret.key":
            os.kill(os.getpid(), 9)
        rename(old, new)

    monkeypatch.setattr(os, "rename", killed_at_the_keys)
    assert os.waitstatus_to_exitcode(forked(place.restore)) == -9
    there = {path.name for path in place.new.iterdir() if not path.name.startswith(UNFINISHED_RESTORE)}
    assert there == {"accounts.db", "certificate.key", "certificate.pem", "store"}
    with pytest.raises(FolderUnusable, match="a restore into it was cut short"):
        DataFolder.open(place.new).key_ring(os.urandom)
    for stage in place.new.glob(f"{UNFINISHED_RESTORE}*"):
        shutil.rmtree(stage)
    with pytest.raises(KeyRingUnusable, match="it is missing"):
        DataFolder.open(place.new).key_ring(os.urandom)
    with pytest.raises(RestoreRefused):
        place.restore()


def test_after_an_error_the_folder_is_as_it_was(tmp_path: Path) -> None:
    new = tmp_path / "a" / "b"

    def take(*names: str) -> None:
        with EmptyFolder.taken(new) as folder:
            (folder.stage / "one").touch()
            folder.take(names)

    with pytest.raises(FolderUnusable):
        take("one", "another")
    assert list(tmp_path.iterdir()) == []
    take("one")
    assert [path.name for path in new.iterdir()] == ["one"]
