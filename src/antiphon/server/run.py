"""Server program: opens a server, prints where it listens, and drains it after a signal."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Unpack

from antiphon import streams
from antiphon.data.validity import Condition, condition_of
from antiphon.errors import AntiphonError, OutputFailed
from antiphon.language import N_, Translate, catalogue, choose
from antiphon.options import ServerOptions
from antiphon.printable import printable
from antiphon.server.behind import managed
from antiphon.server.control.report import status_line
from antiphon.server.manager import ServiceManager
from antiphon.server.server import Server
from antiphon.server.signals import StopSignals, lift_time_limit
from antiphon.services import Handler, Lifespan, echo
from antiphon.settings import ServerSettings
from antiphon.version import __version__

INTERRUPTED = 128 + signal.SIGINT
"""The exit code after Ctrl-C, as shells have it."""
YOUNG_MOST = 3000
"""New objects after which the garbage collector runs. With Python's 700 it runs while 100 handlers wait, and finds
all of them alive."""

HANG = 9
"""Columns from the beginning of a line of the start block to its text."""

_CERTIFICATES: dict[Condition, str] = {
    "certificate-not-yet-valid": N_(
        "  TLS:     the certificate is valid from {valid_from} on; clients that check its dates refuse it"
        " until then."
    ),
    "certificate-expires": N_("  TLS:     the certificate expires on {end}. Renew it, then run antiphon reload."),
    "certificate-expired": N_(
        "  TLS:     the certificate has expired on {end}; clients that check its dates refuse it. Renew it,"
        " then run antiphon reload."
    ),
}
"""Lines of the start block about the certificate's dates; those in them are in UTC."""


def serve(
    handler: Handler = echo,
    settings: ServerSettings | None = None,
    *,
    lifespan: Lifespan | None = None,
    language: str | None = None,
    **options: Unpack[ServerOptions],
) -> int:
    """Serve `handler` until Ctrl-C or SIGTERM, as `antiphon serve` does: print the address, drain, then return.

    It starts its own event loop. Call it in the main thread of a program; use `Server` inside an event loop that
    already runs.

    Args:
        handler: the service, as `Handler` describes it.
        settings: the options of `antiphon serve`; variables and the configuration file are not read.
        lifespan: what happens around the service, as `Lifespan` describes it; by default the handler's own.
        language: of the sentences on the console, `en` or `ru`; by default the locale's.
        options: single fields of `ServerSettings` that differ from `settings`, such as `port=9000`; a path may be
            text.

    Returns:
        The exit code that `antiphon serve` ends with: 0 after SIGTERM, 130 after Ctrl-C.

    Raises:
        SystemExit: the server cannot start. The reason is on standard error; `__cause__` is the `AntiphonError`
            that `Server` raises.
    """
    language = choose(language, os.environ)
    manager = ServiceManager.taken(os.environ)
    factory = None
    if sys.platform != "win32":
        import uvloop  # noqa: PLC0415 - not on every system

        factory = uvloop.new_event_loop
    try:
        server = Server(handler, settings, lifespan=lifespan, language=language, **options)
        try:
            with asyncio.Runner(loop_factory=factory) as runner:
                return runner.run(run(server, manager))
        finally:
            lift_time_limit()
    except AntiphonError as error:
        with contextlib.suppress(OutputFailed):
            streams.stderr.line(streams.stderr.fitted(printable(error.full(catalogue(language).gettext))))
        raise SystemExit(error.exit_code) from error


async def run(server: Server, manager: ServiceManager, *, as_json: bool = False) -> int:
    """Open a server, print where it listens, drain it after a signal; return the exit code.

    `manager` is told, and its sockets are listened on.
    """

    def opened() -> None:
        streams.stdout.line(where_it_listens(server, os.getpid(), as_json=as_json))
        manager.ready(lambda: status_line([server.measured()]))

    managed(server, manager)
    try:
        return await until_stopped(server, opened, server.reload)
    finally:
        manager.close()


