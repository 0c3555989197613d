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
    """Return the value of `--store` that the data folder `data` is used with; None if it does not show one.

    That is what the note says. A folder of an earlier version has none; its files show if it is a store of files.

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
    return _noted(data) or _held(data)


def _noted(data: Path) -> str | None:
    path = data.absolute() / STORE_FILE
    written = read_private(path)
    if written is None:
        return None
    store = os.fsdecode(written.removesuffix(b"\n"))
    if store.startswith(_FILES):  # a folder inside the data folder moves with it
        store = f"{_FILES}{path.parent / store.removeprefix(_FILES)}"
    check_store(store, str(path))
    return store


def _held(data: Path) -> str | None:
    """Return the store of files that the data folder itself is; None if it is none, or holds a database."""
    if DataFolder(data).lacks_key_ring:
        return None
    from antiphon.store.opening import holds_files  # noqa: PLC0415 - a supervisor needs no SQL

    return f"{_FILES}{data.absolute()}" if holds_files(data) else None


def note_store(folder: DataFolder, store: str) -> str | None:
    """Note that `folder` is used with `store`, a value of `--store`; return the other one that it noted before.

    A folder that cannot be written to notes nothing: that is not worth failing a start for.
    """
    with contextlib.suppress(UsageError):
        if same_store(_readable(folder), store):
            return None
        with folder.lock():
            before = _readable(folder)
            if not same_store(before, store):
                folder.write_private(STORE_FILE, store_note(folder.path, store))
                return before
    return None


def _readable(folder: DataFolder) -> str | None:
    with contextlib.suppress(UsageError):  # what cannot be read is replaced
        return _noted(folder.path)
    return None


def store_note(data: Path, store: str) -> bytes:
    """Return the content of the note of the data folder `data` that it is used with `store`."""
    return os.fsencode(_as_written(data, store)) + b"\n"


def _as_written(data: Path, store: str) -> str:
    place = files_folder(store)
    if place is None:
        return store
    for inside, outside in ((place, data), (place.resolve(), data.resolve())):
        if inside.is_relative_to(outside):
            return f"{_FILES}{inside.relative_to(outside)}"
    return f"{_FILES}{place}"


def same_store(one: str | None, other: str) -> bool:
    """Return whether two values of `--store` name the same store, also by other paths (`..`, links)."""
    if one is None or one == other:
        return one == other
    places = files_folder(one), files_folder(other)
    return None not in places and len({os.path.realpath(str(place)) for place in places}) == 1


def store_of(settings: ServerSettings) -> str:
    """Return the store of a server: the one that its settings name, else what its data folder notes, else SQLite.

    Raises:
        UsageError: as `noted_store`; or no data folder is named, and the user has no home folder.
    """
    if settings.store is not None:
        return settings.store
    return noted_store(settings.data or data_folder()) or SQLITE
