"""Access to a server's accounts for the operator's commands: the data folder, its store and its log.

The commands work on the store itself and need no running server; running servers follow changes within a second.
"""

import asyncio
import contextlib
import getpass
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from antiphon.data.belonging import open_with_ring, ring_missing, ring_of_database
from antiphon.data.folder import KEY_RING_FILE, DataFolder, check_before_making, data_folder
from antiphon.data.store_note import note_store, noted_store, same_store
from antiphon.errors import AccountUnknown, FolderUnusable, Problem, StoreUnusable, UsageError
from antiphon.identity.names import prepare
from antiphon.identity.throttle import name_mark
from antiphon.language import N_, Translate
from antiphon.observe.log import ServerLog, open_log
from antiphon.printable import printable
from antiphon.store.contracts import Account, Overview, Store
from antiphon.store.files import NameRewritten
from antiphon.store.opening import accounts_file, check_database, open_store
from antiphon.store_address import SQLITE, check_store, files_folder, is_postgresql
from antiphon.terminal.console import Console

DEMO_FOLDER = "demo"
"""Folder of `antiphon demo` in the data folder of its user."""
_NO_ACCOUNTS = Problem(N_("no accounts are kept there"))
_NO_RING = Problem(N_("there is no key ring, and that of the servers of the database is needed"))
_ONLY_DEMO = Problem(N_("no accounts are kept there; those of the demo are in {demo}"))


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """Options that select a server's data and the form of the output."""

    data: Path | None = field(default=None, metadata={"help": "The server's data folder [default: this user's]."})
    store: str | None = field(
        default=None,
        metadata={
            "help": "Where the server keeps accounts: sqlite, files:DIR, or postgresql://USER@HOST/DATABASE "
            "[default: the one that the data folder is used with, else sqlite]."
        },
    )
    json: Annotated[bool, Parameter(negative=())] = field(
        default=False, metadata={"help": "Print the result as one line of JSON."}
    )

    @property
    def folder(self) -> Path:
        """The data folder.

        Raises:
            UsageError: none is named, and the user has no home folder.
        """
        return self.data or data_folder()

    @property
    def store_found(self) -> str:
        """The store that is named, else the one that the data folder notes, else SQLite.

        Raises:
            SettingInvalid: what is named is no store, or an address with a password in it.
            UsageError: the note cannot be read, as `noted_store` says.
        """
        if self.store is not None:
            check_store(self.store)
            return self.store
        return noted_store(self.folder) or SQLITE


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LoggedStoreOptions(StoreOptions):
    """The same options for commands that are logged, with the log file."""

    log: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = field(
        default=None,
        metadata={
            "help": "The server's log file, or - for standard error [default: server.log in the data folder]."
        },
    )


@dataclass(frozen=True)
class OpenData:
    """A data folder and its open store."""

    folder: DataFolder
    store: Store

    async def account(self, name: str) -> Account:
        """Return the account named `name`.

        Raises:
            NameInvalid: the name is not a valid one.
            AccountUnknown: there is no such account.
        """
        account = await self.store.accounts.find(prepare(name).key)
        if account is None:
            raise AccountUnknown(name=name, path=str(self.folder.path))
        return account

    async def overviews(self) -> list[Overview]:
        """Return all accounts, by the keys of their names, with the refusals under each name."""
        overviews = await self.store.accounts.overviews()
        counts = await self.store.failures.refusals()
        if not counts:  # no key ring is needed
            return overviews
        key = self.folder.key_ring(os.urandom).mock_key
        return [
            replace(each, refusals=each.refusals + counts.get(name_mark(each.key, key), 0)) for each in overviews
        ]

    async def forgive(self, account: Account) -> None:
        """Forget the failed sign-ins of an account, which lifts a delay or a lock."""
        ring = self.folder.key_ring(os.urandom)
        await self.store.failures.forgive(name_mark(account.key, ring.mock_key))

    async def end_sessions(self, account: Account, reason: str) -> int:
        """End all sessions of an account and return how many.

        Precondition: the change that ends them (and begins the account's new epoch) is already stored.
        """
        return await self.store.sessions.revoke_account(account.id, reason, self.store.now())


