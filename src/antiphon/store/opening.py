"""Opening and copying of the store that `--store` names, and the file that shows whether it has accounts."""

from pathlib import Path
from typing import Literal

from antiphon.settings import SQLITE, files_folder
from antiphon.store.contracts import Store
from antiphon.store.copied import Copied, Told
from antiphon.store.files import ACCOUNTS_FILE as ACCOUNTS_CSV
from antiphon.store.files import Tell, copy_files, open_files
from antiphon.store.files.copying import LAYOUTS
from antiphon.store.files.numbers import NUMBERS_FILE
from antiphon.store.sql import copy_accounts, open_sqlite
from antiphon.store.sql.schema import SCHEMA_VERSION
from antiphon.store.sql.sqlite import ACCOUNTS_FILE as ACCOUNTS_DB


async def open_store(store: str, data: Path, *, serving: bool = False, tell: Tell = lambda _: None) -> Store:
    """Open the store that `store` names, for the data folder `data`, which exists. Call `close` in the end.

    `serving` says that a server opens it: some stores admit only one server. `tell` gets each name that a
    spreadsheet has rewritten in a store of files.

    Raises:
        SettingInvalid: `store` names no store.
        UsageError: it cannot be used, as `open_sqlite` and `open_files` say.
        TryLater: it cannot be opened now.
    """
    folder = files_folder(store)
    if folder is None:
        return await open_sqlite(data)
    return await open_files(folder, data, serving=serving, tell=tell)


def copy_store(store: str, data: Path, to: Path, told: Told) -> Copied:
    """Copy the accounts of the store that `store` names into the folder `to`, as they are at one moment.

    Servers may run meanwhile. It blocks: run it outside the event loop. `to` is empty, and private to this user.

    Raises:
        SettingInvalid: `store` names no store.
        UsageError: it cannot be read, as `copy_accounts` and `copy_files` say.
        OSError: there is no room for the copy.
    """
    folder = files_folder(store)
    return copy_accounts(data, to, told) if folder is None else copy_files(folder, to, told)


def store_files(kind: Literal["sqlite", "files"]) -> tuple[str, ...]:
    """Return the names of the files that `copy_store` makes; the first one shows that there are accounts."""
    return (ACCOUNTS_DB,) if kind == "sqlite" else tuple(LAYOUTS)


def tables_version() -> int:
    """Return the version of the tables in SQL; a store of a later version cannot be opened."""
    return SCHEMA_VERSION


def found_store(data: Path) -> str:
    """Return the value of `--store` for the data folder `data`, if it keeps its files in that same folder.

    An `accounts.csv` alone may be anything: the store's other file of accounts must stand beside it.
    """
    files = (data / ACCOUNTS_CSV).exists() and (data / NUMBERS_FILE).exists()
    return f"files:{data}" if files and not (data / ACCOUNTS_DB).exists() else SQLITE


def accounts_file(store: str, data: Path) -> Path:
    """Return the path of the file that exists once there are accounts in the store that `store` names.

    Raises:
        SettingInvalid: `store` names no store.
    """
    folder = files_folder(store)
    return folder / ACCOUNTS_CSV if folder else data / ACCOUNTS_DB
