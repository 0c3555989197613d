"""`antiphon serve`: a server until it is told to stop."""

import asyncio
import contextlib
import json
import os
import signal
from dataclasses import replace
from typing import Annotated, Literal

from cyclopts import Parameter

from antiphon import __version__
from antiphon.cli.common import Common, run_loop
from antiphon.cli.main import CANCELLED
from antiphon.server.folder import DataFolder
from antiphon.server.server import Server
from antiphon.services import echo
from antiphon.settings import DEFAULT_PORT, ServerSettings
from antiphon.terminal.console import Console
from antiphon.terminal.entry import read_port

SERVICES = {"echo": echo}


def serve(
    service: Annotated[Literal["echo"], Parameter(help="What answers: echo gives every message back.")] = "echo",
    *,
    settings: Annotated[ServerSettings, Parameter(name="*")] = ServerSettings(),
    json: Annotated[
        bool, Parameter(help="Tell where the server listens as one line of JSON.", negative=())
    ] = False,
    common: Common = Common(),
) -> int:
    """Serve sign-in, sessions and a service, until Ctrl-C or SIGTERM.

    For example:
        antiphon serve
        antiphon serve --port 9000 --strict-port
        antiphon serve --host '*' --registration open --data /srv/antiphon
        antiphon serve --access identify
        antiphon serve --plain --port 0 --port-file port.txt --no-input
    """
    return run_loop(_serve(service, settings, common.console(), as_json=json), fast=True)


async def _serve(service: str, settings: ServerSettings, console: Console, *, as_json: bool) -> int:
    if settings.port is None and console.can_ask:
        default = DataFolder.open(settings.data).last_port or DEFAULT_PORT
        port = await console.ask(
            console.translations.gettext("Port"), lambda text: read_port(text, 0), str(default)
        )
        settings = replace(settings, port=port)
    stopping: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    _listen_to_signals(stopping)
    async with Server(SERVICES[service], settings, language=console.language) as server:
        print(_as_json(server) if as_json else _start_block(server, console), flush=True)
        return await stopping


def _listen_to_signals(stopping: asyncio.Future[int]) -> None:
    """Stop in order at the first SIGTERM or Ctrl-C; at the second, at once."""

    def stop(number: int, exit_code: int) -> None:
        if stopping.done():
            os._exit(128 + number)
        stopping.set_result(exit_code)

    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C arrives as KeyboardInterrupt
        loop.add_signal_handler(signal.SIGTERM, stop, signal.SIGTERM, 0)
        loop.add_signal_handler(signal.SIGINT, stop, signal.SIGINT, CANCELLED)


def _start_block(server: Server, console: Console) -> str:
    """Return what the console shows, once: where to connect, who may register, where the log is."""
    _ = console.translations.gettext
    if server.moved_from is None:
        first = _("Antiphon {version} listens on port {port}.")
    else:
        first = _("Antiphon {version} listens on port {port}, because {moved_from} was taken.")
    lines = [first.format(version=__version__, port=server.port, moved_from=server.moved_from)]
    lines += [
        _("  Connect: {command}").format(command=f"antiphon connect '{address}'") for address in server.addresses
    ]
    lines.append(_access(server, console))
    if not server.loopback:
        lines.append(_("  Reach:   everyone who can reach this machine on this port."))
    lines.append(_("  Log:     {path}").format(path=server.log_path))
    return "\n".join(lines)


def _access(server: Server, console: Console) -> str:
    """Return the line that says who is let in, and whether new names are taken."""
    _ = console.translations.gettext
    match server.settings.access, server.registration:
        case "anyone", _:
            return _("  Access:  anyone, without name and password.")
        case "identify", True:
            return _("  Access:  by address, without password; a new address is asked for a name.")
        case "identify", False:
            return _("  Access:  by address, without password; new names are not taken.")
        case _, True:
            return _("  Access:  sign-in with name and password; new names may register.")
    return _("  Access:  sign-in with name and password; registration is closed.")


def _as_json(server: Server) -> str:
    return json.dumps(
        {
            "addresses": [str(address) for address in server.addresses],
            "port": server.port,
            "moved_from": server.moved_from,
            "access": server.settings.access,
            "registration": "open" if server.registration else "closed",
            "data": str(server.data_path),
            "log": str(server.log_path),
            "pid": os.getpid(),
        },
        ensure_ascii=False,
    )
