"""Note of a data folder about its store: what commands and servers use that no `--store` is given to.

Accounts may stand elsewhere than in the data folder. A command that took SQLite there would begin an empty store
beside the server's. The note is a value of `--store`, which never holds a password.
"""

import contextlib
import os
from pathlib import Path

from antiphon.data.folder import DataFolder, data_folder
from antiphon.errors import UsageError
from antiphon.files import check_folder, read_private, reported
from antiphon.settings import ServerSettings
from antiphon.store_address import SQLITE, check_store, files_folder

STORE_FILE = "store"
_FILES = "files:"


def noted_store(data: Path) -> str | None:
    """Return the value of `--store` that the data folder `data` notes; None without a note, or without the folder.

    Raises:
        SettingInvalid: what stands there names no store, or shows a password.
        FolderUnsafe: others can write to the folder or the note.
        FolderUnusable: it cannot be read.
    """
    with reported(data):
        found = data.stat() if data.is_dir() else None
    if found is None:
        return None
    check_folder(data, found)
    path = data.absolute() / STORE_FILE
    written = read_private(path)
    if written is None:
        return None
    store = os.fsdecode(written.removesuffix(b"\n"))
    if store.startswith(_FILES):  # a folder inside the data folder moves with it
        store = f"{_FILES}{path.parent / store.removeprefix(_FILES)}"
    check_store(store, str(path))
    return store


def note_store(folder: DataFolder, store: str) -> str | None:
    """Note that `folder` is used with `store`, a value of `--store`; return the other one that it noted before.

    A folder that cannot be written to notes nothing: that is not worth failing a start for.
    """
    with contextlib.suppress(UsageError):
        if _noted(folder) == whole_name(store):
            return None
        with folder.lock():
            before = _noted(folder)
            if before != whole_name(store):
                folder.write_private(STORE_FILE, os.fsencode(_as_written(folder.path, store)) + b"\n")
                return before
    return None


def _noted(folder: DataFolder) -> str | None:
    with contextlib.suppress(UsageError):  # what cannot be read is replaced
        return noted_store(folder.path)
    return None


def _as_written(data: Path, store: str) -> str:
    place = files_folder(store)
    if place is None:
        return store
    return _FILES + str(place.relative_to(data) if place.is_relative_to(data) else place)


def whole_name(store: str) -> str:
    """Return a value of `--store` with the absolute path of a folder of files."""
    place = files_folder(store)
    return store if place is None else f"{_FILES}{place}"


def store_of(settings: ServerSettings) -> str:
    """Return the store of a server: the one that its settings name, else what its data folder notes, else SQLite.

    Raises:
        UsageError: as `noted_store`; or no data folder is named, and the user has no home folder.
    """
    if settings.store is not None:
        return settings.store
    return noted_store(settings.data or data_folder()) or SQLITE
