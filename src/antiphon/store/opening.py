"""Opening and copying of the store that `--store` names, and the file that shows whether it has accounts."""

import asyncio
import contextlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Literal

from antiphon.errors import Problem, SettingInvalid
from antiphon.language import N_
from antiphon.store.contracts import Owned, Store
from antiphon.store.copied import Copied, Told
from antiphon.store.files import ACCOUNTS_FILE as ACCOUNTS_CSV
from antiphon.store.files import Tell, contents_of_files, copy_files, open_files
from antiphon.store.files.copying import LAYOUTS
from antiphon.store.files.numbers import NUMBERS_FILE
from antiphon.store.sql import contents_of_sqlite, copy_accounts, fill_sqlite, open_sqlite
from antiphon.store.sql.schema import SCHEMA_VERSION
from antiphon.store.sql.sqlite import ACCOUNTS_FILE as ACCOUNTS_DB
from antiphon.store.sql.sqlite import SESSIONS_FILE as SESSIONS_DB
from antiphon.store.sql.sqlite import version_of
from antiphon.store_address import check_store, files_folder, is_postgresql

__all__ = [
    "SCHEMA_VERSION",
    "accounts_file",
    "check_copied",
    "check_filled",
    "copy_store",
    "fill_store",
    "holds_files",
    "open_store",
    "store_files",
    "upgrade",
    "versions",
]

Kind = Literal["sqlite", "files"]
"""Kinds of stores that `copy_store` copies."""

_OWN_TOOLS = Problem(
    N_(
        "a PostgreSQL database is backed up by its own tools (pg_dump); copy secret.key and certificate.* beside"
        " it"
    )
)
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


def check_copied(store: str) -> None:
    """Check that `copy_store` copies the store that `store` names.

    Raises:
        SettingInvalid: `store` names no store, or a database that has tools of its own.
    """
    check_store(store)
    if is_postgresql(store):
        raise SettingInvalid(source="--store", problem=_OWN_TOOLS)


def copy_store(store: str, data: Path, to: Path, told: Told) -> Copied:
    """Copy the accounts of the store that `store` names into the folder `to`, as they are at one moment.

    Servers may run meanwhile. It blocks: run it outside the event loop. `to` is empty, and private to this user.

    Raises:
        SettingInvalid: `store` names no store, or a database that has tools of its own.
        UsageError: it cannot be read, as `copy_accounts` and `copy_files` say.
        OSError: there is no room for the copy.
    """
    check_copied(store)
    folder = files_folder(store)
    return copy_accounts(data, to, told) if folder is None else copy_files(folder, to, told)


def check_filled(store: str) -> None:
    """Check that `fill_store` can fill the store that `store` names: a database, or SQLite.

    It blocks. An empty database gets its tables.

    Raises:
        RestoreRefused: it is a database that has accounts, or that a server has used.
        AntiphonError: it is a database that cannot be used, as `open_store` says.
    """
    if is_postgresql(store):
        _postgres().check_fillable(store)


def fill_store(
    kind: Kind, copied: Path, store: str, data: Path, owned: Owned, *, ready: Callable[[], object], told: Told
) -> None:
    """Fill a store with what `copy_store` has copied into the folder `copied`, all or nothing.

    It blocks.

    Args:
        kind: what it was kept in.
        copied: the folder; its tables are of this version, and nobody else uses it.
        store: the store to fill, for which `check_filled` was called.
        data: its data folder, without a store.
        owned: the key ring that has sealed the accounts.
        ready: called when all is written; what it raises undoes all in a database.
        told: called as the work goes on.

    Raises:
        RowInvalid, FolderUnusable: what was copied cannot be read, or the folder cannot be written.
        ContentsUnfit: the database cannot hold a row of it.
        RestoreRefused, AntiphonError: as `check_filled`.
    """
    with contextlib.ExitStack() as stack:
        contents = (
            stack.enter_context(contents_of_sqlite(copied)) if kind == "sqlite" else contents_of_files(copied)
        )
        if is_postgresql(store):
            _postgres().fill_postgres(store, contents, owned, ready, told)
        else:
            fill_sqlite(data, contents, told)
            ready()


def store_files(kind: Kind) -> tuple[str, ...]:
    """Return the names of the files that `copy_store` makes; the first one shows that there are accounts."""
    return (ACCOUNTS_DB,) if kind == "sqlite" else tuple(LAYOUTS)


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


def check_database(store: str) -> int | None:
    """Check that a server can use a PostgreSQL database; return the version of its tables, None without tables.

    It blocks.

    Raises:
        AntiphonError: it cannot, as `open_store` says.
    """
    version: int | None = _postgres().check_version(store)
    return version


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


def holds_files(data: Path) -> bool:
    """Return whether the data folder `data` is a store of files itself, and no SQLite store beside it was begun.

    An `accounts.csv` alone may be anything: the store's other file of accounts must stand beside it.
    """
    files = (data / ACCOUNTS_CSV).exists() and (data / NUMBERS_FILE).exists()
    return files and not (data / ACCOUNTS_DB).exists()


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
