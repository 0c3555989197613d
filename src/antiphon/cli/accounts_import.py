"""`antiphon accounts import`: make accounts of the clients of a home-made system, with their old passwords.

`identity.legacy` parses the files, `import_report` lists the lines that gave no account. This module reads the
files, hashes the passwords, and adds all accounts in one transaction.
"""

import asyncio
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from antiphon import streams
from antiphon.cli.common_options import CommonOptions
from antiphon.cli.event_loop import run_loop
from antiphon.cli.import_names import import_names, keep_clients
from antiphon.cli.import_report import Report
from antiphon.cli.output import iso_time
from antiphon.cli.store_access import (
    LoggedStoreOptions,
    holds_accounts,
    now,
    open_data,
    open_data_and_log,
    operator_name,
)
from antiphon.data.credentials import seal
from antiphon.data.keyring import LiveKeyRing
from antiphon.errors import FileUnusable, ImportRefused, NameTaken, Problem, SettingInvalid, UsageError
from antiphon.files import reported
from antiphon.identity.legacy import (
    NO_PASSWORDS,
    SEPARATOR_WORDS,
    SEPARATORS,
    Hints,
    Names,
    Passed,
    Plain,
    Row,
    Scheme,
    Why,
    are_columns,
    read_accounts,
    read_names,
)
from antiphon.identity.old_forms import FORMS_MOST, HASHES, OldForm, read_form
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS, SALT_SIZE, Verifier, make_verifier
from antiphon.language import N_
from antiphon.server.auth.by_address import NAMES_MOST
from antiphon.store.contracts import Accounts, NewAccount, Store
from antiphon.terminal.console import Console
from antiphon.wire.bodies import SCRAM_SHA_256

LIFETIME = timedelta(days=14)
"""Life of an imported password: a thief of the file can sign in with what stands there."""
FILE_MOST = 2 * 1024 * 1024
"""Largest file in bytes: ten thousand lines with the longest names take less."""
CONCURRENT_HASHES = 2
"""Passwords hashed at the same time, each 0.2 s of a core; the server on this machine needs cores too."""
NAMES_FILE = "clients.txt"

NOT_PLAIN = Problem(N_("it is not a plain file"))
_TOO_LARGE = Problem(N_("it has more than {most} bytes"))
_NO_CLIENTS = Problem(N_("{path} holds no clients."))
_NAMES_ONLY = Problem(N_("it is of no use beside --names-only"))
_MOSTLY_BROKEN = Problem(
    N_(
        "Nothing was imported, because most of {path} cannot be read ({broken} of {count}): "
        "it is probably of another format."
    )
)
_TOO_MANY_FORMS = Problem(
    N_(
        "People imported earlier still have other kinds of passwords ({forms}), and a server has at most {most} "
        "kinds at once: each makes a wrong password count once more. Import this file when those have changed."
    )
)
_SCHEMES = Problem(N_("it must be plain, or one of {schemes}, with +TEXT behind it for a text after the password"))
_SEPARATORS = Problem(N_("it must be tab, space, or one of ; , : |"))
_COLUMNS = Problem(
    N_("it must name a name or an address, and a password, as in ip,name,password (- is another field)")
)


