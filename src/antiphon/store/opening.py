"""Opening of the store that `--store` names, and the file that shows whether it has accounts."""

import asyncio
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from antiphon.errors import Problem, SettingInvalid
from antiphon.language import N_
from antiphon.settings import SQLITE, check_store, files_folder, is_postgresql
from antiphon.store.contracts import Store
from antiphon.store.files import ACCOUNTS_FILE as ACCOUNTS_CSV
from antiphon.store.files import Tell, open_files
from antiphon.store.files.numbers import NUMBERS_FILE
from antiphon.store.sql import open_sqlite
from antiphon.store.sql.schema import SCHEMA_VERSION
from antiphon.store.sql.sqlite import ACCOUNTS_FILE as ACCOUNTS_DB
from antiphon.store.sql.sqlite import SESSIONS_FILE as SESSIONS_DB
from antiphon.store.sql.sqlite import version_of

__all__ = ["SCHEMA_VERSION", "accounts_file", "found_store", "open_store", "upgrade", "versions"]

_NO_PSYCOPG = Problem(N_("a PostgreSQL database needs psycopg, which pip install 'antiphon[postgres]' brings"))


async def open_store(store: str, data: Path, *, serving: bool = False, tell: Tell = lambda _: None) -> Store:
    """Open the store that `store` names, for the data folder `data`, which exists. Call `close` in the end.

    `serving` says that a server opens it: some stores admit only one server. `tell` gets each name that a
    spreadsheet has rewritten in a store of files.

    Raises:
        SettingInvalid: `store` names no store.
        UsageError: it cannot be used, as `open_sqlite`, `open_files` and `open_postgres` say.
        DatabaseUnreachable: there is no server at the address of a database.
        TryLater: it cannot be opened now.
    """
    check_store(store)
    if is_postgresql(store):
        opened: Store = await _postgres().open_postgres(store)
        return opened
    folder = files_folder(store)
    if folder is None:
        return await open_sqlite(data)
    return await open_files(folder, data, serving=serving, tell=tell)


def versions(store: str, data: Path) -> dict[str, int | None]:
    """Return the version of the tables of each database of a store, by its file or address; None: not made yet.

    It blocks.

    Raises:
        SettingInvalid: `store` names no store.
        AntiphonError: a database cannot be used, as `open_store` says.
    """
    check_store(store)
    if is_postgresql(store):
        return {store: _postgres().version_of(store)}
    files = [SESSIONS_DB] if files_folder(store) else [ACCOUNTS_DB, SESSIONS_DB]
    return {str(data / file): version_of(data / file) for file in files}


async def upgrade(store: str, data: Path) -> Sequence[Path]:
    """Upgrade the databases of a store, or make them; return the copies that were made of files before.

    Raises:
        SettingInvalid, AntiphonError: as `open_store`.
    """
    check_store(store)
    if is_postgresql(store):
        await asyncio.to_thread(_postgres().prepare, store, upgrading=True)
        return ()
    opened = await open_store(store, data)  # which upgrades it
    await opened.close()
    return opened.copies


def _postgres() -> ModuleType:
    """Return the engine of PostgreSQL.

    Raises:
        SettingInvalid: its driver is not installed.
    """
    if importlib.util.find_spec("psycopg") is None:
        raise SettingInvalid(source="--store", problem=_NO_PSYCOPG)
    return importlib.import_module("antiphon.store.sql.postgres")


def found_store(data: Path) -> str:
    """Return the value of `--store` for the data folder `data`, if it keeps its files in that same folder.

    An `accounts.csv` alone may be anything: the store's other file of accounts must stand beside it.
    """
    files = (data / ACCOUNTS_CSV).exists() and (data / NUMBERS_FILE).exists()
    return f"files:{data}" if files and not (data / ACCOUNTS_DB).exists() else SQLITE


def accounts_file(store: str, data: Path) -> Path | None:
    """Return the path of the file that exists once there are accounts in the store that `store` names.

    None for a store that no file shows (`contracts.Owner` tells).

    Raises:
        SettingInvalid: `store` names no store.
    """
    if is_postgresql(store):
        return None
    folder = files_folder(store)
    return folder / ACCOUNTS_CSV if folder else data / ACCOUNTS_DB
