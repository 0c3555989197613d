"""`antiphon accounts rekey`: new keys for what is sealed at rest."""

import os
import sys

from antiphon.cli.common import Common, run_loop
from antiphon.cli.operator import ActPlace, acting, operator, tell
from antiphon.data.folder import KEY_RING_FILE
from antiphon.data.rekey import BATCH, rekey
from antiphon.terminal.console import Console


def rekey_accounts(*, place: ActPlace = ActPlace(), common: Common = Common()) -> int:
    """Seal all accounts with a new key, and drop the old one. No session ends, and servers may run meanwhile.

    One that was cut short is finished by the next.

    For example:
        antiphon accounts rekey
    """
    return run_loop(_rekey(place, common.console()))


async def _rekey(place: ActPlace, console: Console) -> int:
    _ = console.translations.gettext
    shown = False

    def progress(done: int) -> None:
        nonlocal shown
        if done >= BATCH and sys.stderr.isatty() and not place.json:
            shown = True
            text = _("Accounts sealed again: {count}.").format(count=done)
            print(f"\r{text}", end="", file=sys.stderr, flush=True)

    async with acting(place) as (here, log):
        try:
            done = await rekey(here.folder, here.store.accounts, os.urandom, progress)
        finally:
            if shown:
                print(file=sys.stderr)
        log.info("keys-changed", by=operator(), number=done.number, accounts=done.accounts)
    tell(
        console,
        place,
        {"number": done.number, "accounts": done.accounts},
        _("Key {number} seals now. Accounts sealed again: {count}.").format(
            number=done.number, count=done.accounts
        ),
        _("Make a new backup of {path}: an older one does not open these accounts.").format(
            path=here.folder.path / KEY_RING_FILE
        ),
    )
    return 0
