"""`antiphon accounts`: manage the accounts that may sign in."""

import os
from typing import Annotated

from cyclopts import App, Parameter

from antiphon import streams
from antiphon.blocklist import common_passwords
from antiphon.cli.accounts_admin import admin
from antiphon.cli.accounts_export import account_record, export_accounts
from antiphon.cli.accounts_import import import_accounts
from antiphon.cli.accounts_rekey import rekey_accounts
from antiphon.cli.common_options import CommonOptions
from antiphon.cli.connect import password_from
from antiphon.cli.event_loop import run_loop
from antiphon.cli.output import report_result, secret_shown, show_records
from antiphon.cli.sessions import session_records
from antiphon.cli.store_access import (
    LoggedStoreOptions,
    StoreOptions,
    open_data,
    open_data_and_log,
    operator_name,
)
from antiphon.data.credentials import seal
from antiphon.errors import AccountExists, InputMissing, NameTaken, Problem, UsageError
from antiphon.identity.names import prepare
from antiphon.identity.passwords import Password, check, passphrase
from antiphon.identity.scram import ITERATIONS, SALT_SIZE, Verifier, make_verifier
from antiphon.language import N_
from antiphon.settings import PASSWORD_MINIMUM, PASSWORD_MINIMUM_LEAST
from antiphon.terminal.console import Console
from antiphon.terminal.password_prompt import ask_new_password
from antiphon.wire.bodies import SCRAM_SHA_256

_NOT_CONFIRMED = Problem(N_("Nothing was removed."))
_NEW_PASSPHRASE = Problem(N_("The new passphrase of “{name}”"))
_TOO_SMALL = Problem(N_("--password-minimum must be at least {least}."))

Account = Annotated[str, Parameter(help="The account's name.")]

app = App(
    name="accounts",
    help="Manage the accounts that may sign in.\n\nFor example:\n    antiphon accounts list",
    help_format="plaintext",
)
app.command(admin)
app.command(rekey_accounts, name="rekey")
app.command(import_accounts, name="import")
app.command(export_accounts, name="export")


