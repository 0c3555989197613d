"""`antiphon backup` and `antiphon restore`: save the accounts and the keys of a server, and bring them back."""

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, cast

from cyclopts import Parameter

from antiphon import streams
from antiphon.cli.common_options import CommonOptions
from antiphon.cli.event_loop import run_loop
from antiphon.cli.output import OutputOptions, Record, iso_time, report_result
from antiphon.cli.store_access import LoggedStoreOptions, now, open_data_and_log, operator_name
from antiphon.data.archive import Manifest
from antiphon.data.backup import back_up, check_target
from antiphon.data.credentials import check_ring
from antiphon.data.folder import KEY_RING_FILE
from antiphon.data.in_thread import in_thread
from antiphon.data.restore import Backup, restore_backup
from antiphon.errors import FileUnusable, InputMissing, OutputFailed, Problem, UsageError
from antiphon.files import reported
from antiphon.language import N_
from antiphon.observe.log import open_log
from antiphon.store.opening import check_copied
from antiphon.store_address import is_postgresql
from antiphon.terminal.console import Console

PIPE = "-"
KEYS_SUFFIX = ".keys"
"""Ending of the name of the file with the keys, unless it is named."""
QUIET_SECONDS = 1.0
"""Time after which a person is told how far the work is."""

_NO_PLACE_FOR_KEYS = Problem(N_("Say where the keys go: --keys FILE, or --without-keys to leave them out."))
_KEYS_TWICE = Problem(N_("Say either --keys or --without-keys."))
_SAME_FILE = Problem(N_("Keys and accounts go into two files."))
_THE_KEYS = Problem(N_("The file with the keys"))


