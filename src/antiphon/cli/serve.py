"""`antiphon serve`: run a server until Ctrl-C or SIGTERM."""

import asyncio
from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter

from antiphon.cli.common_options import CommonOptions
from antiphon.cli.event_loop import run_loop
from antiphon.cli.reload import keep_reloading
from antiphon.data.folder import DataFolder
from antiphon.server.run import run
from antiphon.server.server import Server
from antiphon.services import load
from antiphon.settings import DEFAULT_PORT, ProgramSettings, ServerSettings
from antiphon.terminal.console import Console
from antiphon.terminal.parse import read_port


def serve(
    service: Annotated[
        str,
        Parameter(
            help="The service that answers: echo, chat, your own (module:attr or path/to/file.py:attr), "
            "or a program (exec:COMMAND)."
        ),
    ] = "echo",
    *,
    settings: Annotated[ServerSettings, Parameter(name="*", allow_leading_hyphen=True)] = ServerSettings(),
    program: Annotated[ProgramSettings, Parameter(name="*")] = ProgramSettings(),
    json: Annotated[
        bool, Parameter(help="Print where the server listens as one line of JSON.", negative=())
    ] = False,
    reload: Annotated[
        bool,
        Parameter(help="Restart when a .py file beside the service changes; for development.", negative=()),
    ] = False,
    common: CommonOptions = CommonOptions(),
) -> int:
    """Run a server: sign-in, sessions and a service, until Ctrl-C or SIGTERM.

    For example:
        antiphon serve
        antiphon serve chat --port 9000 --strict-port
        antiphon serve shop.py:answer --reload
        antiphon serve 'exec:python3 -iqu'
        antiphon serve --host '*' --registration open --data /srv/antiphon
        antiphon serve --access identify
        antiphon serve --plain --port 0 --port-file port.txt --no-input
    """
    console = common.console()
    handler = None if reload else load(service, program)
    if settings.port is None and console.can_ask:
        settings = replace(settings, port=asyncio.run(_ask_for_port(console, settings)))
    if handler is None:
        return keep_reloading(console, service, settings, as_json=json)
    server = Server(handler, settings, language=console.language)
    return run_loop(run(server, as_json=json), fast=True)


async def _ask_for_port(console: Console, settings: ServerSettings) -> int:
    default = DataFolder.open(settings.data).last_port or DEFAULT_PORT
    return await console.ask(console.translations.gettext("Port"), lambda text: read_port(text, 0), str(default))
