"""`antiphon invite` and `antiphon invitations`: make, list and revoke codes for one registration each."""

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from antiphon import streams
from antiphon.address import DEFAULT_PORT, Address, parse
from antiphon.cli.common_options import CommonOptions
from antiphon.cli.event_loop import run_loop
from antiphon.cli.output import Record, iso_time, report_result, secret_shown, show_records
from antiphon.cli.store_access import (
    LoggedStoreOptions,
    OpenData,
    StoreOptions,
    open_data,
    open_data_and_log,
    operator_name,
)
from antiphon.data.certificate import load_or_make
from antiphon.data.folder import DataFolder
from antiphon.data.inviting import KEPT_AFTER_EXPIRY, LIFETIME_MOST, is_here_only, lifetime_in, make_code
from antiphon.errors import (
    AccountExists,
    AddressInvalid,
    InvitationUnknown,
    NameInvalid,
    NamesUnusable,
    PortInvalid,
    Problem,
    SettingInvalid,
    UsageError,
)
from antiphon.identity.invitations import Code
from antiphon.identity.names import Name, prepare
from antiphon.language import N_
from antiphon.store.contracts import Invitation
from antiphon.terminal.console import Console

_NO_NAME_GIVEN = Problem(N_("Say whom to invite: NAME, or --from FILE."))
_LIFETIME_INVALID = Problem(
    N_("“{given}” is not a time such as 30m, 12h, 7d or 2w; it may be at most {most} days.")
)
_NOT_UTF_8 = Problem(N_("it is not UTF-8"))
_CODES = Problem(N_("A code that was made"))
_NO_NAMES = Problem(N_("there is no name in it"))
_OTHER_KEY = Problem(N_("the fingerprint in it is not that of this server's key"))


