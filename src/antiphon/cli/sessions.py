"""`antiphon sessions`: list and end sessions."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated

from cyclopts import App, Parameter

from antiphon.cli.common_options import CommonOptions
from antiphon.cli.event_loop import run_loop
from antiphon.cli.output import Record, iso_time, report_result, show_records
from antiphon.cli.store_access import (
    LoggedStoreOptions,
    OpenData,
    StoreOptions,
    open_data,
    open_data_and_log,
    operator_name,
)
from antiphon.errors import Problem, SessionUnknown, UsageError
from antiphon.language import N_
from antiphon.server.session.manager import HELD_EVERY
from antiphon.store.contracts import ProcessRecord, SessionRecord

_ONE_OF_THREE = Problem(N_("Say which sessions to revoke: their ids, or --account NAME, or --all."))

app = App(
    name="sessions",
    help="List and end sessions.\n\nFor example:\n    antiphon sessions list",
    help_format="plaintext",
)


@app.command(name="list")
def list_sessions(
    account: Annotated[str | None, Parameter(help="Only sessions of this account.")] = None,
    /,
    *,
    options: StoreOptions = StoreOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """List the sessions: id, name, opened, last seen, address, connected, home, relayed by, node.

    The home is the server process that answers, by its number (PID); another one may relay the connection to it.

    For example:
        antiphon sessions list
        antiphon sessions list ann --json
    """
    return run_loop(_list(options, common, account))


@app.command
def revoke(
    *ids: Annotated[str, Parameter(help="Ids of the sessions, from `antiphon sessions list`.")],
    account: Annotated[str | None, Parameter(help="All sessions of this account.")] = None,
    all: Annotated[bool, Parameter(help="All sessions.", negative=())] = False,  # noqa: A002 - the flag
    options: LoggedStoreOptions = LoggedStoreOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """End sessions; the server closes their connections within a second.

    For example:
        antiphon sessions revoke --account ann
        antiphon sessions revoke 3f2a9c01d4e5
    """
    if bool(ids) + (account is not None) + all != 1:
        raise UsageError(problem=_ONE_OF_THREE)
    return run_loop(_revoke(options, common, ids, account))


async def _list(options: StoreOptions, common: CommonOptions, account: str | None) -> int:
    console = common.console()
    _ = console.translations.gettext
    async with open_data(options, console=console) as here:
        wanted = None if account is None else (await here.account(account)).id
        rows = await session_records(here, wanted)
    headings = {
        "id": _("Session"),
        "name": _("Name"),
        "opened_at": _("Opened"),
        "seen_at": _("Last seen"),
        "address": _("From"),
        "connected": _("Connected"),
        "home": _("Home"),
        "relayed_by": _("Relayed by"),
    }
    if any(row["node"] for row in rows):
        headings["node"] = _("Node")
    show_records(options, rows, headings)
    return 0


async def session_records(here: OpenData, account_id: int | None) -> list[Record]:
    """Return the records of an account's sessions, or of all sessions, without those that have expired."""
    records, now = await here.store.sessions.all(), here.store.now()
    processes = {process.id: process for process in await here.store.processes.all()}
    return [
        _session_record(record, processes, now)
        for record in records
        if account_id in (None, record.account_id) and record.expires_at > now
    ]


async def _revoke(
    options: LoggedStoreOptions, common: CommonOptions, ids: tuple[str, ...], account: str | None
) -> int:
    console = common.console()
    ended = 0
    async with open_data_and_log(options, console=console) as (here, log):
        if account is not None:
            found = await here.account(account)
            ended = await here.end_sessions(found, "revoked")
            log.info("sessions-revoked", name=found.display, by=operator_name(), sessions=ended)
        else:
            for record in await _records_to_revoke(here, ids):
                if await here.store.sessions.revoke(record.fingerprint, "revoked", here.store.now()):
                    ended += 1
                    log.info("sessions-revoked", name=record.name or None, by=operator_name(), sessions=1)
    report_result(
        console,
        options,
        {"sessions_ended": ended},
        console.translations.gettext("Sessions ended: {count}.").format(count=ended),
    )
    return 0


async def _records_to_revoke(here: OpenData, ids: tuple[str, ...]) -> list[SessionRecord]:
    """Return the sessions with these ids, or all if no id is given.

    Raises:
        SessionUnknown: there is no session with one of the ids; none of them is ended then.
    """
    records = await here.store.sessions.all()
    if not ids:
        return records
    by_id = {record.short_id: record for record in records}
    for id in ids:
        if id.lower() not in by_id:
            raise SessionUnknown(id=id)
    return [by_id[id] for id in dict.fromkeys(id.lower() for id in ids)]


def _named(process: ProcessRecord | None) -> str | None:
    return None if process is None else str(process.pid)


def _session_record(record: SessionRecord, processes: Mapping[str, ProcessRecord], now: datetime) -> Record:
    """Return what is listed of a session; `processes` are those that live, by their ids."""
    # A crashed server leaves its sessions marked as held, and its row until another one finds it dead; a running
    # one renews the mark every HELD_EVERY seconds.
    fresh = now - record.seen_at < timedelta(seconds=2 * HELD_EVERY)
    connected = record.owner in processes and fresh
    relayed = connected and record.owner != record.home
    home, carrier = processes.get(record.home or ""), processes.get(record.owner or "") if relayed else None
    return {
        "id": record.short_id,
        "name": record.name or None,  # empty if the server's access is "anyone"
        "opened_at": iso_time(record.opened_at),
        "expires_at": iso_time(record.expires_at),
        "seen_at": iso_time(record.seen_at),
        "address": record.address,
        "connected": connected,
        "home": _named(home),
        "node": home.where if home is not None and home.node_address else None,
        "relayed_by": _named(carrier),
    }
