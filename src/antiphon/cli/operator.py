"""What the commands of an operator share: the store of a data folder, the log of acts, and how results are shown.

They work on the store itself, so that they need no server; the ones that run follow it within a second.
"""

import contextlib
import getpass
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from antiphon.data.folder import DataFolder, data_folder
from antiphon.errors import AccountUnknown, FolderUnusable, Problem, StoreUnusable
from antiphon.identity.names import prepare
from antiphon.identity.throttle import name_mark
from antiphon.language import N_
from antiphon.observe.log import ServerLog, open_log
from antiphon.printable import printable
from antiphon.settings import SQLITE
from antiphon.store.contracts import Account, Store
from antiphon.store.opening import accounts_file, open_store
from antiphon.terminal.console import Console

Record = dict[str, Any]
"""What a command tells, as `--json` gives it."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Place:
    """Which server's data a command is about, and how it tells."""

    data: Path | None = field(default=None, metadata={"help": "The server's data folder [default: this user's]."})
    store: str = field(default=SQLITE, metadata={"help": "Where the server keeps accounts: sqlite, or files:DIR."})
    json: Annotated[bool, Parameter(negative=())] = field(
        default=False, metadata={"help": "Tell the result as one line of JSON."}
    )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ActPlace(Place):
    """The same for commands that change something, which are logged."""

    log: Path | None = field(
        default=None, metadata={"help": "The server's log file [default: server.log in the data folder]."}
    )


@dataclass(frozen=True)
class Opened:
    """A data folder whose store is open."""

    folder: DataFolder
    store: Store

    async def account(self, name: str) -> Account:
        """Return the account with a name.

        Raises:
            NameInvalid: nobody can have it.
            AccountUnknown: nobody has it.
        """
        account = await self.store.accounts.find(prepare(name).key)
        if account is None:
            raise AccountUnknown(name=name, path=str(self.folder.path))
        return account

    async def forgive(self, account: Account) -> None:
        """Forget the failed sign-ins of an account, and with them any wait or lock."""
        ring = self.folder.key_ring(os.urandom)
        await self.store.failures.forgive(name_mark(account.key, ring.mock_key))

    async def end_sessions(self, account: Account, reason: str) -> int:
        """End all sessions of an account, behind the change that begins its new epoch; return how many."""
        return await self.store.sessions.revoke_account(account.id, reason, now())


@contextlib.asynccontextmanager
async def opened(place: Place, *, make: bool = False) -> AsyncIterator[Opened]:
    """Open the store of `place`; only where `make` says so, a folder that is not there is made.

    Raises:
        SettingInvalid: there is no such kind of store.
        FolderUnusable: there is no such folder, or no store in it that can be used.
        StoreUnusable, RowInvalid: the same of a store of files.
        FolderUnsafe: others can reach what is in it.
    """
    path = place.data or data_folder()
    accounts = accounts_file(place.store, path)
    if not make and not accounts.exists():  # a slip of the pen makes no folder
        unusable = FolderUnusable if place.store == SQLITE else StoreUnusable
        raise unusable(path=str(accounts.parent), problem=Problem(N_("no accounts are kept there")))
    folder = DataFolder.open(path, accounts)
    if make:
        folder.key_ring(os.urandom)  # before there are accounts: then a missing one is an error
    store = await open_store(place.store, folder.path)
    try:
        yield Opened(folder, store)
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def acting(place: ActPlace, *, make: bool = False) -> AsyncIterator[tuple[Opened, ServerLog]]:
    """Open store and log for an act: one that could not be logged is not done.

    Raises:
        FolderUnusable: as `opened`; or the log cannot be written.
        FolderUnsafe: as `opened`.
    """
    async with opened(place, make=make) as here:
        log = open_log(place.log or here.folder.path / "server.log")
        try:
            yield here, log
        finally:
            log.close()


def operator() -> str:
    """Return who is at work here, for the log: the name of the process's user."""
    try:
        import pwd  # noqa: PLC0415 - not on Windows

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        try:
            return getpass.getuser()
        except (OSError, KeyError, ImportError):
            return "unknown"


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def moment(at: datetime | None) -> str | None:
    """Return a time as the results show it: ISO 8601, UTC, whole seconds."""
    return None if at is None else at.isoformat(timespec="seconds")


def tell(console: Console, place: Place, record: Record, *sentences: str) -> None:
    """Tell what an act has done: sentences for a person on standard error, or JSON on standard output."""
    if place.json:
        print(json.dumps(record, ensure_ascii=False), flush=True)
    else:
        for sentence in sentences:
            console.tell(sentence)


def show(place: Place, rows: Sequence[Record], headings: dict[str, str]) -> None:
    """Show records: a table on a terminal, in a pipe a line each with tabs between; `headings` by field."""
    if place.json:
        print(json.dumps(rows, ensure_ascii=False), flush=True)
        return
    cells = [[_cell(row[key]) for key in headings] for row in rows]
    if not sys.stdout.isatty():
        for line in cells:
            print("\t".join(line))
        return
    from rich import box  # noqa: PLC0415 - only where a table is drawn
    from rich.console import Console as Screen  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*headings.values(), box=box.SIMPLE_HEAD)
    for line in cells:
        table.add_row(*map(Text, line))  # as it is: a name may look like rich's markup
    Screen().print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value))