def invite(
    account: Annotated[str | None, Parameter(help="The name of the person to invite.")] = None,
    /,
    *,
    source: Annotated[
        str | None,
        Parameter(
            name="--from",
            help="File with one name on each line, # for comments; - for standard input.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    lifetime: Annotated[
        str,
        Parameter(name="--for", help="How long the code is valid: minutes, hours, days or weeks (m, h, d, w)."),
    ] = "7d",
    public_address: Annotated[
        str | None,
        Parameter(help="HOST or HOST:PORT at which people reach the server [default: where it listened last]."),
    ] = None,
    options: LoggedStoreOptions = LoggedStoreOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Print a code with which NAME can register once, even if registration is closed.

    The code holds the server's address, the fingerprint of its key and the right to
    register. It is a secret: give it to that person only. With --from, each line of
    the output is a name, a tab and a code. A new code replaces an unused one.

    For example:
        antiphon invite ann
        antiphon invite ann --for 12h --public-address school.example
        antiphon invite --from class.txt > codes.txt
    """
    console, time = common.console(), _read_lifetime(lifetime)
    if account is not None and source is None:
        return run_loop(_invite(options, console, [prepare(account)], time, public_address, single=True))
    if source is not None and account is None:
        names = names_from(source, console)
        return run_loop(_invite(options, console, names, time, public_address, single=False))
    raise UsageError(problem=_NO_NAME_GIVEN)


app = App(
    name="invitations",
    help="List and revoke invitations.\n\nFor example:\n    antiphon invitations list",
    help_format="plaintext",
)


@app.command(name="list")
def list_invitations(*, options: StoreOptions = StoreOptions(), common: CommonOptions = CommonOptions()) -> int:
    """List the invitations: name, state (open, used, expired), expiry, when it was made and by whom.

    For example:
        antiphon invitations list
        antiphon invitations list --json
    """
    return run_loop(_list(options, common.console()))


@app.command
def revoke(
    account: Annotated[str, Parameter(help="The name of the invited person.")],
    /,
    *,
    options: LoggedStoreOptions = LoggedStoreOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Revoke an unused invitation: its code stops working.

    For example:
        antiphon invitations revoke ann
    """
    return run_loop(_revoke(options, common.console(), account))


def names_from(source: str, console: Console) -> list[Name]:
    """Return the names in the file `source`, one on each line; `-` is standard input.

    Raises:
        SettingInvalid: the file cannot be read, or holds no name.
        NamesUnusable: some lines are not names, or repeat one; the console shows which.
    """
    names: dict[str, tuple[int, Name]] = {}
    wrong = 0
    for number, line in enumerate(_lines(source), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            name = prepare(text)
        except NameInvalid as error:
            wrong += 1
            console.tell(f"{source}:{number}: {error.text(console.translations.gettext)}")
            continue
        first, _ = names.setdefault(name.key, (number, name))
        if first != number:
            wrong += 1
            again = console.translations.gettext("“{name}” is in line {first} already.")
            console.tell(f"{source}:{number}: {again.format(name=name.display, first=first)}")
    if wrong:
        raise NamesUnusable(path=source, count=wrong)
    if not names:
        raise SettingInvalid(source=f"--from {source}", problem=_NO_NAMES)
    return [name for _, name in names.values()]


def _lines(source: str) -> list[str]:
    try:
        data = streams.read_all(sys.stdin.fileno()) if source == "-" else Path(source).read_bytes()
        return data.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except OSError as error:
        raise SettingInvalid(source=f"--from {source}", problem=error.strerror) from None
    except UnicodeDecodeError:
        raise SettingInvalid(source=f"--from {source}", problem=_NOT_UTF_8) from None


def _read_lifetime(text: str) -> timedelta:
    time = lifetime_in(text)
    if time is None:
        raise SettingInvalid(source="--for", problem=_LIFETIME_INVALID, given=text, most=LIFETIME_MOST.days)
    return time


async def _invite(
    options: LoggedStoreOptions,
    console: Console,
    names: Sequence[Name],
    time: timedelta,
    public: str | None,
    *,
    single: bool,
) -> int:
    made: list[Record] = []
    async with open_data_and_log(options, console=console, make=True) as (here, log):
        address = _address(here.folder, public, console, quiet=options.json)
        key = here.folder.key_ring(os.urandom).token_key
        await here.store.invitations.forget(here.store.now() - KEPT_AFTER_EXPIRY)
        try:
            for name in await _without_account(here, names, console, single=single):
                at = here.store.now()
                code = await make_code(
                    here.store.invitations,
                    key,
                    name,
                    address,
                    at=at,
                    expires_at=at + time,
                    by=operator_name(),
                    random=os.urandom,
                )
                log.info("invited", name=name.display, by=operator_name())
                made.append(_code_record(code, name, at + time))
        finally:  # if the store fails half way, the codes made so far are shown: they are valid
            if made or not single:
                with secret_shown(_CODES):
                    _show_codes(options, console, made, single=single)
    return 0


def _code_record(code: Code, name: Name, expires_at: datetime) -> Record:
    address = str(replace(code.address, name=None))
    return {"name": name.display, "code": code.written(), "address": address, "expires_at": iso_time(expires_at)}


def _show_codes(options: StoreOptions, console: Console, made: list[Record], *, single: bool) -> None:
    if options.json and single:
        report_result(console, options, made[0])
    elif options.json:
        show_records(options, made, {})
    else:  # never a table, which would break the codes into lines
        for record in made:
            streams.stdout.line(record["code"] if single else f"{record['name']}\t{record['code']}")


async def _without_account(here: OpenData, names: Sequence[Name], console: Console, *, single: bool) -> list[Name]:
    """Return the names without an account; the other names of a list are reported and skipped."""
    invited = []
    for name in names:
        if await here.store.accounts.find(name.key) is None:
            invited.append(name)
        elif single:
            raise AccountExists(name=name.display)
        else:
            has = console.translations.gettext("“{name}” has an account already, and gets no invitation.")
            console.tell(has.format(name=name.display))
    return invited


def _address(folder: DataFolder, public: str | None, console: Console, *, quiet: bool) -> Address:
    """Return the address for the codes: the given one, else where a server listened last, else a guess.

    Tell the operator about a guess, and about an address that only this machine can reach.
    """
    _ = console.translations.gettext
    last = folder.last_address
    address = last or parse(socket.gethostname(), folder.last_port or DEFAULT_PORT)
    if public is not None:
        address = _public_address(public, address)
    key = load_or_make(folder, [address.host]).fingerprint if address.scheme == "tls" else None
    if address.fingerprint is None:
        address = replace(address, fingerprint=key)
    elif key not in address.fingerprints:
        raise SettingInvalid(source="--public-address", problem=_OTHER_KEY)
    if public is None and last is None and not quiet:
        guess = _("No server has run here yet: the code names {address}; --public-address sets another address.")
        console.tell(guess.format(address=replace(address, fingerprint=None)))
    elif is_here_only(address.host) and not quiet:
        near = _("The code is for {host} and works on this machine only; --public-address sets another address.")
        console.tell(near.format(host=address.host))
    return address


def _public_address(text: str, last: Address) -> Address:
    """Parse the address that the operator gives; missing parts are those of the server's last address."""
    try:
        named = parse(text, default_port=last.port)
    except (AddressInvalid, PortInvalid) as error:
        raise SettingInvalid(source="--public-address", problem=str(error)) from None
    return named if "://" in text else replace(named, scheme=last.scheme)


async def _list(options: StoreOptions, console: Console) -> int:
    _ = console.translations.gettext
    async with open_data(options, console=console) as here:
        rows = [
            _invitation_record(invitation, here.store.now()) for invitation in await here.store.invitations.all()
        ]
    headings = {
        "name": _("Name"),
        "state": _("State"),
        "expires_at": _("Valid until"),
        "made_at": _("Made"),
        "made_by": _("By"),
    }
    show_records(options, rows, headings)
    return 0


def _invitation_record(invitation: Invitation, at: datetime) -> Record:
    state = "used" if invitation.used_at else "expired" if invitation.expires_at <= at else "open"
    return {
        "name": invitation.display,
        "state": state,
        "made_at": iso_time(invitation.made_at),
        "made_by": invitation.made_by,
        "expires_at": iso_time(invitation.expires_at),
        "used_at": iso_time(invitation.used_at),
        "used_from": invitation.used_from,
    }


async def _revoke(options: LoggedStoreOptions, console: Console, name: str) -> int:
    wanted = prepare(name)
    async with open_data_and_log(options, console=console) as (here, log):
        if not await here.store.invitations.withdraw(wanted.key):
            raise InvitationUnknown(name=wanted.display)
        log.info("invitation-revoked", name=wanted.display, by=operator_name())
    told = console.translations.gettext("The invitation of “{name}” is revoked.")
    report_result(console, options, {"name": wanted.display}, told.format(name=wanted.display))
    return 0
