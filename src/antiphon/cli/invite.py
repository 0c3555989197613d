"""`antiphon invite` and `antiphon invitations`: codes with which people register themselves, once each."""

import contextlib
import ipaddress
import os
import re
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from antiphon.address import Address, parse
from antiphon.cli.common import Common, run_loop
from antiphon.cli.operator import (
    ActPlace,
    Opened,
    Place,
    Record,
    acting,
    moment,
    now,
    opened,
    operator,
    show,
    tell,
)
from antiphon.data.certificate import load_or_make
from antiphon.data.folder import DataFolder
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
from antiphon.identity.invitations import Code, fingerprint
from antiphon.identity.names import Name, prepare
from antiphon.language import N_
from antiphon.settings import DEFAULT_HOST, DEFAULT_PORT
from antiphon.store.contracts import Invitation
from antiphon.terminal.console import Console

UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
LONGEST = timedelta(days=366)
"""A right that nobody uses in a year is one that nobody remembers."""
KEPT = timedelta(days=30)
"""How long after its end an invitation is listed, and said to have expired rather than to be unknown."""

_WHOM = Problem(N_("Say whom to invite: NAME, or --from FILE."))
_NO_TIME = Problem(N_("“{given}” is no time such as 30m, 12h, 7d or 2w, of up to {most} days."))
_NOT_UTF_8 = Problem(N_("it is not UTF-8"))
_NOBODY = Problem(N_("there is no name in it"))
_OTHER_KEY = Problem(N_("the fingerprint in it is not that of this server's key"))


