"""`antiphon db`: the version of a store's tables, and their upgrade."""

import asyncio

from cyclopts import App

from antiphon.cli.common_options import CommonOptions
from antiphon.cli.event_loop import run_loop
from antiphon.cli.output import report_result
from antiphon.cli.store_access import StoreOptions, check_made
from antiphon.data.folder import DataFolder
from antiphon.store.opening import SCHEMA_VERSION, upgrade, versions
from antiphon.store_address import is_postgresql
from antiphon.terminal.console import Console

app = App(
    name="db",
    help="Show the version of a store's tables, and upgrade them.\n\nFor example:\n    antiphon db status",
    help_format="plaintext",
)


@app.command
def status(*, options: StoreOptions = StoreOptions(), common: CommonOptions = CommonOptions()) -> int:
    """Show the version of the tables, and the version that this program needs. Nothing is changed.

    For example:
        antiphon db status
        antiphon db status --store postgresql://antiphon@db.example.org/antiphon --json
    """
    console = common.console()
    _ = console.translations.gettext
    found = versions(options.store_found, options.folder)
    told = {
        place: _("{database}: no tables yet; a server makes them.")
        if version is None
        else _("{database}: version {version}; this program needs version {wanted}.")
        for place, version in found.items()
    }
    report_result(
        console,
        options,
        {"databases": found, "wanted": SCHEMA_VERSION},
        *(
            sentence.format(database=place, version=found[place], wanted=SCHEMA_VERSION)
            for place, sentence in told.items()
        ),
    )
    return 0


@app.command(name="upgrade")
def upgrade_tables(*, options: StoreOptions = StoreOptions(), common: CommonOptions = CommonOptions()) -> int:
    """Make the tables of this version from those of an earlier one, all or none.

    A server upgrades SQLite files by itself, and keeps a copy. A PostgreSQL database is upgraded by this command
    alone: make a backup, and stop the servers of the earlier version first. An empty one is set up.

    For example:
        antiphon db upgrade --store postgresql://antiphon@db.example.org/antiphon
    """
    return run_loop(_upgrade(options, common.console()))


async def _upgrade(options: StoreOptions, console: Console) -> int:
    _ = console.translations.gettext
    store = options.store_found
    if not is_postgresql(store):  # a database may be set up from elsewhere
        await check_made(options)
    before = await asyncio.to_thread(versions, store, options.folder)
    copies = await upgrade(store, DataFolder.open(options.folder).path)
    done = [place for place, version in before.items() if version != SCHEMA_VERSION]
    report_result(
        console,
        options,
        {"upgraded": done, "version": SCHEMA_VERSION, "copies": [str(copy) for copy in copies]},
        *(_("{database} has the tables of version {version} now.").format(database=place, version=SCHEMA_VERSION)
          for place in done),
        *(_("A copy of the file before is {path}.").format(path=copy) for copy in copies),
        *([] if done else [_("The tables are of version {version} already.").format(version=SCHEMA_VERSION)]),
    )  # fmt: skip
    return 0
