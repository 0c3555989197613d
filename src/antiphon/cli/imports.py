"""`antiphon accounts import`: the clients of a home-made system become accounts, each with its old password.

What the lines of a file are is said by `identity.legacy`; here the files are read, the passwords hashed, the
accounts added all at once, and what did not become an account is listed.
"""

import asyncio
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, BinaryIO

from cyclopts import Parameter

from antiphon.cli.common import Common, run_loop
from antiphon.cli.operator import ActPlace, Record, acting, moment, now, opened, operator, tell
from antiphon.data.credentials import seal
from antiphon.data.folder import data_folder
from antiphon.data.keyring import LiveKeyRing
from antiphon.errors import FileUnusable, ImportRefused, NameTaken, Problem, UsageError
from antiphon.files import reported
from antiphon.identity.legacy import Known, Names, Passed, Row, Why, read_accounts, read_names
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS, SALT_SIZE, Verifier, make_verifier
from antiphon.language import N_
from antiphon.server.auth.by_address import NAMES_MOST
from antiphon.store.contracts import Accounts, Clients, NewAccount
from antiphon.store.opening import accounts_file
from antiphon.terminal.console import Console
from antiphon.wire.bodies import SCRAM_SHA_256

LIFETIME = timedelta(days=14)
"""An MD5 is itself the password until its owner has chosen another: whoever has the file can sign in that long."""
FILE_MOST = 2 * 1024 * 1024
"""Bytes of a file; ten thousand lines of the longest names have fewer."""
HASHED_AT_ONCE = 2
"""Passwords, 0.2 s of a processor each: the server beside it wants some too."""
TOLD_MOST = 20
"""Lines that are told of one by one; `--json` tells of all."""
NAMES_FILE = "clients.txt"

NOT_PLAIN = Problem(N_("it is not a plain file"))
_TOO_LARGE = Problem(N_("it has more than {most} bytes"))
_EXISTS = Problem(N_("this name has an account already, which is left as it is"))
_NO_PASSWORDS = Problem(
    N_("{path} holds names and addresses, and no passwords: it is what --names takes, beside the file with those.")
)


def import_accounts(
    file: Annotated[
        str, Parameter(help="The old system's clients.csv; - for standard input.", allow_leading_hyphen=True)
    ],
    /,
    *,
    names: Annotated[
        Path | None,
        Parameter(help="File with the names behind MD5s and addresses [default: clients.txt beside FILE]."),
    ] = None,
    dry_run: Annotated[bool, Parameter(negative=(), help="Tell what would happen, and change nothing.")] = False,
    skip_broken: Annotated[
        bool, Parameter(negative=(), help="Import the other lines where some cannot be read.")
    ] = False,
    place: ActPlace = ActPlace(),
    common: Common = Common(),
) -> int:
    """Make accounts of an old system's clients, whose passwords are kept as MD5.

    A row is a client (its name, or the MD5 of its name or address) and the MD5
    of its password. Each signs in with the old password within 14 days, and
    has to choose a new one then. Accounts that are there already stay as they are.

    For example:
        antiphon accounts import clients.csv --dry-run
        antiphon accounts import clients.csv --names clients.txt
    """
    beside = Path(file).parent / NAMES_FILE
    if names is None and file != "-" and beside.is_file() and beside.resolve() != Path(file).resolve():
        names = beside
    known = read_names(_read(names)) if names else Names()
    data = _read(None if file == "-" else Path(file))
    rows, passed = read_accounts(data, known)
    if not rows and _is_list_of_names(data, passed):
        raise UsageError(problem=_NO_PASSWORDS, path=file)
    console = common.console()
    report = Report(file, names, rows, passed, known.passed, dry_run, known.known)
    if report.count(Why.BROKEN) and not skip_broken:
        report.tell(place, console)
        raise ImportRefused(path=file, count=report.count(Why.BROKEN))
    return run_loop(_try(place, console, report) if dry_run else _import(place, console, report))


