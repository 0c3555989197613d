"""Restore of a backup into new or empty folders, which hold all of it in the end, or nothing.

Everything is unpacked into a hidden folder inside, and checked there: sums, tables, and whether the keys open the
accounts. Then each file gets its name, the key ring last: until it is there, no server starts on the folder.
"""

import contextlib
import shutil
from pathlib import Path
from typing import Any, BinaryIO

from antiphon.data.archive import ArchiveReader, Manifest
from antiphon.data.backup import BESIDE, KEYS
from antiphon.data.credentials import check_ring
from antiphon.data.empty_folder import EmptyFolder
from antiphon.data.folder import KEY_RING_FILE
from antiphon.data.in_thread import in_thread
from antiphon.data.keyring import LiveKeyRing
from antiphon.errors import BackupRefused, FolderUnusable, KeyRingUnusable, Problem, RowInvalid, StoreUnusable
from antiphon.files import reported
from antiphon.identity.keys import KeyRing
from antiphon.language import N_
from antiphon.store.copied import Told
from antiphon.store.opening import SCHEMA_VERSION, check_copied, open_store, store_files
from antiphon.store_address import SQLITE, files_folder

_OTHER_KEYS = Problem(N_("its keys do not open the accounts: they are another server's, or were changed since"))
_NEWER = Problem(N_("it is of a newer version of this program"))
_OF_FILES = Problem(N_("it holds a store of files; name its folder with --store files:DIR, or leave --store out"))
_OF_SQLITE = Problem(N_("it holds an SQLite store; leave --store out"))


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

    def folder_of(self, store: str | None, data: Path) -> Path:
        """Return where the accounts go if `--store` is `store` and `--data` is `data`.

        Raises:
            BackupRefused: that store is of another kind.
            SettingInvalid: it is no store, or a database that has tools of its own.
        """
        if store is not None:
            check_copied(store)
        folder = None if store is None else files_folder(store)
        if self.accounts.manifest.store == "files":
            if store == SQLITE:
                raise BackupRefused(path=self.path, problem=_OF_FILES)
            return folder or data
        if folder is not None:
            raise BackupRefused(path=self.path, problem=_OF_SQLITE)
        return data


async def restore_backup(
    backup: Backup, data: Path, people: Path, told: Told = lambda _done, _of: None
) -> Manifest:
    """Restore a backup into the data folder `data`, its accounts into `people`; return what it says of itself.

    Args:
        backup: the backup.
        data: a folder that is empty, or is made.
        people: what `Backup.folder_of` has returned; it may be `data`.
        told: called as the work goes on, from a thread.

    Raises:
        RestoreRefused: a folder is not empty.
        BackupRefused: the backup is damaged, or the keys do not open the accounts.
        UsageError: a folder cannot be used.
        TryLater: the accounts cannot be opened now.
    """
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(EmptyFolder.taken(data))
        store = home if people == data else stack.enter_context(EmptyFolder.taken(people))
        with reported(store.path):
            await in_thread(lambda told: backup.accounts.extract(store.stage, told), told)
        with reported(home.path):
            await in_thread(lambda told: backup.keys.extract(home.stage, told), lambda _done, _of: None)
        await _check(backup, store.stage, home.stage)
        keys = [entry.name for entry in backup.keys.manifest.files if entry.name != KEY_RING_FILE]
        beside = [entry.name for entry in backup.accounts.manifest.files if entry.name in BESIDE]
        store.take(backup.files)
        if store is not home:
            with reported(home.path):
                for name in beside:
                    shutil.copyfile(store.stage / name, home.stage / name)  # it may be another disk
                    (home.stage / name).chmod(0o600)
        home.take([*beside, *keys, KEY_RING_FILE])
    return backup.accounts.manifest


async def _check(backup: Backup, accounts: Path, keys: Path) -> None:
    """Check that the accounts in one folder can be used, and that the keys in another open them."""
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
    try:
        await check_ring(LiveKeyRing(ring, lambda: ring), store.accounts, backup.keys_path)
    except KeyRingUnusable as error:
        raise BackupRefused(path=backup.keys_path, problem=_OTHER_KEYS) from error
    finally:
        await store.close()