@app.command
def add(
    account: Annotated[str, Parameter(help="The new name.")],
    /,
    *,
    password_file: Annotated[
        str | None,
        Parameter(help="File whose first line is the password; - for standard input.", allow_leading_hyphen=True),
    ] = None,
    password_minimum: Annotated[
        int, Parameter(help=f"Shortest password in characters; at least {PASSWORD_MINIMUM_LEAST}.")
    ] = PASSWORD_MINIMUM,
    options: LoggedStoreOptions = LoggedStoreOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Add an account. The password is asked for, or read from --password-file or ANTIPHON_PASSWORD.

    For example:
        antiphon accounts add ann
        antiphon accounts add ann --password-file secret.txt --json
    """
    if password_minimum < PASSWORD_MINIMUM_LEAST:
        raise UsageError(problem=_TOO_SMALL, least=PASSWORD_MINIMUM_LEAST)
    return run_loop(_add(options, common.console(), account, password_from(password_file), password_minimum))


@app.command(name="list")
def list_accounts(*, options: StoreOptions = StoreOptions(), common: CommonOptions = CommonOptions()) -> int:
    """List the accounts: name, disabled, last visit and its address, sign-ins refused since, expiry.

    For example:
        antiphon accounts list
        antiphon accounts list --json
    """
    return run_loop(_list(options, common.console()))


@app.command(name="show")
def show_account(
    account: Account, /, *, options: StoreOptions = StoreOptions(), common: CommonOptions = CommonOptions()
) -> int:
    """Show one account and its sessions.

    For example:
        antiphon accounts show ann
    """
    return run_loop(_show(options, common.console(), account))


@app.command
def disable(
    account: Account,
    /,
    *,
    options: LoggedStoreOptions = LoggedStoreOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Refuse an account from now on and end its sessions; the account is kept.

    For example:
        antiphon accounts disable ann
    """
    return run_loop(_disable(options, common.console(), account))


@app.command
def enable(
    account: Account,
    /,
    *,
    options: LoggedStoreOptions = LoggedStoreOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Let a disabled account sign in again, or one that is locked after too many failed sign-ins.

    For example:
        antiphon accounts enable ann
    """
    return run_loop(_enable(options, common.console(), account))


@app.command
def remove(
    account: Account,
    /,
    *,
    options: LoggedStoreOptions = LoggedStoreOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Remove an account for good and end its sessions. On a terminal the command asks first.

    For example:
        antiphon accounts remove ann
    """
    return run_loop(_remove(options, common.console(), account))


@app.command
def password(
    account: Account,
    /,
    *,
    options: LoggedStoreOptions = LoggedStoreOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Give an account a new passphrase, shown once, and end its sessions.

    For people who have forgotten their password: it is not asked for. They have to
    choose a new one at the next sign-in.

    For example:
        antiphon accounts password ann
    """
    return run_loop(_password(options, common.console(), account))


@app.command
def rename(
    account: Account,
    new: Annotated[str, Parameter(help="The new name.")],
    /,
    *,
    options: LoggedStoreOptions = LoggedStoreOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Give an account another name and end its sessions; the password stays.

    For example:
        antiphon accounts rename ann anna
    """
    return run_loop(_rename(options, common.console(), account, new))


async def _add(
    options: LoggedStoreOptions, console: Console, name: str, given: Password | None, minimum: int
) -> int:
    _ = console.translations.gettext
    wanted = prepare(name)
    async with open_data_and_log(options, console=console, make=True) as (here, log):
        ring = here.folder.key_ring(os.urandom)
        if await here.store.accounts.find(wanted.key) is not None:  # checked before a person thinks up a password
            raise AccountExists(name=wanted.display)
        chosen = given or await _ask_password(console, minimum, wanted.display)
        verifier = _verifier(check(chosen.text, minimum, name=wanted.display, common=common_passwords()))
        try:
            await here.store.accounts.register(
                wanted,
                lambda number, key: seal(ring, verifier, number, key, os.urandom),
                SCRAM_SHA_256,
                here.store.now(),
                "operator",
            )
        except NameTaken:
            raise AccountExists(name=wanted.display) from None
        log.info("account-added", name=wanted.display, by=operator_name())
    report_result(
        console, options, {"name": wanted.display}, _("“{name}” can sign in now.").format(name=wanted.display)
    )
    return 0


async def _ask_password(console: Console, minimum: int, name: str) -> Password:
    _ = console.translations.gettext
    if not console.can_ask:
        raise InputMissing(what=_("The password"), how=_("--password-file or ANTIPHON_PASSWORD"))
    console.tell(
        _(
            "Think up a password of {minimum} characters or more, or press Enter for a passphrase made for you."
        ).format(minimum=minimum)
    )
    return await ask_new_password(console, minimum, name)


async def _list(options: StoreOptions, console: Console) -> int:
    _ = console.translations.gettext
    async with open_data(options, console=console) as here:
        rows = [account_record(overview) for overview in await here.overviews()]
    headings = {
        "name": _("Name"),
        "disabled": _("Disabled"),
        "administrator": _("Administrator"),
        "visited_at": _("Last visit"),
        "visited_from": _("From"),
        "refusals": _("Refused since"),
        "expires_at": _("Expires"),
    }
    show_records(options, rows, headings)
    return 0


async def _show(options: StoreOptions, console: Console, name: str) -> int:
    _ = console.translations.gettext
    async with open_data(options, console=console) as here:
        account = await here.account(name)
        overviews = await here.overviews()
        record = next(account_record(overview) for overview in overviews if overview.id == account.id)
        record["sessions"] = await session_records(here, account.id)
    if options.json:
        report_result(console, options, record)
        return 0
    sessions = record.pop("sessions")
    rows = [{"field": key, "value": value} for key, value in record.items()]
    rows += [{"field": "session", "value": f"{session['id']} {session['address']}"} for session in sessions]
    show_records(options, rows, {"field": _("Account"), "value": account.display})
    return 0


async def _disable(options: LoggedStoreOptions, console: Console, name: str) -> int:
    _ = console.translations.gettext
    async with open_data_and_log(options, console=console) as (here, log):
        account = await here.account(name)
        changed = await here.store.accounts.set_disabled(account.id, disabled=True)
        ended = await here.end_sessions(
            account, "disabled"
        )  # even if disabled already: an earlier run may have been interrupted
        log.info("account-disabled", name=account.display, by=operator_name(), sessions=ended)
    report_result(
        console,
        options,
        {"name": account.display, "disabled": True, "changed": changed, "sessions_ended": ended},
        _("“{name}” is disabled.").format(name=account.display),
        _("Sessions ended: {count}.").format(count=ended),
    )
    return 0


async def _enable(options: LoggedStoreOptions, console: Console, name: str) -> int:
    async with open_data_and_log(options, console=console) as (here, log):
        account = await here.account(name)
        changed = await here.store.accounts.set_disabled(account.id, disabled=False)
        await here.forgive(account)
        log.info("account-enabled", name=account.display, by=operator_name())
    report_result(
        console,
        options,
        {"name": account.display, "disabled": False, "changed": changed},
        console.translations.gettext("“{name}” can sign in now.").format(name=account.display),
    )
    return 0


async def _remove(options: LoggedStoreOptions, console: Console, name: str) -> int:
    _ = console.translations.gettext
    async with open_data_and_log(options, console=console) as (here, log):
        account = await here.account(name)
        question = _("Remove “{name}” for good?").format(name=account.display)
        if console.can_ask and not await console.confirm(question):
            raise UsageError(problem=_NOT_CONFIRMED)
        # This order refuses a sign-in that is in progress, and lets an interrupted command be run again.
        await here.store.accounts.set_disabled(account.id, disabled=True)
        ended = await here.end_sessions(account, "removed")
        await here.store.accounts.remove(account.id)
        log.info("account-removed", name=account.display, by=operator_name(), sessions=ended)
    report_result(
        console,
        options,
        {"name": account.display, "sessions_ended": ended},
        _("“{name}” is removed.").format(name=account.display),
        _("Sessions ended: {count}.").format(count=ended),
    )
    return 0


async def _password(options: LoggedStoreOptions, console: Console, name: str) -> int:
    _ = console.translations.gettext
    made = passphrase(os.urandom)
    async with open_data_and_log(options, console=console) as (here, log):
        account = await here.account(name)
        ring = here.folder.key_ring(os.urandom)
        verifier = _verifier(made)
        await here.store.accounts.replace_credential(
            account.id,
            SCRAM_SHA_256,
            lambda number, key: seal(ring, verifier, number, key, os.urandom),
            must_change=True,
        )
        await here.forgive(account)
        ended = await here.end_sessions(account, "password")
        log.info("password-reset", name=account.display, by=operator_name(), sessions=ended)
    with secret_shown(_NEW_PASSPHRASE, name=account.display):
        report_result(
            console,
            options,
            {"name": account.display, "passphrase": made.text, "sessions_ended": ended},
            _("Sessions ended: {count}.").format(count=ended),
            _("The new passphrase of “{name}”, shown only this once:").format(name=account.display),
        )
        if not options.json:
            streams.stdout.line(made.text)
    return 0


async def _rename(options: LoggedStoreOptions, console: Console, name: str, new: str) -> int:
    _ = console.translations.gettext
    wanted = prepare(new)
    async with open_data_and_log(options, console=console) as (here, log):
        account = await here.account(name)
        try:
            await here.store.accounts.rename(account.id, wanted)
        except NameTaken:
            raise AccountExists(name=wanted.display) from None
        ended = await here.end_sessions(account, "renamed")
        log.info("account-renamed", name=wanted.display, was=account.display, by=operator_name(), sessions=ended)
    report_result(
        console,
        options,
        {"name": wanted.display, "was": account.display, "sessions_ended": ended},
        _("“{was}” is called “{name}” now.").format(was=account.display, name=wanted.display),
        _("Sessions ended: {count}.").format(count=ended),
    )
    return 0


def _verifier(password: Password) -> Verifier:
    return make_verifier(password, os.urandom(SALT_SIZE), ITERATIONS)