@dataclass
class Report:
    """What an import has come to."""

    file: str
    names: Path | None
    rows: list[Row]
    passed: list[Passed]
    """lines of the file that gave no account"""
    unread: list[Passed]
    """the same of the file with names"""
    dry_run: bool
    known: Sequence[Known] = ()
    """names and addresses of the list"""
    imported: list[Row] = field(default_factory=list)
    """what became accounts, or in a dry run would"""
    existing: list[Row] = field(default_factory=list)
    """what has an account already"""
    expires_at: datetime | None = None

    def settle(self, imported: list[Row], expires_at: datetime) -> None:
        """Take down which rows are new, and until when their passwords are good."""
        self.imported = imported
        self.existing = [row for row in self.rows if row not in imported]
        self.expires_at = expires_at if imported else None

    def count(self, why: Why) -> int:
        """Return how many lines were passed for this reason."""
        return sum(line.why is why for line in self.passed)

    def tell(self, place: ActPlace, console: Console, *sentences: str) -> None:
        """Tell of the lines that gave no account, and what else there is to say."""
        _ = console.translations.gettext
        told = [(line.line, self.file, line.error) for line in self.passed if line.error]
        taken = UsageError(problem=_EXISTS)
        told += [(row.line, self.file, taken) for row in self.existing]
        told += [(line.line, str(self.names), line.error) for line in self.unread if line.error]
        lines = [
            _("{path}, line {line}: {problem}.").format(path=path, line=line, problem=error.text(_).rstrip("."))
            for line, path, error in sorted(told, key=lambda each: (each[1] != self.file, each[0]))
        ]
        if len(lines) > TOLD_MOST:
            more = _("Further lines of which there is something to say: {count}; --json tells all.")
            lines[TOLD_MOST:] = [more.format(count=len(lines) - TOLD_MOST)]
        if self.names is None and self.count(Why.UNNAMED):
            lines.append(_("Give the names that stand behind MD5s and addresses with --names."))
        tell(console, place, self._record(), *lines, *sentences)

    def _record(self) -> Record:
        return {
            "dry_run": self.dry_run,
            "imported": [row.name.display for row in self.imported],
            "expires_at": moment(self.expires_at),
            "existing": [row.name.display for row in self.existing],
            "lines": [_record(line) for line in self.passed],
            "names_lines": [_record(line) for line in self.unread],
        }


def _record(line: Passed) -> Record:
    return {"line": line.line, "why": line.why.value, "problem": line.error.text() if line.error else None}


async def _try(place: ActPlace, console: Console, report: Report) -> int:
    _ = console.translations.gettext
    new = report.rows
    if accounts_file(place.store, place.data or data_folder()).exists():
        async with opened(place) as here:
            new = await _new(here.store.accounts, report.rows)
    report.settle(new, now() + LIFETIME)
    report.tell(place, console, _("To be imported: {count}. Nothing was changed.").format(count=len(new)))
    return 0


async def _import(place: ActPlace, console: Console, report: Report) -> int:
    _ = console.translations.gettext
    async with acting(place, make=True) as (here, log):
        accounts, ring = here.store.accounts, here.folder.key_ring(os.urandom)
        verifiers = await _hash(console, await _new(accounts, report.rows))
        expires_at = now() + LIFETIME
        report.settle(await _add(accounts, ring, report.rows, verifiers, expires_at), expires_at)
        if report.known:
            await keep_clients(here.store.clients, report.known, now(), NAMES_MOST)
        for row in report.imported:
            log.info("account-imported", name=row.name.display, by=operator(), expires_at=moment(expires_at))
    sentences = [_("Imported: {count}.").format(count=len(report.imported))]
    if report.imported:
        when = f"{expires_at:%Y-%m-%d %H:%M} UTC"
        sentences += [
            _("Until {when} they sign in with their old passwords, and then have to choose new ones.").format(
                when=when
            ),
            _("Delete the old system's file and its copies: whoever has it can sign in as they can."),
        ]
    report.tell(place, console, *sentences)
    return 0


