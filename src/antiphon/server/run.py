"""A server as a whole program: told where it listens, it runs until a signal says that it should stop."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import Any

from antiphon import __version__
from antiphon.language import Translate, catalogue, choose
from antiphon.server.server import Server
from antiphon.services import Handler, echo
from antiphon.settings import ServerSettings

INTERRUPTED = 128 + signal.SIGINT
"""The exit code after Ctrl-C, as shells have it."""


def serve(
    handler: Handler = echo,
    settings: ServerSettings | None = None,
    *,
    language: str | None = None,
    **options: Any,
) -> None:
    """Serve `handler` until Ctrl-C or SIGTERM, as `antiphon serve` does: tell where, drain, then return.

    It has an event loop of its own, and is for the main thread of a program; `Server` is for an event loop that
    is there already.

    Args:
        handler: what answers, as `Handler` describes it.
        settings: what `antiphon serve` can be told; nothing is read from variables or a file.
        language: of the sentences on the console, `en` or `ru`; by default the locale's.
        options: single fields of `ServerSettings` that differ from `settings`, such as `port=9000`.

    Raises:
        UsageError: the service or the settings ask for what cannot be had here.
        ServerError: the store cannot be opened.
    """
    server = Server(handler, settings, language=choose(language, os.environ), **options)
    factory = None
    if sys.platform != "win32":
        import uvloop  # noqa: PLC0415 - not on every system

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run(server))


async def run(server: Server, *, as_json: bool = False) -> int:
    """Open a server, say on standard output where it listens, drain it after a signal; return the exit code."""
    stopping: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    _listen_to_signals(stopping)
    async with server:
        told = _as_json(server) if as_json else _start_block(server)
        sys.stdout.write(f"{told}\n")
        sys.stdout.flush()
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
        loop.add_signal_handler(signal.SIGINT, stop, signal.SIGINT, INTERRUPTED)


def _start_block(server: Server) -> str:
    """Return what the console shows, once: where to connect, who may register, where the log is."""
    _ = catalogue(server.language).gettext
    if server.moved_from is None:
        first = _("Antiphon {version} listens on port {port}.")
    else:
        first = _("Antiphon {version} listens on port {port}, because {moved_from} was taken.")
    lines = [first.format(version=__version__, port=server.port, moved_from=server.moved_from)]
    lines += [
        _("  Connect: {command}").format(command=f"antiphon connect '{address}'") for address in server.addresses
    ]
    lines.append(_access(server, _))
    if not server.loopback:
        lines.append(_("  Reach:   everyone who can reach this machine on this port."))
    lines.append(_("  Log:     {path}").format(path=server.log_path))
    return "\n".join(lines)


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