def invite(
    account: Annotated[str | None, Parameter(help="Whom to invite: the name of the account to come.")] = None,
    /,
    *,
    source: Annotated[
        str | None,
        Parameter(
            name="--from",
            help="File with a name a line, # for remarks; - for standard input.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    lifetime: Annotated[
        str, Parameter(name="--for", help="How long the code is good: minutes, hours, days or weeks (m, h, d, w).")
    ] = "7d",
    public_address: Annotated[
        str | None,
        Parameter(
            help="HOST, or HOST:PORT, by which the invited reach the server [default: where it listened last]."
        ),
    ] = None,
    place: ActPlace = ActPlace(),
    common: Common = Common(),
) -> int:
    """Print a code with which NAME registers, once, also where registration is closed.

    The code holds the server's address, the fingerprint of its key and the right to
    register. It is a secret: give it to its person only. With --from, each line is a
    name, a tab and the code. A new code for a name takes the place of an unused one.

    For example:
        antiphon invite ann
        antiphon invite ann --for 12h --public-address school.example
        antiphon invite --from class.txt > codes.txt
    """
    console, time = common.console(), _time(lifetime)
    if account is not None and source is None:
        return run_loop(_invite(place, console, [prepare(account)], time, public_address, single=True))
    if source is not None and account is None:
        names = names_from(source, console)
        return run_loop(_invite(place, console, names, time, public_address, single=False))
    raise UsageError(problem=_WHOM)


app = App(name="invitations", help="Who is invited, and an end to it.", help_format="plaintext")


@app.command(name="list")
def list_invitations(*, place: Place = Place(), common: Common = Common()) -> int:
    """List the invitations: name, state (open, used, expired), until when, made when and by whom.

    For example:
        antiphon invitations list
        antiphon invitations list --json
    """
    return run_loop(_list(place, common.console()))


@app.command
def revoke(
    account: Annotated[str, Parameter(help="Whose unused invitation is taken back.")],
    /,
    *,
    place: ActPlace = ActPlace(),
    common: Common = Common(),
) -> int:
    """Take an invitation back that was not used; its code is good for nothing from then on.

    For example:
        antiphon invitations revoke ann
    """
    return run_loop(_revoke(place, common.console(), account))


def names_from(source: str, console: Console) -> list[Name]:
    """Return the names in the file `source`, one a line; `-` is standard input.

    Raises:
        SettingInvalid: it cannot be read, or holds no name.
        NamesUnusable: some lines are no names, or come twice; the console has been told which.
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
            again = console.translations.gettext("“{name}” stands in line {first} already.")
            console.tell(f"{source}:{number}: {again.format(name=name.display, first=first)}")
    if wrong:
        raise NamesUnusable(path=source, count=wrong)
    if not names:
        raise SettingInvalid(source=f"--from {source}", problem=_NOBODY)
    return [name for _, name in names.values()]


def _lines(source: str) -> list[str]:
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return data.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except OSError as error:
        raise SettingInvalid(source=f"--from {source}", problem=error.strerror) from None
    except UnicodeDecodeError:
        raise SettingInvalid(source=f"--from {source}", problem=_NOT_UTF_8) from None


def _time(text: str) -> timedelta:
    matched = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text.strip())
    time = int(matched[1]) * UNITS[matched[2]] if matched else LONGEST * 2
    if time > LONGEST:
        raise SettingInvalid(source="--for", problem=_NO_TIME, given=text, most=LONGEST.days)
    return time


async def _invite(
    place: ActPlace, console: Console, names: Sequence[Name], time: timedelta, public: str | None, *, single: bool
) -> int:
    made: list[Record] = []
    async with acting(place, make=True) as (here, log):
        address = _address(here.folder, public, console, quiet=place.json)
        key = here.folder.key_ring(os.urandom).token_key
        await here.store.invitations.forget(now() - KEPT)
        try:
            for name in await _without_account(here, names, console, single=single):
                code = Code.make(replace(address, name=name.display), os.urandom)
                at = now()
                await here.store.invitations.invite(fingerprint(code.secret, key), name, at, at + time, operator())
                log.info("invited", name=name.display, by=operator())
                made.append(_of(code, name, at + time))
        finally:  # where the store fails half way, the codes that were made are shown all the same
            if made or not single:
                _show_codes(place, console, made, single=single)
    return 0


def _of(code: Code, name: Name, expires_at: datetime) -> Record:
    address = str(replace(code.address, name=None))
    return {"name": name.display, "code": code.written(), "address": address, "expires_at": moment(expires_at)}


def _show_codes(place: Place, console: Console, made: list[Record], *, single: bool) -> None:
    if place.json and single:
        tell(console, place, made[0])
    elif place.json:
        show(place, made, {})
    else:  # never as a table, which would break the codes
        for record in made:
            print(record["code"] if single else f"{record['name']}\t{record['code']}", flush=True)


async def _without_account(here: Opened, names: Sequence[Name], console: Console, *, single: bool) -> list[Name]:
    """Return those who have no account yet; of a list, the others are told of and passed over."""
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
    """Return the address for the codes: as the operator says, else where a server listened last, else a guess.

    What nobody has said or listened on is told, and so is an address that others cannot reach.
    """
    _ = console.translations.gettext
    last = folder.last_address
    address = last or parse(socket.gethostname(), folder.last_port or DEFAULT_PORT)
    if public is not None:
        address = _public(public, address)
    key = load_or_make(folder, [address.host]).fingerprint if address.scheme == "tls" else None
    if address.fingerprint not in (None, key):
        raise SettingInvalid(source="--public-address", problem=_OTHER_KEY)
    address = replace(address, fingerprint=key)
    if public is None and last is None and not quiet:
        guess = _("No server has listened here yet: the code names {address}; --public-address names another.")
        console.tell(guess.format(address=replace(address, fingerprint=None)))
    elif _is_near(address.host) and not quiet:
        near = _("The code is for {host}: it works on this machine only; --public-address names another.")
        console.tell(near.format(host=address.host))
    return address


def _is_near(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == DEFAULT_HOST


def _public(text: str, last: Address) -> Address:
    """Return the address that an operator names; what is left out is as the server had it last."""
    try:
        named = parse(text, default_port=last.port)
    except (AddressInvalid, PortInvalid) as error:
        raise SettingInvalid(source="--public-address", problem=str(error)) from None
    return named if "://" in text else replace(named, scheme=last.scheme)


async def _list(place: Place, console: Console) -> int:
    _ = console.translations.gettext
    async with opened(place) as here:
        rows = [_told(invitation, now()) for invitation in await here.store.invitations.all()]
    headings = {
        "name": _("Name"),
        "state": _("State"),
        "expires_at": _("Good until"),
        "made_at": _("Made"),
        "made_by": _("By"),
    }
    show(place, rows, headings)
    return 0


def _told(invitation: Invitation, at: datetime) -> Record:
    state = "used" if invitation.used_at else "expired" if invitation.expires_at <= at else "open"
    return {
        "name": invitation.display,
        "state": state,
        "made_at": moment(invitation.made_at),
        "made_by": invitation.made_by,
        "expires_at": moment(invitation.expires_at),
        "used_at": moment(invitation.used_at),
        "used_from": invitation.used_from,
    }


async def _revoke(place: ActPlace, console: Console, name: str) -> int:
    wanted = prepare(name)
    async with acting(place) as (here, log):
        if not await here.store.invitations.withdraw(wanted.key):
            raise InvitationUnknown(name=wanted.display)
        log.info("invitation-revoked", name=wanted.display, by=operator())
    told = console.translations.gettext("The invitation of “{name}” is good no longer.")
    tell(console, place, {"name": wanted.display}, told.format(name=wanted.display))
    return 0