async def _new(accounts: Accounts, rows: Sequence[Row]) -> list[Row]:
    """Return the rows whose names nobody has."""
    return [row for row in rows if await accounts.find(row.name.key) is None]


async def _hash(console: Console, rows: Sequence[Row]) -> dict[str, Verifier]:
    """Return the verifier of each row by the key of its name."""
    turn = asyncio.Semaphore(HASHED_AT_ONCE)
    with _progress(console, len(rows)) as advance:

        async def one(password: Password) -> Verifier:
            async with turn:
                verifier = await asyncio.to_thread(make_verifier, password, os.urandom(SALT_SIZE), ITERATIONS)
            advance()
            return verifier

        made = await asyncio.gather(*(one(row.password) for row in rows))
    return {row.name.key: verifier for row, verifier in zip(rows, made, strict=True)}


async def _add(
    accounts: Accounts,
    ring: LiveKeyRing,
    rows: Sequence[Row],
    verifiers: dict[str, Verifier],
    expires_at: datetime,
) -> list[Row]:
    """Add the accounts whose names nobody has, all or none; return their rows."""
    while True:
        new = await _new(accounts, [row for row in rows if row.name.key in verifiers])
        try:
            await accounts.add(
                [_new_account(row, verifiers[row.name.key], ring, expires_at) for row in new], now(), "import"
            )
        except NameTaken:  # somebody has just registered
            continue
        return new


def _new_account(row: Row, verifier: Verifier, ring: LiveKeyRing, expires_at: datetime) -> NewAccount:
    return NewAccount(
        name=row.name,
        seal=lambda number: seal(ring, verifier, number, os.urandom),
        credential_type=SCRAM_SHA_256,
        must_change=True,
        expires_at=expires_at,
    )


async def keep_clients(clients: Clients, known: Sequence[Known], at: datetime, most: int) -> None:
    """Remember the names of a list at their addresses, at which `most` are kept; those that are there stay."""
    for each in known:
        if each.address is None:
            continue
        if all(client.key != each.name.key for client in await clients.at(each.address)):
            await clients.visited(each.address, each.name, at, most)


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[], None]]:
    """Show on a terminal how far the hashing is; the function that is given tells of one more."""
    from rich.console import Console as Screen  # noqa: PLC0415 - only where something is hashed
    from rich.progress import Progress  # noqa: PLC0415

    screen = Screen(stderr=True)
    with Progress(console=screen, transient=True, disable=not screen.is_terminal or not total) as bar:
        task = bar.add_task(console.translations.gettext("Hashing passwords"), total=total)
        yield lambda: bar.advance(task)


def _is_list_of_names(data: bytes, passed: Sequence[Passed]) -> bool:
    """Return whether what gave no account at all is a list of names and addresses."""
    if not any(line.why is Why.BROKEN for line in passed):
        return False
    names = read_names(data)
    return bool(names.known) and not names.passed


def _read(path: Path | None) -> bytes:
    """Return what a file holds, or standard input where there is no path.

    Raises:
        FileUnusable: it is no plain file, or too large, or cannot be read.
    """
    if path is None:
        return _capped(sys.stdin.buffer, "-")
    with reported(path, FileUnusable), open(path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FileUnusable(path=str(path), problem=NOT_PLAIN)
        return _capped(file, str(path))


def _capped(file: BinaryIO, path: str) -> bytes:
    data = file.read(FILE_MOST + 1)
    if len(data) > FILE_MOST:
        raise FileUnusable(path=path, problem=_TOO_LARGE, most=FILE_MOST)
    return data


def _without_waiting(path: str, flags: int) -> int:
    """Open what may be a pipe to which nobody writes."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
