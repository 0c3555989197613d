"""`antiphon sessions`: who is signed in, and an end to it."""

from datetime import timedelta
from typing import Annotated

from cyclopts import App, Parameter

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
from antiphon.errors import Problem, SessionUnknown, UsageError
from antiphon.language import N_
from antiphon.server.session.manager import HELD_EVERY
from antiphon.store.contracts import SessionRecord

ID_SIZE = 6
"""Bytes of a session's fingerprint that name it: 48 bits tell sessions apart, and are of no use to a thief."""

_ONE_OF_THREE = Problem(N_("Say which sessions to revoke: their ids, or --account NAME, or --all."))

app = App(name="sessions", help="Who is signed in, and an end to it.", help_format="plaintext")


@app.command(name="list")
def list_sessions(
    account: Annotated[str | None, Parameter(help="Only those of this account.")] = None,
    /,
    *,
    place: Place = Place(),
    common: Common = Common(),
) -> int:
    """List the sessions: id, name, opened, last seen, address, connected.

    For example:
        antiphon sessions list
        antiphon sessions list ann --json
    """
    return run_loop(_list(place, common, account))


@app.command
def revoke(
    *ids: Annotated[str, Parameter(help="What `antiphon sessions list` calls the sessions.")],
    account: Annotated[str | None, Parameter(help="All sessions of this account.")] = None,
    all: Annotated[bool, Parameter(help="All sessions there are.", negative=())] = False,  # noqa: A002 - the flag
    place: ActPlace = ActPlace(),
    common: Common = Common(),
) -> int:
    """End sessions; their connections are cut within a second.

    For example:
        antiphon sessions revoke --account ann
        antiphon sessions revoke 3f2a9c01d4e5
    """
    if bool(ids) + (account is not None) + all != 1:
        raise UsageError(problem=_ONE_OF_THREE)
    return run_loop(_revoke(place, common, ids, account))


async def _list(place: Place, common: Common, account: str | None) -> int:
    _ = common.console().translations.gettext
    async with opened(place) as here:
        wanted = None if account is None else (await here.account(account)).id
        rows = await sessions_of(here, wanted)
    headings = {
        "id": _("Session"),
        "name": _("Name"),
        "opened_at": _("Opened"),
        "seen_at": _("Last seen"),
        "address": _("From"),
        "connected": _("Connected"),
    }
    show(place, rows, headings)
    return 0


async def sessions_of(here: Opened, account_id: int | None) -> list[Record]:
    """Return the sessions of an account, or all, as results tell of them; those that have expired are over."""
    records = await here.store.sessions.all()
    return [
        _told(record)
        for record in records
        if account_id in (None, record.account_id) and record.expires_at > now()
    ]


async def _revoke(place: ActPlace, common: Common, ids: tuple[str, ...], account: str | None) -> int:
    console = common.console()
    ended = 0
    async with acting(place) as (here, log):
        if account is not None:
            found = await here.account(account)
            ended = await here.end_sessions(found, "revoked")
            log.info("sessions-revoked", name=found.display, by=operator(), sessions=ended)
        else:
            for record in await _chosen(here, ids):
                if await here.store.sessions.revoke(record.fingerprint, "revoked", now()):
                    ended += 1
                    log.info("sessions-revoked", name=record.name or None, by=operator(), sessions=1)
    tell(
        console,
        place,
        {"sessions_ended": ended},
        console.translations.gettext("Sessions ended: {count}.").format(count=ended),
    )
    return 0


async def _chosen(here: Opened, ids: tuple[str, ...]) -> list[SessionRecord]:
    """Return the sessions with these ids, all where there are none; nothing is ended if one is unknown."""
    records = await here.store.sessions.all()
    if not ids:
        return records
    by_id = {_id(record): record for record in records}
    for id in ids:
        if id.lower() not in by_id:
            raise SessionUnknown(id=id)
    return [by_id[id] for id in dict.fromkeys(id.lower() for id in ids)]


def _id(record: SessionRecord) -> str:
    return record.fingerprint[:ID_SIZE].hex()


def _told(record: SessionRecord) -> Record:
    # A server that crashed has let nobody know: its sessions are no longer noted as held.
    fresh = now() - record.seen_at < timedelta(seconds=2 * HELD_EVERY)
    return {
        "id": _id(record),
        "name": record.name or None,  # without one where access is for anyone
        "opened_at": moment(record.opened_at),
        "expires_at": moment(record.expires_at),
        "seen_at": moment(record.seen_at),
        "address": record.address,
        "connected": record.owner is not None and fresh,
    }
