"""`antiphon accounts rekey`: replace the key that seals the accounts at rest."""

import os
from collections.abc import Callable
from contextlib import suppress

from antiphon import streams
from antiphon.cli.common_options import CommonOptions
from antiphon.cli.event_loop import run_loop
from antiphon.cli.output import report_result
from antiphon.cli.store_access import LoggedStoreOptions, OpenData, open_data_and_log, operator_name
from antiphon.data.folder import KEY_RING_FILE
from antiphon.data.rekey import BATCH, KeyAdded, Rekeyed, places_of, rekey, rekey_nodes
from antiphon.errors import OutputFailed
from antiphon.server.home.node_keys import NodeKeys
from antiphon.terminal.console import Console


def rekey_accounts(
    *, options: LoggedStoreOptions = LoggedStoreOptions(), common: CommonOptions = CommonOptions()
) -> int:
    """Seal all accounts with a new key and drop the old one. Servers may go on running; no session ends.

    If it is interrupted, run it again: it finishes the work. Where several nodes share a database, the first run
    adds the key; copy secret.key to the other nodes then, and run it again.

    For example:
        antiphon accounts rekey
    """
    return run_loop(_rekey(options, common.console()))


async def _changed(here: OpenData, progress: Callable[[int], None]) -> Rekeyed | KeyAdded:
    accounts = here.store.accounts
    if here.store.owner is None:
        return await rekey(here.folder, accounts, os.urandom, progress)
    return await rekey_nodes(here.folder, accounts, NodeKeys(here.store), os.urandom, progress)


async def _rekey(options: LoggedStoreOptions, console: Console) -> int:
    _ = console.translations.gettext
    shown = False

    def progress(done: int) -> None:
        nonlocal shown
        if done >= BATCH and streams.stderr.isatty() and not options.json:
            shown = True
            text = _("Accounts sealed again: {count}.").format(count=done)
            with suppress(OutputFailed):  # the work goes on
                streams.stderr.write(f"\r{text}")

    async with open_data_and_log(options, console=console) as (here, log):
        try:
            done = await _changed(here, progress)
        finally:
            if shown:
                with suppress(OutputFailed):
                    streams.stderr.write("\n")
        if isinstance(done, KeyAdded):
            log.info("key-added", by=operator_name(), number=done.number)
        else:
            log.info("keys-changed", by=operator_name(), number=done.number, accounts=done.accounts)
    if isinstance(done, KeyAdded):
        report_result(
            console,
            options,
            {"added": done.number, "lacking": sorted({each.where for each in done.lacking})},
            _("Key {number} was added to {path}; the key before it still seals.").format(
                number=done.number, path=here.folder.place(KEY_RING_FILE)
            ),
            _("Copy this file to the other nodes, with mode 0600, and run the command again: {places}.").format(
                places=places_of(done.lacking)
            ),
        )
        return 0
    report_result(
        console,
        options,
        {"number": done.number, "accounts": done.accounts},
        _("Key {number} is in use now. Accounts sealed again: {count}.").format(
            number=done.number, count=done.accounts
        ),
        _("Make a new backup of {path}: an older one does not open these accounts.").format(
            path=here.folder.path / KEY_RING_FILE
        ),
    )
    return 0
