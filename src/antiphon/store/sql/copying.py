"""Copy of the accounts in an SQLite file, for a backup, while servers use it."""

import contextlib
import errno
import os
import sqlite3
from pathlib import Path

from antiphon.errors import FolderUnusable, Problem
from antiphon.files import make_private
from antiphon.language import N_
from antiphon.store.copied import Copied, Told
from antiphon.store.sql.sqlite import ACCOUNTS_FILE, BUSY_SECONDS, reported_by_sqlite

STEP_PAGES = 1024
"""Pages, of 4 KiB, between two calls of `told`: a few milliseconds of work."""
_DAMAGED = Problem(N_("it is damaged"))


def copy_accounts(data: Path, to: Path, told: Told) -> Copied:
    """Copy the accounts of the data folder `data` into the folder `to`, as they are at one moment.

    SQLite makes the copy, with what stands in the WAL. Nobody waits for it: readers and writers go on.

    Raises:
        FolderUnusable: the database cannot be read, or is damaged.
        OSError: there is no room for the copy.
    """
    path, copy = data / ACCOUNTS_FILE, to / ACCOUNTS_FILE
    make_private(copy)
    with reported_by_sqlite(path):
        try:
            accounts, version = _copy(path, copy, told)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:  # the copy's: nothing else is written
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise
    return Copied(store="sqlite", files=(ACCOUNTS_FILE,), accounts=accounts, tables=version)


def _copy(path: Path, copy: Path, told: Told) -> tuple[int, int]:
    """Copy; return the number of accounts and the version of the tables."""
    with (
        contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as source,
        contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as target,
    ):
        # A read transaction fixes the moment: without it SQLite begins anew after each write of somebody else.
        source.execute("BEGIN")
        (accounts,) = source.execute("SELECT count(*) FROM accounts").fetchone()
        (version,) = source.execute("PRAGMA user_version").fetchone()
        source.backup(target, pages=STEP_PAGES, progress=lambda _, left, pages: told(pages - left, pages))
        if target.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise FolderUnusable(path=str(path), problem=_DAMAGED)
        return accounts, version
