"""`antiphon serve`: a server until it is told to stop."""

from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter

from antiphon.cli.common import Common, run_loop
from antiphon.server.folder import DataFolder
from antiphon.server.run import run
from antiphon.server.server import Server
from antiphon.services import Handler, load
from antiphon.settings import DEFAULT_PORT, ServerSettings
from antiphon.terminal.console import Console
from antiphon.terminal.entry import read_port


def serve(
    service: Annotated[
        str,
        Parameter(help="What answers: echo, chat, or an object of yours: module:attr, path/to/file.py:attr."),
    ] = "echo",
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
        antiphon serve chat --port 9000 --strict-port
        antiphon serve shop.py:answer
        antiphon serve --host '*' --registration open --data /srv/antiphon
        antiphon serve --access identify
        antiphon serve --plain --port 0 --port-file port.txt --no-input
    """
    console = common.console()
    return run_loop(_serve(load(service), settings, console, as_json=json), fast=True)


async def _serve(handler: Handler, settings: ServerSettings, console: Console, *, as_json: bool) -> int:
    if settings.port is None and console.can_ask:
        default = DataFolder.open(settings.data).last_port or DEFAULT_PORT
        port = await console.ask(
            console.translations.gettext("Port"), lambda text: read_port(text, 0), str(default)
        )
        settings = replace(settings, port=port)
    return await run(Server(handler, settings, language=console.language), as_json=as_json)