def backup(
    file: Annotated[str, Parameter(help="File to write; - for standard output.", allow_leading_hyphen=True)],
    /,
    *,
    keys: Annotated[Path | None, Parameter(help="File for the keys [default: FILE.keys].")] = None,
    without_keys: Annotated[bool, Parameter(negative=(), help="Leave the keys out.")] = False,
    force: Annotated[bool, Parameter(negative=(), help="Replace files that are there.")] = False,
    options: LoggedStoreOptions = LoggedStoreOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Save accounts, clients and invitations to FILE, and the keys to a second file.

    Servers may go on running. Keep the two files apart: who has both can guess
    passwords. Sessions are not saved: after a restore everybody signs in again.

    For example:
        antiphon backup /backups/antiphon.tar --keys /safe/antiphon.keys
        antiphon backup - --without-keys | ssh store 'cat > antiphon.tar'
    """
    if keys is not None and without_keys:
        raise UsageError(problem=_KEYS_TWICE)
    if keys is None and not without_keys:
        if file == PIPE:
            raise UsageError(problem=_NO_PLACE_FOR_KEYS)
        keys = Path(file + KEYS_SUFFIX)
    target = None if file == PIPE else Path(file).expanduser().absolute()
    keys = None if keys is None else keys.expanduser().absolute()
    if keys is not None and keys == target:
        raise UsageError(problem=_SAME_FILE)
    return run_loop(_backup(options, common.console(), target, keys, force=force), leaves=True)


async def _backup(
    options: LoggedStoreOptions, console: Console, target: Path | None, keys: Path | None, *, force: bool
) -> int:
    _ = console.translations.gettext
    check_copied(options.store_found)
    for path in filter(None, (keys, target)):
        check_target(path, force=force)
    async with open_data_and_log(options, console=console) as (here, log):
        await check_ring(
            here.folder.key_ring(os.urandom), here.store.accounts, str(here.folder.path / KEY_RING_FILE)
        )
        with _progress(console, options) as told:
            manifest = await in_thread(
                lambda told: back_up(
                    here.folder,
                    options.store_found,
                    target or streams.stdout,
                    keys,
                    made_at=now(),
                    told=told,
                    force=force,
                ),
                told,
            )
        log.info(
            "backed-up",
            by=operator_name(),
            path=PIPE if target is None else str(target),
            keys=None if keys is None else str(keys),
            count=manifest.accounts,
        )
    said = [_("Backed up: {count} accounts.").format(count=manifest.accounts)]
    if keys is None:
        said.append(_("The keys are not in it; without them nobody can sign in after a restore."))
    else:
        said.append(
            _("The keys are in {path}. Keep it in another place: anyone who has both can guess passwords.").format(
                path=keys
            )
        )
    record = {
        "path": PIPE if target is None else str(target),
        "keys": None if keys is None else str(keys),
        **_facts(manifest),
    }
    if target is not None or not options.json:
        report_result(console, options, record, *said)
    return 0


def restore(
    file: Annotated[str, Parameter(help="File of a backup; - for standard input.", allow_leading_hyphen=True)],
    /,
    *,
    keys: Annotated[
        Path | None, Parameter(help="Its file with the keys [default: FILE.keys, if it is there].")
    ] = None,
    options: LoggedStoreOptions = LoggedStoreOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Restore a backup into a data folder that is new or empty.

    The accounts go into it too, or into the empty PostgreSQL database that
    --store names. Accounts that were kept in files can also go to files:DIR, or
    into SQLite.

    For example:
        antiphon restore antiphon.tar --keys antiphon.keys --data /srv/antiphon
        antiphon restore antiphon.tar --store postgresql://antiphon@db/antiphon
    """
    source = None if file == PIPE else Path(file).expanduser()
    keys = None if keys is None else keys.expanduser()
    return run_loop(_restore(options, common.console(), source, keys), leaves=True)


async def _restore(options: LoggedStoreOptions, console: Console, source: Path | None, keys: Path | None) -> int:
    _ = console.translations.gettext
    data = options.folder.expanduser().absolute()
    file = PIPE if source is None else str(source)
    with _opened(source) as accounts:  # before its keys are asked for: it may not be there
        keys = await _keys_of(source, keys, console)
        with _opened(keys) as of_keys:
            with reported(source or Path(PIPE), FileUnusable):
                backup = Backup((file, accounts), (str(keys), of_keys))
            store = backup.store_for(options.store, data)
            _check_log(options.log, data)
            with _progress(console, options) as told:
                manifest = await restore_backup(backup, data, store, told)
    log = open_log(options.log or data / "server.log")
    try:
        log.info(
            "restored", by=operator_name(), path=file, made_at=iso_time(manifest.made_at), count=manifest.accounts
        )
    finally:
        log.close()
    words = ["antiphon", "serve", "--data", str(data)]
    said = [
        _("Restored: {count} accounts, as they were on {time}, into {path}.").format(
            count=manifest.accounts, time=iso_time(manifest.made_at), path=data
        ),
        _("Start the server: {command}").format(command=shlex.join(words)),
    ]
    kind = store.partition(":")[0]
    if is_postgresql(store):
        kind = "postgresql"
        said.insert(1, _("The accounts are in {database}.").format(database=store))
    record = {"path": file, "keys": str(keys), "data": str(data), **_facts(manifest), "store": kind}
    report_result(console, options, record, *said)
    return 0


def _check_log(log: Path | None, data: Path) -> None:
    """Check that a log elsewhere than in `data` can be written: a command that cannot be logged does not run."""
    if log is not None and not log.absolute().is_relative_to(data):
        open_log(log).close()


async def _keys_of(source: Path | None, keys: Path | None, console: Console) -> Path:
    """Return the file with the keys of the backup `source`.

    Raises:
        InputMissing: it is not named, not beside the backup, and nobody can be asked.
    """
    if keys is not None:
        return keys
    if source is not None and (beside := source.with_name(source.name + KEYS_SUFFIX)).exists():
        return beside
    if not console.can_ask:
        raise InputMissing(what=_THE_KEYS, how="--keys FILE")
    return await console.ask(console.translations.gettext("The file with the keys"), _path)


def _path(given: str) -> Path:
    path = Path(given).expanduser()
    with reported(path, FileUnusable):
        path.stat()
    return path


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[BinaryIO]:
    """Open a file, or standard input."""
    if path is None:
        yield cast("BinaryIO", _StandardInput())
        return
    with contextlib.ExitStack() as stack:
        with reported(path, FileUnusable):
            file = stack.enter_context(path.open("rb"))
        yield file


class _StandardInput:
    """Standard input as a file: a pipe that pauses is read to its end."""

    def read(self, size: int) -> bytes:
        return streams.read_some(sys.stdin.fileno(), size)


def _facts(manifest: Manifest) -> Record:
    return {"store": manifest.store, "count": manifest.accounts, "made_at": iso_time(manifest.made_at)}


@contextlib.contextmanager
def _progress(console: Console, options: OutputOptions) -> Iterator["_Progress"]:
    """Tell a person at a terminal how far long work is."""
    progress = _Progress(
        console.translations.gettext("{percent} % done"), shows=streams.stderr.isatty() and not options.json
    )
    try:
        yield progress
    finally:
        progress.end()


class _Progress:
    """Shows how far the work is, in one line that is written again and again."""

    def __init__(self, text: str, *, shows: bool) -> None:
        self._text = text
        self._next = time.monotonic() + QUIET_SECONDS if shows else float("inf")
        self._shown = False

    def __call__(self, done: int, of: int) -> None:
        if time.monotonic() < self._next:
            return
        self._next, self._shown = time.monotonic() + QUIET_SECONDS / 4, True
        with contextlib.suppress(OutputFailed):  # the work goes on
            streams.stderr.write("\r" + self._text.format(percent=100 * done // max(of, 1)))

    def end(self) -> None:
        if self._shown:
            with contextlib.suppress(OutputFailed):
                streams.stderr.write("\n")
