"""Copy of a store of files, for a backup, while a server uses it."""

from pathlib import Path
from typing import Any

from antiphon.errors import StoreUnusable
from antiphon.files import write_atomically
from antiphon.store.copied import Copied, Told
from antiphon.store.files.account_rows import ACCOUNTS
from antiphon.store.files.accounts import ACCOUNTS_FILE
from antiphon.store.files.clients import CLIENTS, CLIENTS_FILE
from antiphon.store.files.invitations import INVITATIONS, INVITATIONS_FILE
from antiphon.store.files.layout import Layout
from antiphon.store.files.numbers import NUMBERS, NUMBERS_FILE
from antiphon.store.files.sheet import Sheet, WriteLock
from antiphon.store.files.store import WRITE_LOCK_FILE

LAYOUTS: dict[str, Layout[Any]] = {
    ACCOUNTS_FILE: ACCOUNTS,
    CLIENTS_FILE: CLIENTS,
    INVITATIONS_FILE: INVITATIONS,
    NUMBERS_FILE: NUMBERS,
}
"""The files of the store."""


def copy_files(folder: Path, to: Path, told: Told) -> Copied:
    """Copy the files of the store in `folder` into the folder `to`, as they are at one moment.

    The store's lock is held while they are read, and not while the rows are checked.

    Raises:
        RowInvalid: a row of one cannot be read.
        FolderUnsafe: one is a link, another user's, or others can write to it.
        StoreUnusable: one cannot be read, or somebody else holds the lock.
    """
    lock = WriteLock(folder / WRITE_LOCK_FILE)
    with lock():
        contents = {name: Sheet(folder / name, layout, lock).content() for name, layout in LAYOUTS.items()}
    total = 2 * sum(map(len, contents.values()))
    rows, done = {}, total // 2
    told(done, total)
    for name, data in contents.items():
        rows[name] = len(LAYOUTS[name].parse(folder / name, data))
        write_atomically(to / name, data, StoreUnusable)
        done += len(data)
        told(done, total)
    return Copied(store="files", files=tuple(LAYOUTS), accounts=rows[ACCOUNTS_FILE])
