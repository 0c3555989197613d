"""`antiphon accounts import`: make accounts of the clients of a home-made system, with their old passwords.

`identity.legacy` parses the lines of the files. This module reads the files, hashes the passwords, adds all
accounts in one transaction, and lists the lines that gave no account.
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
from typing import Annotated

from cyclopts import Parameter

from antiphon import streams
from antiphon.cli.common_options import CommonOptions
from antiphon.cli.event_loop import run_loop
from antiphon.cli.output import Record, iso_time, report_result
from antiphon.cli.store_access import LoggedStoreOptions, now, open_data, open_data_and_log, operator_name
from antiphon.data.credentials import seal
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
"""Life of an imported password: its MD5 acts as the password, so a thief of the file can sign in."""
FILE_MOST = 2 * 1024 * 1024
"""Largest file in bytes: ten thousand lines with the longest names take less."""
CONCURRENT_HASHES = 2
"""Passwords hashed at the same time, each 0.2 s of a core; the server on this machine needs cores too."""
REPORTED_MOST = 20
"""Lines that are reported one by one; `--json` reports all."""
NAMES_FILE = "clients.txt"

NOT_PLAIN = Problem(N_("it is not a plain file"))
_TOO_LARGE = Problem(N_("it has more than {most} bytes"))
_EXISTS = Problem(N_("this name has an account already, which is left as it is"))
_NO_PASSWORDS = Problem(
    N_(
        "{path} holds names and addresses, but no passwords: "
        "give it to --names, beside the file with the passwords."
    )
)


def import_accounts(
    file: Annotated[
        str, Parameter(help="The old system's clients.csv; - for standard input.", allow_leading_hyphen=True)
    ],
    /,
    *,
    names: Annotated[
        Path | None,
        Parameter(help="File with the names of MD5s and addresses [default: clients.txt beside FILE]."),
    ] = None,
    dry_run: Annotated[bool, Parameter(negative=(), help="Show what would happen; change nothing.")] = False,
    skip_broken: Annotated[bool, Parameter(negative=(), help="Skip lines that cannot be read.")] = False,
    options: LoggedStoreOptions = LoggedStoreOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Import accounts from an old system that keeps passwords as MD5.

    Each line of FILE holds a client (its name, or the MD5 of its name or address)
    and the MD5 of its password. The people sign in with their old passwords within
    14 days, and then have to choose new ones. Existing accounts stay as they are.

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
        report.tell(options, console)
        raise ImportRefused(path=file, count=report.count(Why.BROKEN))
    return run_loop(_dry_run(options, console, report) if dry_run else _import(options, console, report))


@dataclass
class Report:
    """The result of an import."""

    file: str
    names: Path | None
    rows: list[Row]
    passed: list[Passed]
    """Lines of the file that gave no account."""
    unread: list[Passed]
    """Lines of the file with names that could not be used."""
    dry_run: bool
    known: Sequence[Known] = ()
    """Names and addresses in the file with names."""
    imported: list[Row] = field(default_factory=list)
    """Rows that became accounts, or in a dry run would."""
    existing: list[Row] = field(default_factory=list)
    """Rows whose name has an account already."""
    expires_at: datetime | None = None

    def set_result(self, imported: list[Row], expires_at: datetime) -> None:
        """Record which rows are new, and until when their passwords are valid."""
        self.imported = imported
        self.existing = [row for row in self.rows if row not in imported]
        self.expires_at = expires_at if imported else None

    def count(self, why: Why) -> int:
        """Return how many lines were passed over for this reason."""
        return sum(line.why is why for line in self.passed)

    def tell(self, options: LoggedStoreOptions, console: Console, *sentences: str) -> None:
        """Report the lines that gave no account, then the sentences."""
        _ = console.translations.gettext
        problems = [(line.line, self.file, line.error) for line in self.passed if line.error]
        taken = UsageError(problem=_EXISTS)
        problems += [(row.line, self.file, taken) for row in self.existing]
        problems += [(line.line, str(self.names), line.error) for line in self.unread if line.error]
        lines = [
            _("{path}, line {line}: {problem}.").format(path=path, line=line, problem=error.text(_).rstrip("."))
            for line, path, error in sorted(problems, key=lambda each: (each[1] != self.file, each[0]))
        ]
        if len(lines) > REPORTED_MOST:
            more = _("Further lines with remarks: {count}; --json shows all of them.")
            lines[REPORTED_MOST:] = [more.format(count=len(lines) - REPORTED_MOST)]
        if self.names is None and self.count(Why.UNNAMED):
            lines.append(_("Use --names to say which names belong to MD5s and addresses."))
        report_result(console, options, self._record(), *lines, *sentences)

    def _record(self) -> Record:
        return {
            "dry_run": self.dry_run,
            "imported": [row.name.display for row in self.imported],
            "expires_at": iso_time(self.expires_at),
            "existing": [row.name.display for row in self.existing],
            "lines": [_record(line) for line in self.passed],
            "names_lines": [_record(line) for line in self.unread],
        }


def _record(line: Passed) -> Record:
    return {"line": line.line, "why": line.why.value, "problem": line.error.text() if line.error else None}


async def _dry_run(options: LoggedStoreOptions, console: Console, report: Report) -> int:
    _ = console.translations.gettext
    new = report.rows
    if accounts_file(options.store_found, options.folder).exists():
        async with open_data(options) as here:
            new = await _without_account(here.store.accounts, report.rows)
    report.set_result(new, now() + LIFETIME)
    report.tell(options, console, _("To be imported: {count}. Nothing was changed.").format(count=len(new)))
    return 0


async def _import(options: LoggedStoreOptions, console: Console, report: Report) -> int:
    _ = console.translations.gettext
    async with open_data_and_log(options, make=True) as (here, log):
        accounts, ring = here.store.accounts, here.folder.key_ring(os.urandom)
        verifiers = await _hash(console, await _without_account(accounts, report.rows))
        expires_at = now() + LIFETIME
        report.set_result(await _add(accounts, ring, report.rows, verifiers, expires_at), expires_at)
        if report.known:
            await keep_clients(here.store.clients, report.known, now(), NAMES_MOST)
        for row in report.imported:
            log.info(
                "account-imported", name=row.name.display, by=operator_name(), expires_at=iso_time(expires_at)
            )
    sentences = [_("Imported: {count}.").format(count=len(report.imported))]
    if report.imported:
        when = f"{expires_at:%Y-%m-%d %H:%M} UTC"
        sentences += [
            _(
                "Until {when} these people can sign in with their old passwords; "
                "they then have to choose new ones."
            ).format(when=when),
            _("Delete the old system's file and all copies: anyone who has it can sign in under these names."),
        ]
    report.tell(options, console, *sentences)
    return 0


async def _without_account(accounts: Accounts, rows: Sequence[Row]) -> list[Row]:
    """Return the rows whose names have no account."""
    return [row for row in rows if await accounts.find(row.name.key) is None]


async def _hash(console: Console, rows: Sequence[Row]) -> dict[str, Verifier]:
    """Hash the passwords; return the verifier of each row by the key of its name."""
    free = asyncio.Semaphore(CONCURRENT_HASHES)
    with _progress(console, len(rows)) as advance:

        async def one(password: Password) -> Verifier:
            async with free:
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
    """Add an account for each name that has none, in one transaction; return the rows added."""
    while True:
        new = await _without_account(accounts, [row for row in rows if row.name.key in verifiers])
        try:
            await accounts.add(
                [_new_account(row, verifiers[row.name.key], ring, expires_at) for row in new], now(), "import"
            )
        except NameTaken:  # somebody has registered the name since the check
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
    """Store the names of the list at their addresses, at most `most` for each address; known names stay."""
    for each in known:
        if each.address is None:
            continue
        if all(client.key != each.name.key for client in await clients.at(each.address)):
            await clients.visited(each.address, each.name, at, most)


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar on a terminal; yield the function that advances it by one."""
    from rich.console import Console as Screen  # noqa: PLC0415 - loaded only when something is hashed
    from rich.progress import Progress  # noqa: PLC0415

    screen = Screen(stderr=True)
    with Progress(console=screen, transient=True, disable=not screen.is_terminal or not total) as bar:
        task = bar.add_task(console.translations.gettext("Hashing passwords"), total=total)
        yield lambda: bar.advance(task)


def _is_list_of_names(data: bytes, passed: Sequence[Passed]) -> bool:
    """Return whether a file that gave no account is a list of names and addresses."""
    if not any(line.why is Why.BROKEN for line in passed):
        return False
    names = read_names(data)
    return bool(names.known) and not names.passed


def _read(path: Path | None) -> bytes:
    """Return the content of a file, or of standard input if `path` is None.

    Raises:
        FileUnusable: it is not a plain file, is too large, or cannot be read.
    """
    if path is None:
        with reported(Path("-"), FileUnusable):
            return _read_capped(sys.stdin.fileno(), "-")
    with reported(path, FileUnusable), open(path, "rb", opener=_open_nonblocking) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FileUnusable(path=str(path), problem=NOT_PLAIN)
        return _read_capped(file.fileno(), str(path))


def _read_capped(descriptor: int, path: str) -> bytes:
    data = streams.read_all(descriptor, FILE_MOST + 1)
    if len(data) > FILE_MOST:
        raise FileUnusable(path=path, problem=_TOO_LARGE, most=FILE_MOST)
    return data


def _open_nonblocking(path: str, flags: int) -> int:
    """Open without waiting: a named pipe without a writer would block."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
