"""`antiphon accounts`: who may sign in."""

import os
from typing import Annotated

from cyclopts import App, Parameter

from antiphon.blocklist import common_passwords
from antiphon.cli.common import Common, run_loop
from antiphon.cli.connect import password_from
from antiphon.cli.operator import ActPlace, Place, Record, acting, moment, now, opened, operator, show, tell
from antiphon.cli.rekey import rekey_accounts
from antiphon.cli.sessions import sessions_of
from antiphon.data.credentials import seal
from antiphon.errors import AccountExists, InputMissing, NameTaken, Problem, UsageError
from antiphon.identity.names import prepare
from antiphon.identity.passwords import Password, check, passphrase
from antiphon.identity.scram import ITERATIONS, SALT_SIZE, Verifier, make_verifier
from antiphon.language import N_
from antiphon.settings import PASSWORD_MINIMUM, PASSWORD_MINIMUM_LEAST
from antiphon.store.contracts import Overview
from antiphon.terminal.console import Console
from antiphon.terminal.newpassword import new_password
from antiphon.wire.bodies import SCRAM_SHA_256

_NOT_CONFIRMED = Problem(N_("Nothing was removed."))
_TOO_SMALL = Problem(N_("--password-minimum must be at least {least}."))

Account = Annotated[str, Parameter(help="The account's name.")]

app = App(name="accounts", help="Who may sign in.", help_format="plaintext")
app.command(rekey_accounts, name="rekey")
app.command("antiphon.cli.imports:import_accounts", name="import")
app.command("antiphon.cli.exports:export_accounts", name="export")


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
        int, Parameter(help=f"Characters that the password must have; at least {PASSWORD_MINIMUM_LEAST}.")
    ] = PASSWORD_MINIMUM,
    place: ActPlace = ActPlace(),
    common: Common = Common(),
) -> int:
    """Add an account. The password is asked for, or comes from --password-file.

    For example:
        antiphon accounts add ann
        antiphon accounts add ann --password-file secret.txt --json
    """
    if password_minimum < PASSWORD_MINIMUM_LEAST:
        raise UsageError(problem=_TOO_SMALL, least=PASSWORD_MINIMUM_LEAST)
    return run_loop(_add(place, common.console(), account, password_from(password_file), password_minimum))


@app.command(name="list")
def list_accounts(*, place: Place = Place(), common: Common = Common()) -> int:
    """List the accounts: name, disabled, last visit and from where, sign-ins refused since.

    For example:
        antiphon accounts list
        antiphon accounts list --json
    """
    return run_loop(_list(place, common.console()))


@app.command(name="show")
def show_account(account: Account, /, *, place: Place = Place(), common: Common = Common()) -> int:
    """Show one account and its sessions.

    For example:
        antiphon accounts show ann
    """
    return run_loop(_show(place, common.console(), account))


@app.command
def disable(account: Account, /, *, place: ActPlace = ActPlace(), common: Common = Common()) -> int:
    """Let an account in no more, and end its sessions; nothing is forgotten.

    For example:
        antiphon accounts disable ann
    """
    return run_loop(_disable(place, common.console(), account))


@app.command
def enable(account: Account, /, *, place: ActPlace = ActPlace(), common: Common = Common()) -> int:
    """Let an account in again that was disabled, or locked after too many failed sign-ins.

    For example:
        antiphon accounts enable ann
    """
    return run_loop(_enable(place, common.console(), account))


@app.command
def remove(account: Account, /, *, place: ActPlace = ActPlace(), common: Common = Common()) -> int:
    """Forget an account for good, and end its sessions. On a terminal it asks first.

    For example:
        antiphon accounts remove ann
    """
    return run_loop(_remove(place, common.console(), account))


@app.command
def password(account: Account, /, *, place: ActPlace = ActPlace(), common: Common = Common()) -> int:
    """Give an account a new passphrase, shown once, and end its sessions.

    The old password is not asked for; this is for people who have forgotten theirs.

    For example:
        antiphon accounts password ann
    """
    return run_loop(_password(place, common.console(), account))


@app.command
def rename(
    account: Account,
    new: Annotated[str, Parameter(help="The new name.")],
    /,
    *,
    place: ActPlace = ActPlace(),
    common: Common = Common(),
) -> int:
    """Give an account another name, and end its sessions; the password stays.

    For example:
        antiphon accounts rename ann anna
    """
    return run_loop(_rename(place, common.console(), account, new))


async def _add(place: ActPlace, console: Console, name: str, given: Password | None, minimum: int) -> int:
    _ = console.translations.gettext
    wanted = prepare(name)
    async with acting(place, make=True) as (here, log):
        ring = here.folder.key_ring(os.urandom)
        if await here.store.accounts.find(wanted.key) is not None:  # before anybody thinks up a password
            raise AccountExists(name=wanted.display)
        chosen = given or await _ask(console, minimum, wanted.display)
        verifier = _verifier(check(chosen.text, minimum, name=wanted.display, common=common_passwords()))
        try:
            await here.store.accounts.register(
                wanted, lambda number: seal(ring, verifier, number, os.urandom), SCRAM_SHA_256, now(), "operator"
            )
        except NameTaken:
            raise AccountExists(name=wanted.display) from None
        log.info("account-added", name=wanted.display, by=operator())
    tell(console, place, {"name": wanted.display}, _("“{name}” can sign in now.").format(name=wanted.display))
    return 0


async def _ask(console: Console, minimum: int, name: str) -> Password:
    _ = console.translations.gettext
    if not console.can_ask:
        raise InputMissing(what=_("The password"), how=_("--password-file or ANTIPHON_PASSWORD"))
    console.tell(
        _(
            "Think up a password of {minimum} characters or more, or press Enter for a passphrase made for you."
        ).format(minimum=minimum)
    )
    return await new_password(console, minimum, name)


