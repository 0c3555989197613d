"""Import of names without passwords: who was known at which address, for `--access identify`."""

from collections.abc import Sequence
from datetime import datetime

from antiphon.cli.event_loop import run_loop
from antiphon.cli.import_report import Report
from antiphon.cli.store_access import LoggedStoreOptions, open_data_and_log, operator_name
from antiphon.errors import ImportRefused, Problem, UsageError
from antiphon.identity.legacy import Known, Names, Plain, Why
from antiphon.language import N_
from antiphon.server.auth.by_address import NAMES_MOST
from antiphon.store.contracts import Clients
from antiphon.terminal.console import Console

_NO_ADDRESSES = Problem(N_("{path} holds no names with addresses."))


def import_names(
    options: LoggedStoreOptions, console: Console, file: str, names: Names, *, dry_run: bool, skip_broken: bool
) -> int:
    """Keep the names of a list at their addresses; return the exit code.

    Raises:
        ImportRefused: a line cannot be read, and `skip_broken` does not say to go on.
        UsageError: no name has an address.
    """
    known = [each for each in names.known if each.address is not None]
    report = Report(file, None, [], names.passed, [], dry_run, Plain.PLAIN, known, kept=known)
    broken = report.count(Why.BROKEN)
    if broken and (not skip_broken or broken > len(known)):
        report.kept = []
        report.tell(options, console)
        raise ImportRefused(path=file, count=broken)
    if not known:
        raise UsageError(problem=_NO_ADDRESSES, path=file)
    _ = console.translations.gettext
    if dry_run:
        said = _("Names to be kept at their addresses: {count}. Nothing was changed.")
    else:
        run_loop(_keep(options, console, known))
        said = _("Names kept at their addresses: {count}. They count where the server has --access identify.")
    report.tell(options, console, said.format(count=len(known)))
    return 0


async def _keep(options: LoggedStoreOptions, console: Console, known: Sequence[Known]) -> int:
    async with open_data_and_log(options, console=console, make=True) as (here, log):
        await keep_clients(here.store.clients, known, here.store.now(), NAMES_MOST)
        log.info("names-imported", count=len(known), by=operator_name())
    return 0


async def keep_clients(clients: Clients, known: Sequence[Known], at: datetime, most: int) -> None:
    """Store the names of the list at their addresses, at most `most` for each address; known names stay."""
    for each in known:
        if each.address is None:
            continue
        if all(client.key != each.name.key for client in await clients.at(each.address)):
            await clients.visited(each.address, each.name, at, most)