def import_accounts(
    file: Annotated[
        str, Parameter(help="The old system's file; - for standard input.", allow_leading_hyphen=True)
    ],
    /,
    *,
    names: Annotated[
        Path | None,
        Parameter(help="File with the names of MD5s and addresses [default: clients.txt beside FILE]."),
    ] = None,
    scheme: Annotated[
        str | None,
        Parameter(
            help="What the passwords are: plain, md5, sha224, sha256 or sha512; md5+TEXT is the MD5 of the "
            "password with TEXT behind it [default: as FILE shows]."
        ),
    ] = None,
    separator: Annotated[
        str | None,
        Parameter(
            help="What stands between two fields: tab, space, or one of ; , : | [default: as FILE shows].",
            allow_leading_hyphen=True,
        ),
    ] = None,
    columns: Annotated[
        str | None,
        Parameter(
            help="Heading of a FILE without one, such as ip,name,password; - is a field of no use.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    names_only: Annotated[
        bool,
        Parameter(negative=(), help="FILE holds names and addresses alone: keep them for --access identify."),
    ] = False,
    dry_run: Annotated[bool, Parameter(negative=(), help="Show what would happen; change nothing.")] = False,
    skip_broken: Annotated[bool, Parameter(negative=(), help="Skip lines that cannot be read.")] = False,
    options: LoggedStoreOptions = LoggedStoreOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Import accounts from an old, home-made system.

    FILE holds names (or addresses, or MD5s of either) and passwords: plain text or
    digests, in lines (name;password, ip;name;password, any usual separator) or in
    JSON. The people sign in with their old passwords within 14 days, and then have
    to choose new ones. Existing accounts stay as they are.

    For example:
        antiphon accounts import clients.csv --dry-run
        antiphon accounts import clients.csv --names clients.txt
        antiphon accounts import users.json --scheme plain
        antiphon accounts import users.txt --scheme md5+salt --separator space
        antiphon accounts import names.json --names-only
    """
    console = common.console()
    if names_only:
        given = {"--names": names, "--scheme": scheme, "--separator": separator, "--columns": columns}
        for option in (option for option, value in given.items() if value is not None):
            raise SettingInvalid(source=option, problem=_NAMES_ONLY)
        list_of_names = read_names(_read(None if file == "-" else Path(file)), file)
        return import_names(options, console, file, list_of_names, dry_run=dry_run, skip_broken=skip_broken)
    hints = Hints(_read_scheme(scheme), _read_separator(separator), _read_columns(columns))
    beside = Path(file).parent / NAMES_FILE
    if names is None and file != "-" and beside.is_file() and beside.resolve() != Path(file).resolve():
        names = beside
    known = read_names(_read(names), str(names)) if names else Names()
    data = _read(None if file == "-" else Path(file))
    rows, passed, found = read_accounts(data, known, hints, file)
    if not rows and _is_list_of_names(data, passed):
        raise UsageError(problem=NO_PASSWORDS, path=file)
    report = Report(file, names, rows, passed, known.passed, dry_run, found, known.known)
    if not report.clients and not report.count(Why.REPEATED):
        raise UsageError(problem=_NO_CLIENTS, path=file)
    broken = report.count(Why.BROKEN)
    if broken and not skip_broken:
        report.tell(options, console)
        raise ImportRefused(path=file, count=broken)
    if broken > report.clients - broken:
        report.tell(options, console)
        raise UsageError(problem=_MOSTLY_BROKEN, path=file, broken=broken, count=report.clients)
    return run_loop(_dry_run(options, console, report) if dry_run else _import(options, console, report))


def _read_scheme(text: str | None) -> Scheme | None:
    if text is None:
        return None
    scheme: Scheme | None = Plain.PLAIN if text == Plain.PLAIN else read_form(text)
    if scheme is None:
        raise SettingInvalid(source="--scheme", problem=_SCHEMES, schemes=", ".join(HASHES))
    return scheme


def _read_separator(text: str | None) -> str | None:
    separator = SEPARATOR_WORDS.get(text or "", text)
    if separator is not None and (len(separator) != 1 or separator not in SEPARATORS):
        raise SettingInvalid(source="--separator", problem=_SEPARATORS)
    return separator


def _read_columns(text: str | None) -> tuple[str, ...]:
    columns = () if text is None else tuple(word.strip() for word in text.split(","))
    if text is not None and not are_columns(columns):
        raise SettingInvalid(source="--columns", problem=_COLUMNS)
    return columns


async def _dry_run(options: LoggedStoreOptions, console: Console, report: Report) -> int:
    _ = console.translations.gettext
    new = report.rows
    if holds_accounts(options):
        async with open_data(options, console=console) as here:
            new = await _without_account(here.store.accounts, report.rows)
            await _check_forms(here.store.accounts, report)
    report.set_result(new, now() + LIFETIME)
    report.tell(
        options,
        console,
        _("To be imported: {count}. Nothing was changed.").format(count=len(new)),
        *report.about_passwords(_),
    )
    return 0


async def _import(options: LoggedStoreOptions, console: Console, report: Report) -> int:
    _ = console.translations.gettext
    async with open_data_and_log(options, console=console, make=True) as (here, log):
        accounts, ring = here.store.accounts, here.folder.key_ring(os.urandom)
        await _check_forms(accounts, report)
        verifiers = await _hash(console, await _without_account(accounts, report.rows))
        expires_at = here.store.now() + LIFETIME
        report.set_result(await _add(here.store, ring, report, verifiers, expires_at), expires_at)
        if report.known:
            await keep_clients(here.store.clients, report.known, here.store.now(), NAMES_MOST)
        for row in report.imported:
            log.info(
                "account-imported", name=row.name.display, by=operator_name(), expires_at=iso_time(expires_at)
            )
    sentences = [_("Imported: {count}.").format(count=len(report.imported)), *report.about_passwords(_)]
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


async def _check_forms(accounts: Accounts, report: Report) -> None:
    """Check that this import leaves no more forms of passwords than a client tries.

    Raises:
        UsageError: there are too many.
    """
    forms = await accounts.old_forms(now())
    is_digest = report.rows and isinstance(report.scheme, OldForm)
    if is_digest and len({*forms, str(report.scheme)}) > FORMS_MOST:
        raise UsageError(problem=_TOO_MANY_FORMS, forms=", ".join(forms), most=FORMS_MOST)


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
    store: Store,
    ring: LiveKeyRing,
    report: Report,
    verifiers: dict[str, Verifier],
    expires_at: datetime,
) -> list[Row]:
    """Add an account for each name that has none, in one transaction; return the rows added."""
    while True:
        new = await _without_account(store.accounts, [row for row in report.rows if row.name.key in verifiers])
        form = str(report.scheme) if isinstance(report.scheme, OldForm) else None
        try:
            added = [_new_account(row, verifiers[row.name.key], ring, expires_at, form) for row in new]
            await store.accounts.add(added, store.now(), "import")
        except NameTaken:  # somebody has registered the name since the check
            continue
        return new


def _new_account(
    row: Row, verifier: Verifier, ring: LiveKeyRing, expires_at: datetime, form: str | None
) -> NewAccount:
    return NewAccount(
        name=row.name,
        seal=lambda number, key: seal(ring, verifier, number, key, os.urandom),
        credential_type=SCRAM_SHA_256,
        must_change=True,
        expires_at=expires_at,
        old_form=form,
    )


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
    return not names.passed and any(known.address is not None for known in names.known)


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
