"""Opening of the store that `--store` names, and the file that shows whether it has accounts."""

from pathlib import Path

from antiphon.settings import SQLITE, files_folder
from antiphon.store.contracts import Store
from antiphon.store.files import ACCOUNTS_FILE as ACCOUNTS_CSV
from antiphon.store.files import Tell, open_files
from antiphon.store.files.numbers import NUMBERS_FILE
from antiphon.store.sql import open_sqlite
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
