"""Restore of a backup into folders and databases that are empty: they hold all of it in the end, or nothing.

Everything is unpacked into a hidden folder inside, and checked there: sums, tables, and whether the keys open the
accounts. Then each file gets its name, the key ring last: until it is there, no server starts on the folder. What
goes into a database is committed right before that.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

from antiphon.data.archive import ArchiveReader, Manifest
from antiphon.data.backup import BESIDE, KEYS
from antiphon.data.belonging import ring_mark
from antiphon.data.credentials import check_ring
from antiphon.data.empty_folder import EmptyFolder
from antiphon.data.folder import KEY_RING_FILE
from antiphon.data.in_thread import in_thread
from antiphon.data.keyring import LiveKeyRing
from antiphon.data.store_note import STORE_FILE, store_note
from antiphon.errors import BackupRefused, FolderUnusable, KeyRingUnusable, Problem, RowInvalid, StoreUnusable
from antiphon.files import reported, write_atomically
from antiphon.identity.keys import KeyRing
from antiphon.language import N_
from antiphon.store.contents import ContentsUnfit
from antiphon.store.contracts import Owned
from antiphon.store.copied import Told
from antiphon.store.opening import SCHEMA_VERSION, Kind, check_filled, fill_store, open_store, store_files
from antiphon.store_address import SQLITE, check_store, files_folder

_OTHER_KEYS = Problem(N_("its keys do not open the accounts: they are another server's, or were changed since"))
_NEWER = Problem(N_("it is of a newer version of this program"))
_UNFIT = Problem(
    N_("PostgreSQL cannot hold a row of it: a text contains a NUL character or is too long, or the row is damaged")
)
_NOT_INTO_FILES = Problem(N_("it holds an SQLite store, which does not go into files; leave --store out"))


class Backup:
    """Both archives of a backup, open for reading."""

    def __init__(self, accounts: tuple[str, BinaryIO], keys: tuple[str, BinaryIO]) -> None:
        """Read the manifests; each archive has a name for people and a file, which may be a pipe.

        Raises:
            BackupRefused: one is no backup, of a newer version, or holds files that it should not.
            OSError: one cannot be read.
        """
        self.path, self.keys_path = accounts[0], keys[0]
        self.accounts = ArchiveReader(accounts[1], self.path, "accounts")
        self.keys = ArchiveReader(keys[1], self.keys_path, "keys")
        manifest = self.accounts.manifest
        if manifest.tables is not None and manifest.tables > SCHEMA_VERSION:
            raise BackupRefused(path=self.path, problem=_NEWER)
        self.files = store_files(manifest.store or "sqlite")
        self.accounts.check_names(set(self.files), set(BESIDE))
        self.keys.check_names({KEY_RING_FILE}, set(KEYS))

    @property
    def kind(self) -> Kind:
        """Kind of the store that the accounts come from."""
        return self.accounts.manifest.store or "sqlite"

    def store_for(self, store: str | None, data: Path) -> str:
        """Return the store that the accounts go into if `--store` is `store` and `--data` is `data`.

        Raises:
            BackupRefused: they cannot go into one of that kind.
            SettingInvalid: it is no store.
        """
        if store is None:
            return SQLITE if self.kind == "sqlite" else f"files:{data}"
        check_store(store)
        folder = files_folder(store)
        if folder is None:
            return store
        if self.kind == "sqlite":
            raise BackupRefused(path=self.path, problem=_NOT_INTO_FILES)
        return f"files:{folder}"


async def restore_backup(backup: Backup, data: Path, store: str, told: Told = lambda _done, _of: None) -> Manifest:
    """Restore a backup into the data folder `data`, its accounts into a store; return what it says of itself.

    Args:
        backup: the backup.
        data: a folder that is empty, or is made.
        store: what `Backup.store_for` has returned.
        told: called as the work goes on, from a thread.

    Raises:
        RestoreRefused: a folder or the database is not empty.
        BackupRefused: the backup is damaged, or the keys do not open the accounts.
        AntiphonError: a folder or the database cannot be used, as `open_store` says.
        TryLater: the accounts cannot be opened now.
    """
    await asyncio.to_thread(check_filled, store)
    people = files_folder(store) or data
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(EmptyFolder.taken(data))
        place = home if people == data else stack.enter_context(EmptyFolder.taken(people))
        with reported(place.path):
            await in_thread(lambda told: backup.accounts.extract(place.stage, told), told)
        with reported(home.path):
            await in_thread(lambda told: backup.keys.extract(home.stage, told), lambda _done, _of: None)
        owned = await _check(backup, place.stage, home.stage)
        write_atomically(home.stage / STORE_FILE, store_note(data, store), FolderUnusable)
        beside = [entry.name for entry in backup.accounts.manifest.files if entry.name in BESIDE]
        keys = [entry.name for entry in backup.keys.manifest.files if entry.name != KEY_RING_FILE]
        rest = [*beside, *keys, STORE_FILE]
        if files_folder(store) or (store == SQLITE and backup.kind == "sqlite"):
            place.take(backup.files)
            if place is not home:
                with reported(home.path):
                    for name in beside:
                        shutil.copyfile(place.stage / name, home.stage / name)  # it may be another disk
                        (home.stage / name).chmod(0o600)
            home.take(rest)
        else:
            made = store_files("sqlite") if store == SQLITE else ()
            fill = partial(fill_store, backup.kind, home.stage, store, home.stage, owned)
            try:
                await _fill(fill, lambda: home.take([*made, *rest]), told)
            except ContentsUnfit as error:
                raise BackupRefused(path=backup.path, problem=_UNFIT) from error
        home.take([KEY_RING_FILE])
    return backup.accounts.manifest


async def _fill(fill: Callable[..., None], ready: Callable[[], object], told: Told) -> None:
    """Run `fill_store`, with its arguments given. To cancel it once `ready` was called is too late: it goes on."""
    committing, over = Event(), Event()
    filled = False

    def work(told: Told) -> None:
        nonlocal filled

        def last() -> None:
            committing.set()
            told(1, 1)  # which raises if nobody waits any more
            ready()

        try:
            fill(ready=last, told=told)
            filled = True
        finally:
            over.set()

    try:
        await in_thread(work, told)
    except asyncio.CancelledError:
        if committing.is_set():
            await asyncio.to_thread(over.wait)  # the commit has a time limit
        if not filled:
            raise


async def _check(backup: Backup, accounts: Path, keys: Path) -> Owned:
    """Check that the accounts in one folder can be used, and that the keys in another open them.

    Returns:
        What a database notes about these keys.
    """
    try:
        ring = KeyRing.parse((keys / KEY_RING_FILE).read_bytes())
    except ValueError as error:
        raise BackupRefused(path=backup.keys_path, problem=error.args[0]) from None
    kind = SQLITE if backup.accounts.manifest.store != "files" else f"files:{accounts}"
    try:
        store = await open_store(kind, accounts)  # it upgrades tables of an earlier version
    except (FolderUnusable, StoreUnusable, RowInvalid) as error:
        fields: dict[str, Any] = {**error.fields, "path": backup.path}
        raise BackupRefused(**fields) from error
    live = LiveKeyRing(ring, lambda: ring)
    try:
        await check_ring(live, store.accounts, backup.keys_path)
    except KeyRingUnusable as error:
        raise BackupRefused(path=backup.keys_path, problem=_OTHER_KEYS) from error
    finally:
        await store.close()
    return Owned(ring_mark(live), None, live.newest_mark)
