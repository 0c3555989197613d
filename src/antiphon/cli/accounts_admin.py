"""`antiphon accounts admin`: say who may use the status page."""

from typing import Annotated

from cyclopts import Parameter

from antiphon.cli.common_options import CommonOptions
from antiphon.cli.event_loop import run_loop
from antiphon.cli.output import report_result
from antiphon.cli.store_access import LoggedStoreOptions, open_data_and_log, operator_name
from antiphon.terminal.console import Console


def admin(
    account: Annotated[str, Parameter(help="The account's name.")],
    /,
    *,
    remove: Annotated[bool, Parameter(help="Take the mark away.", negative=())] = False,
    options: LoggedStoreOptions = LoggedStoreOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Make an account an administrator's: it may sign in to the status page, and act there.

    For example:
        antiphon accounts admin ann
        antiphon accounts admin ann --remove
    """
    return run_loop(_admin(options, common.console(), account, wanted=not remove))


async def _admin(options: LoggedStoreOptions, console: Console, name: str, *, wanted: bool) -> int:
    _ = console.translations.gettext
    async with open_data_and_log(options, console=console) as (here, log):
        account = await here.account(name)
        changed = await here.store.accounts.set_administrator(account.id, administrator=wanted)
        if wanted:
            log.info("administrator-added", name=account.display, by=operator_name())
        else:
            log.info("administrator-removed", name=account.display, by=operator_name())
    told = _("“{name}” is an administrator now.") if wanted else _("“{name}” is no administrator now.")
    report_result(
        console,
        options,
        {"name": account.display, "administrator": wanted, "changed": changed},
        told.format(name=account.display),
    )
    return 0