async def _list(place: Place, console: Console) -> int:
    _ = console.translations.gettext
    async with opened(place) as here:
        rows = [told(overview) for overview in await here.store.accounts.overviews()]
    headings = {
        "name": _("Name"),
        "disabled": _("Disabled"),
        "visited_at": _("Last visit"),
        "visited_from": _("From"),
        "refusals": _("Refused since"),
        "expires_at": _("Expires"),
    }
    show(place, rows, headings)
    return 0


async def _show(place: Place, console: Console, name: str) -> int:
    _ = console.translations.gettext
    async with opened(place) as here:
        account = await here.account(name)
        overviews = await here.store.accounts.overviews()
        record = next(told(overview) for overview in overviews if overview.id == account.id)
        record["sessions"] = await sessions_of(here, account.id)
    if place.json:
        tell(console, place, record)
        return 0
    sessions = record.pop("sessions")
    rows = [{"field": key, "value": value} for key, value in record.items()]
    rows += [{"field": "session", "value": f"{session['id']} {session['address']}"} for session in sessions]
    show(place, rows, {"field": _("Account"), "value": account.display})
    return 0


async def _disable(place: ActPlace, console: Console, name: str) -> int:
    _ = console.translations.gettext
    async with acting(place) as (here, log):
        account = await here.account(name)
        changed = await here.store.accounts.set_disabled(account.id, disabled=True)
        ended = await here.end_sessions(account, "disabled")  # also the second time: the first may have been cut
        log.info("account-disabled", name=account.display, by=operator(), sessions=ended)
    tell(
        console,
        place,
        {"name": account.display, "disabled": True, "changed": changed, "sessions_ended": ended},
        _("“{name}” is disabled.").format(name=account.display),
        _("Sessions ended: {count}.").format(count=ended),
    )
    return 0


async def _enable(place: ActPlace, console: Console, name: str) -> int:
    async with acting(place) as (here, log):
        account = await here.account(name)
        changed = await here.store.accounts.set_disabled(account.id, disabled=False)
        await here.forgive(account)
        log.info("account-enabled", name=account.display, by=operator())
    tell(
        console,
        place,
        {"name": account.display, "disabled": False, "changed": changed},
        console.translations.gettext("“{name}” can sign in now.").format(name=account.display),
    )
    return 0


async def _remove(place: ActPlace, console: Console, name: str) -> int:
    _ = console.translations.gettext
    async with acting(place) as (here, log):
        account = await here.account(name)
        question = _("Remove “{name}” for good?").format(name=account.display)
        if console.can_ask and not await console.confirm(question):
            raise UsageError(problem=_NOT_CONFIRMED)
        # In this order, so that whoever is signing in is refused, and one that was cut short can be said again.
        await here.store.accounts.set_disabled(account.id, disabled=True)
        ended = await here.end_sessions(account, "removed")
        await here.store.accounts.remove(account.id)
        log.info("account-removed", name=account.display, by=operator(), sessions=ended)
    tell(
        console,
        place,
        {"name": account.display, "sessions_ended": ended},
        _("“{name}” is removed.").format(name=account.display),
        _("Sessions ended: {count}.").format(count=ended),
    )
    return 0


async def _password(place: ActPlace, console: Console, name: str) -> int:
    _ = console.translations.gettext
    made = passphrase(os.urandom)
    async with acting(place) as (here, log):
        account = await here.account(name)
        ring = here.folder.key_ring(os.urandom)
        verifier = _verifier(made)
        await here.store.accounts.replace_credential(
            account.id, SCRAM_SHA_256, lambda number: seal(ring, verifier, number, os.urandom), must_change=True
        )
        await here.forgive(account)
        ended = await here.end_sessions(account, "password")
        log.info("password-reset", name=account.display, by=operator(), sessions=ended)
    tell(
        console,
        place,
        {"name": account.display, "passphrase": made.text, "sessions_ended": ended},
        _("Sessions ended: {count}.").format(count=ended),
        _("The new passphrase of “{name}”, shown only this once:").format(name=account.display),
    )
    if not place.json:
        print(made.text)
    return 0


async def _rename(place: ActPlace, console: Console, name: str, new: str) -> int:
    _ = console.translations.gettext
    wanted = prepare(new)
    async with acting(place) as (here, log):
        account = await here.account(name)
        try:
            await here.store.accounts.rename(account.id, wanted)
        except NameTaken:
            raise AccountExists(name=wanted.display) from None
        ended = await here.end_sessions(account, "renamed")
        log.info("account-renamed", name=wanted.display, was=account.display, by=operator(), sessions=ended)
    tell(
        console,
        place,
        {"name": wanted.display, "was": account.display, "sessions_ended": ended},
        _("“{was}” is called “{name}” now.").format(was=account.display, name=wanted.display),
        _("Sessions ended: {count}.").format(count=ended),
    )
    return 0


def _verifier(password: Password) -> Verifier:
    return make_verifier(password, os.urandom(SALT_SIZE), ITERATIONS)


def told(overview: Overview) -> Record:
    """Return what the commands tell of an account."""
    return {
        "name": overview.name,
        "disabled": overview.disabled,
        "registered_at": moment(overview.registered_at),
        "registered_from": overview.registered_from,
        "visited_at": moment(overview.visited_at),
        "visited_from": overview.visited_from,
        "refusals": overview.refusals,
        "must_change": overview.must_change,
        "expires_at": moment(overview.expires_at),
    }
