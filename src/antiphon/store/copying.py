"""Copy of a store's files, for a look at what opening it would do: the store itself stays as it is."""

import contextlib
import sqlite3
from pathlib import Path

from filelock import FileLock, Timeout

from antiphon.errors import StoreTaken
from antiphon.files import check_makeable, copy_as_it_is, reported
from antiphon.store.files.store import SERVER_LOCK_FILE
from antiphon.store.sql.sqlite import ACCOUNTS_FILE, SESSIONS_FILE
from antiphon.store_address import files_folder


def copy_store(store: str, data: Path, to: Path) -> str:
    """Copy the store that `store` names, for the data folder `data`, into the folder `to`; return its name there.

    What is missing is not copied. A server may use the store meanwhile, unless only one may.

    Raises:
        StoreTaken: a server has it, and only one may.
        FolderUnsafe, FolderUnusable: a file cannot be read, or the folder of a store of files could not be made.
    """
    for name in (ACCOUNTS_FILE, SESSIONS_FILE):
        _copy_database(data / name, to / name)
    folder = files_folder(store)
    if folder is None:
        return store
    _check_free(folder)
    copy = to / "store"
    if not folder.exists():
        check_makeable(folder)
    else:
        copy.mkdir(mode=0o700)
        with reported(folder):
            for path in folder.iterdir():
                if path.name != SERVER_LOCK_FILE and (path.is_symlink() or path.is_file()):
                    copy_as_it_is(path, copy / path.name)
    return f"files:{copy}"


def _copy_database(path: Path, copy: Path) -> None:
    copy_as_it_is(path, copy)
    if path.is_symlink() or not path.with_name(f"{path.name}-wal").exists():
        return  # nobody has it open: the file is the whole of it
    with (
        contextlib.suppress(sqlite3.Error),  # to open the copy then tells what is wrong with it
        contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)


def _check_free(folder: Path) -> None:
    lock = folder / SERVER_LOCK_FILE
    if not lock.exists():
        return
    try:
        with FileLock(lock, timeout=0, mode=0o600):  # older versions of filelock set the mode
            pass
    except Timeout:
        raise StoreTaken(path=str(folder)) from None