def holds_accounts(options: StoreOptions) -> bool:
    """Return whether the store that `options` select has been made: by its file, or by the key ring of a database.

    Raises:
        SettingInvalid: `--store` names no known kind of store.
    """
    path = options.folder
    return (accounts_file(options.store_found, path) or path / KEY_RING_FILE).exists()


async def check_made(options: StoreOptions) -> None:
    """Check that the store that `options` select has been made: a mistyped path must not make another one.

    Raises:
        FolderUnusable, StoreUnusable: it has not.
        KeyRingElsewhere: it is a database, and its key ring is missing here.
        UsageError: as `StoreOptions.store_found`.
    """
    if not holds_accounts(options):
        raise await _nothing_in(options, options.store_found)


async def _nothing_in(options: StoreOptions, chosen: str) -> UsageError:
    if is_postgresql(chosen):
        if await asyncio.to_thread(check_database, chosen) is not None:
            folder = DataFolder(options.folder)
            noted, processes = await ring_of_database(chosen, folder)
            if noted.ring is not None:
                return ring_missing(str(folder.place(KEY_RING_FILE)), chosen, noted, processes)
        return FolderUnusable(path=str(options.folder), problem=_NO_RING)
    unusable = FolderUnusable if chosen == SQLITE else StoreUnusable
    demo = options.folder / DEMO_FOLDER
    of_demo = options.data is None and (demo / KEY_RING_FILE).exists()
    place = files_folder(chosen) or options.folder
    return unusable(path=str(place), problem=_ONLY_DEMO if of_demo else _NO_ACCOUNTS, demo=demo)


@contextlib.asynccontextmanager
async def open_data(
    options: StoreOptions, *, console: Console | None = None, make: bool = False
) -> AsyncIterator[OpenData]:
    """Open the store that `options` select; `make` creates a missing folder and store, which the folder notes.

    `console` is where each name is told of that a spreadsheet has rewritten, and that servers use another store.

    Raises:
        SettingInvalid: `--store` names no known kind of store.
        FolderUnusable: the folder is missing, or its store is missing or unusable.
        StoreUnusable, RowInvalid: the same for a store of files.
        FolderUnsafe: other users of this machine can reach the files in it.
    """
    path, chosen = options.folder, options.store_found
    noted = noted_store(path)
    if console is not None and noted is not None and not same_store(noted, chosen):
        other = console.translations.gettext("{path} is used with --store {noted}; this is about {chosen}.")
        console.tell(other.format(path=path, noted=printable(str(noted)), chosen=printable(chosen)))
    if make:
        await check_before_making(path, chosen)
    else:
        await check_made(options)
    folder = DataFolder.open(path, accounts_file(chosen, path))
    found: list[NameRewritten] = []
    if make or is_postgresql(chosen):
        store, _ = await open_with_ring(chosen, folder, os.urandom, tell=found.append)
    else:
        store = await open_store(chosen, folder.path, tell=found.append)
    if noted is None and make:
        note_store(folder, chosen)
    try:
        if console is not None:
            for each in found:
                console.tell(_told(each, console.translations.gettext))
        yield OpenData(folder, store)
    finally:
        await store.close()


def _told(found: NameRewritten, translate: Translate) -> str:
    """Return the sentence for a name that a spreadsheet has rewritten."""
    sentence = translate(
        N_(
            "{path}, line {line}: a spreadsheet has probably made “{name}” of another name. "
            "Correct it; if it is right, put an apostrophe before it."
        )
    )
    return sentence.format(path=found.path, line=found.line, name=printable(found.name))


@contextlib.asynccontextmanager
async def open_data_and_log(
    options: LoggedStoreOptions, *, console: Console | None = None, make: bool = False
) -> AsyncIterator[tuple[OpenData, ServerLog]]:
    """Open the store and the log; a command that cannot be logged does not run.

    Raises:
        FolderUnusable: as in `open_data`; or the log cannot be written.
        FolderUnsafe: as in `open_data`.
    """
    async with open_data(options, console=console, make=make) as here:
        log = open_log(options.log or here.folder.path / "server.log")
        try:
            yield here, log
        finally:
            log.close()


def operator_name() -> str:
    """Return the name of this process's user, which the log records as the operator."""
    try:
        import pwd  # noqa: PLC0415 - not on Windows

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        try:
            return getpass.getuser()
        except (OSError, KeyError, ImportError):
            return "unknown"


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)
