"""`antiphon status`, `reload` and `drain`: look after servers that run."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from antiphon import streams
from antiphon.cli.common_options import CommonOptions
from antiphon.cli.control import ControlOptions, running
from antiphon.cli.output import iso_time, show_records
from antiphon.data.validity import EXPIRY_NOTICE
from antiphon.errors import ReloadFailed, ServerSilent
from antiphon.language import N_, Translate
from antiphon.server.control.advice import PROBLEMS
from antiphon.server.control.report import ServerReport
from antiphon.terminal.console import Console

DEGRADED = 1
"""Exit code if something is not well."""
WATCH_SECONDS = 1.0
_CLEAR = "\x1b[H\x1b[2J"
"""Moves to the top of the terminal and clears it."""


def status(
    *,
    watch: Annotated[bool, Parameter(help="Show it again each second, until Ctrl-C.", negative=())] = False,
    options: ControlOptions = ControlOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Show how running servers are: connections, sessions, messages, refusals, certificate, store, log.

    The exit code is 0 if all is well, 1 if something is not, and 3 if no server runs. While further workers
    start, all is well.

    For example:
        antiphon status
        antiphon status --watch
        antiphon status --json --data /srv/antiphon
    """
    console = common.console()
    while True:
        reports = list(_reports(options))
        if options.json:
            for report in reports:
                streams.stdout.line(json.dumps(as_json(report), ensure_ascii=False))
        else:
            shown = "\n\n".join("\n".join(_lines(report, console)) for report in reports)
            clears = watch and streams.stdout.isatty()
            streams.stdout.write((_CLEAR if clears else "") + shown + "\n")
            for report in reports:
                if report.workers_wanted > 1:
                    _show_workers(report, options, console)
        if not watch:
            return DEGRADED if any(report.problems for report in reports) else 0
        time.sleep(WATCH_SECONDS)