async def until_stopped(
    server: Server,
    opened: Callable[[], None],
    reload: Callable[[], None],
    begun: Callable[[StopSignals], None] = lambda _: None,
) -> int:
    """Open a server, and drain it after a signal; return the exit code.

    Call `lift_time_limit` afterwards, if the process is to go on.

    Args:
        server: the server; nothing of it is open.
        opened: called when it is open.
        reload: called at SIGHUP.
        begun: called with the signals before anything is opened.
    """
    stopping: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.current_task()
    assert task is not None

    def stop(number: int) -> None:
        if not stopping.done():
            stopping.set_result(INTERRUPTED if number == signal.SIGINT else 0)
            if server.starting:  # a service may wait for long, for a database for example
                task.cancel()

    _collect_less()
    is_open = False

    def reload_if_open() -> None:
        if is_open:  # else it loads everything anyway
            reload()

    with StopSignals(stop, reload_if_open) as signals:
        begun(signals)
        try:
            async with contextlib.AsyncExitStack() as stack:
                with contextlib.redirect_stdout(sys.stderr):  # programs read our address on standard output
                    await stack.enter_async_context(server)
                gc.freeze()  # what is there now stays: the collector need not look at it again and again
                opened()
                is_open = True
                return await stopping
        except asyncio.CancelledError:
            if is_open or not stopping.done():
                raise
            task.uncancel()
            return stopping.result()


def _collect_less() -> None:
    """Run the garbage collector less often, unless its thresholds were set."""
    young, *older = gc.get_threshold()
    if 0 < young < YOUNG_MOST:
        gc.set_threshold(YOUNG_MOST, *older)


def where_it_listens(server: Server, pid: int, *, as_json: bool, workers: int = 1) -> str:
    """Return what the console shows, once.

    Args:
        server: the server, open.
        pid: of the process that a signal stops.
        as_json: one line for programs instead of the block for people.
        workers: how many processes serve.
    """
    return _as_json(server, pid, workers) if as_json else _start_block(server, workers)


def _start_block(server: Server, workers: int) -> str:
    """Return the block for people: where to connect, who may register, where the log is.

    On a terminal the sentences are wrapped at words. What is copied (the command, the path) stays whole.
    """
    _ = catalogue(server.language).gettext
    if server.moved_from is None:
        first = _("Antiphon {version} listens on port {port}.")
    else:
        first = _("Antiphon {version} listens on port {port}, because {moved_from} was taken.")
    told = first.format(version=__version__, port=server.port, moved_from=server.moved_from)
    lines = [streams.stdout.fitted(told)]
    lines += [
        _("  Connect: {command}").format(command=f"antiphon connect '{address}'") for address in server.addresses
    ]
    lines.append(streams.stdout.fitted(_access(server, _), HANG))
    if not server.loopback:
        reach = _("  Reach:   everyone who can reach this machine on this port.")
        lines.append(streams.stdout.fitted(reach, HANG))
    if server.status_place is not None:
        place = server.status_place
        url = place if place.startswith("https://") else f"http://{place}"
        lines.append(_("  Status:  {url}").format(url=f"{url}/"))
    if workers > 1:
        lines.append(_("  Workers: {count}").format(count=workers))
    if condition := _certificate(server):
        facts = server.measured().facts
        told = _(_CERTIFICATES[condition]).format(valid_from=_day(facts.valid_from), end=_day(facts.expires_at))
        lines.append(streams.stdout.fitted(told, HANG))
    lines.append(_("  Log:     {path}").format(path=server.log_path))
    return "\n".join(lines)


def _certificate(server: Server) -> Condition | None:
    """Return what there is to say of the certificate's dates."""
    facts = server.measured().facts
    return condition_of(facts.valid_from, facts.expires_at, datetime.now(UTC))


def _day(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d}"


def _access(server: Server, _: Translate) -> str:
    """Return the line that says who is let in, and whether new names are taken."""
    match server.settings.access, server.registration:
        case "anyone", bool():
            return _("  Access:  anyone, without name and password.")
        case "identify", True:
            return _("  Access:  by address, without password; a new address is asked for a name.")
        case "identify", False:
            return _("  Access:  by address, without password; new names are not taken.")
        case "authenticate", True:
            return _("  Access:  sign-in with name and password; new names may register.")
    return _("  Access:  sign-in with name and password; registration is closed.")


def _as_json(server: Server, pid: int, workers: int) -> str:
    condition = _certificate(server)
    return json.dumps(
        {
            "addresses": [str(address) for address in server.addresses],
            "port": server.port,
            "moved_from": server.moved_from,
            "access": server.settings.access,
            "registration": "open" if server.registration else "closed",
            "data": str(server.data_path),
            "log": str(server.log_path),
            "status": server.status_place,
            "pid": pid,
            "workers": workers,
            "problems": [condition] if condition else [],
        },
        ensure_ascii=False,
    )