def reload(
    *,
    options: ControlOptions = ControlOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Load certificate and service of running servers again, and open their log again, as SIGHUP does.

    A server without --workers loads its certificate again. Nobody is disconnected.

    For example:
        antiphon reload
        antiphon reload --data /srv/antiphon
    """
    console = common.console()
    for server in running(options):
        if failure := server.ask("reload").failure:
            raise ReloadFailed(pid=server.pid, problem=failure)
        _done(options, console, server.pid, N_("The server of process {pid} has reloaded."))
        report = server.ask("status").report
        for problem in report.problems if report and not options.json else ():
            if problem.startswith("certificate-"):  # what was loaded may be the wrong file
                console.tell(console.translations.gettext(PROBLEMS[problem]).format(days=EXPIRY_NOTICE.days))
    return 0


def drain(
    *,
    options: ControlOptions = ControlOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Stop running servers in order, as after SIGTERM, and wait until they have ended.

    What was received is answered; sessions can be resumed at another server of the folder, or at the next one.

    For example:
        antiphon drain
        antiphon drain --pid 4711
    """
    console = common.console()
    for server in running(options):
        server.drain()
        _done(options, console, server.pid, N_("The server of process {pid} has ended."))
    return 0


def _done(options: ControlOptions, console: Console, pid: int, sentence: str) -> None:
    if options.json:
        streams.stdout.line(json.dumps({"pid": pid}))
    else:
        console.tell(console.translations.gettext(sentence).format(pid=pid))


def _reports(options: ControlOptions) -> Iterator[ServerReport]:
    for server in running(options):
        report = server.ask("status").report
        if report is None:
            raise ServerSilent(pid=server.pid)
        yield report


def as_json(report: ServerReport) -> dict[str, Any]:
    """Return what `--json` prints of a server."""
    events = report.events
    built: dict[str, Any] = msgspec.to_builtins(report)
    for name in ("ended", "ended_messages"):
        del built[name]
    for worker in built["workers"]:
        del worker["events"]
        facts = worker.pop("facts")
    return {
        **built,
        **({} if not report.workers else facts),
        "connections": sum(worker.connections for worker in report.workers),
        "sessions": sum(worker.sessions for worker in report.workers),
        "messages": report.messages,
        "messages_per_s": round(sum(worker.messages_per_s for worker in report.workers), 1),
        "signed_in": events["signed-in"],
        "resumed": events["resumed"],
        "relayed": events["relayed"],
        "refused": dict(refusals(report)),
    }


def refusals(report: ServerReport) -> Iterator[tuple[str, int]]:
    """Yield the codes with which sign-ins were refused, and how often."""
    for event, count in sorted(report.events.items()):
        kind, _, code = event.partition(" ")
        if kind == "refused" and code:
            yield code, count


def _lines(report: ServerReport, console: Console) -> Iterator[str]:
    _ = console.translations.gettext
    up = _duration(datetime.now(UTC) - report.started_at, _)
    told = _("Antiphon {version}, process {pid}, up {up}: all is well.")
    if report.problems not in ([], ["starting"]):
        told = _("Antiphon {version}, process {pid}, up {up}: NOT well.")
    elif report.starting:
        told = _("Antiphon {version}, process {pid}, up {up}: it starts, {count} of {wanted} workers serve.")
    yield told.format(
        version=report.version, pid=report.pid, up=up, count=len(report.workers), wanted=report.workers_wanted
    )
    for problem in report.problems:
        yield "  ! " + _(PROBLEMS[problem]).format(days=EXPIRY_NOTICE.days)
    if not report.workers:
        return
    facts = report.workers[0].facts
    rate = sum(worker.messages_per_s for worker in report.workers)
    events = report.events
    refused = ", ".join(f"{code} {count}" for code, count in refusals(report)) or "0"
    rows = [
        *((_("Connect"), address) for address in facts.addresses),
        (_("Access"), _("{access}, registration {registration}").format(
            access=facts.access, registration=facts.registration
        )),
        (_("Connections"), f"{sum(worker.connections for worker in report.workers):,}"),
        (_("Sessions"), f"{sum(worker.sessions for worker in report.workers):,}"),
        (_("Messages"), _("{rate:,.1f} a second, {count:,} in all").format(rate=rate, count=report.messages)),
        (_("Signed in"), f"{events['signed-in']:,}"),
        (_("Resumed"), f"{events['resumed']:,}"),
        (_("Refused"), refused),
        (_("Certificate"), _certificate(facts.fingerprint, facts.expires_at, _)),
        (_("Store"), _("{store}, written {written:.1f} s ago, revocations read {read:.1f} s ago").format(
            store=facts.store,
            written=max(worker.store_age_s for worker in report.workers),
            read=max(worker.revocations_age_s for worker in report.workers),
        )),
        *([] if facts.node is None else [(_("Node"), facts.node)]),
        (_("Key"), str(facts.key)),
        (_("Data"), facts.data),
        (_("Log"), facts.log),
        (_("Lag"), _milliseconds(max(worker.lag_s for worker in report.workers), _)),
    ]  # fmt: skip
    width = max(len(name) for name, _value in rows) + 2
    yield from (f"  {name + ':':{width}}{value}" for name, value in rows)


def _show_workers(report: ServerReport, options: ControlOptions, console: Console) -> None:
    _ = console.translations.gettext
    rows = [
        {
            "pid": worker.pid,
            "connections": worker.connections,
            "sessions": worker.sessions,
            "rate": f"{worker.messages_per_s:,.1f}",
            "lag": _milliseconds(worker.lag_s, _),
            "heard": _("{value} s").format(value=f"{worker.silent_s:.1f}"),
        }
        for worker in report.workers
    ]
    headings = {
        "pid": _("Worker"),
        "connections": _("Connections"),
        "sessions": _("Sessions"),
        "rate": _("Messages/s"),
        "lag": _("Lag"),
        "heard": _("Heard"),
    }
    show_records(options, rows, headings)


def _certificate(fingerprint: str | None, expires_at: datetime | None, _: Translate) -> str:
    if fingerprint is None or expires_at is None:
        return _("none: plain TCP")
    return _("{fingerprint}, valid until {time}").format(fingerprint=fingerprint, time=iso_time(expires_at))


def _milliseconds(seconds: float, _: Translate) -> str:
    return _("{value} ms").format(value=f"{seconds * 1000:.1f}")


def _duration(up: Any, _: Translate) -> str:
    seconds = int(up.total_seconds())
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return _("{days} d {hours} h").format(days=days, hours=hours)
    if hours:
        return _("{hours} h {minutes} min").format(hours=hours, minutes=minutes)
    return _("{minutes} min {seconds} s").format(minutes=minutes, seconds=seconds % 60)
