"""`antiphon serve`: run a server until Ctrl-C or SIGTERM.

What a server imports is imported when it is needed: a supervisor of workers needs neither a store nor a service.
"""

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from antiphon.address import DEFAULT_PORT
from antiphon.cli.common_options import CommonOptions
from antiphon.cli.event_loop import run_loop
from antiphon.cli.option_groups import PROGRAM, WORKERS, grouped
from antiphon.data.folder import DataFolder, data_folder
from antiphon.errors import Problem, SettingInvalid
from antiphon.language import N_
from antiphon.server.manager import ServiceManager
from antiphon.settings import ProgramSettings, ServerSettings
from antiphon.terminal.console import Console
from antiphon.terminal.parse import read_port

if TYPE_CHECKING:
    from antiphon.server.workers.reloading import Reloading

    _Settings = ServerSettings
else:
    _Settings = grouped(ServerSettings)

_NOT_YOURS = Problem(N_("“{service}” is not a module of yours, so there is no file to watch"))


def serve(
    service: Annotated[
        str,
        Parameter(
            help="The service that answers: echo, chat, your own (module:attr or path/to/file.py:attr), "
            "or a program (exec:COMMAND)."
        ),
    ] = "echo",
    *,
    settings: Annotated[_Settings, Parameter(name="*", allow_leading_hyphen=True)] = _Settings(),
    program: Annotated[ProgramSettings, Parameter(name="*", group=PROGRAM)] = ProgramSettings(),
    workers: Annotated[
        str,
        Parameter(
            help="Processes that serve, from 1 to 64; auto: as many as this process may use processors.",
            group=WORKERS,
        ),
    ] = "1",
    json: Annotated[
        bool, Parameter(help="Print where the server listens as one line of JSON.", negative=())
    ] = False,
    reload: Annotated[
        bool,
        Parameter(help="Restart when a file that the service imports changes; for development.", negative=()),
    ] = False,
    check: Annotated[
        bool,
        Parameter(help="Check all that a start needs, and tell of it; serve and change nothing.", negative=()),
    ] = False,
    common: CommonOptions = CommonOptions(),
) -> int:
    """Run a server: sign-in, sessions and a service, until Ctrl-C or SIGTERM.

    For example:
        antiphon serve
        antiphon serve chat --port 9000 --strict-port
        antiphon serve shop.py:answer --reload
        antiphon serve shop.py:answer --workers auto
        antiphon serve shop.py:answer --check
        antiphon serve 'exec:python3 -iqu'
        antiphon serve --host '*' --registration open --data /srv/antiphon
        antiphon serve --access identify
        antiphon serve --plain --port 0 --port-file port.txt --no-input
    """
    from antiphon.server.workers.count import worker_count  # noqa: PLC0415

    manager = ServiceManager.taken(os.environ)  # before anything of the user's runs
    console = common.console()
    count = worker_count(workers, service, settings, program, reloads=reload)
    if check:
        from antiphon.cli.serve_check import check_start  # noqa: PLC0415

        return check_start(console, service, settings, program, manager, as_json=json)
    if count > 1 or reload:
        from antiphon.server.workers.supervise import supervise  # noqa: PLC0415

        reloading = _reloading(console, service) if reload else None
        serving = supervise(
            service,
            _with_port(console, settings, manager),
            program,
            workers=count,
            language=console.language,
            as_json=json,
            manager=manager,
            reloading=reloading,
        )
        return run_loop(serving, fast=True)
    from antiphon.observe import records  # noqa: PLC0415
    from antiphon.server.run import run  # noqa: PLC0415
    from antiphon.server.server import Server  # noqa: PLC0415
    from antiphon.services import load  # noqa: PLC0415

    with records.taken(settings.log_level):
        handler = load(service, program)
    server = Server(handler, _with_port(console, settings, manager), language=console.language)
    return run_loop(run(server, manager, as_json=json), fast=True)


def _reloading(console: Console, service: str) -> "Reloading":
    """Return what `--reload` adds.

    Raises:
        SettingInvalid: the service has no file to watch.
    """
    from antiphon.server.workers.reloading import Reloading  # noqa: PLC0415
    from antiphon.server.workers.sources import folder_of  # noqa: PLC0415

    folder = folder_of(service)
    if folder is None:
        raise SettingInvalid(source="--reload", problem=_NOT_YOURS, service=service)
    return Reloading(folder, console.tell, console.tell_error, console.language)


def _with_port(console: Console, settings: ServerSettings, manager: ServiceManager) -> ServerSettings:
    """Return `settings` with a port, which the person is asked for if there is one to ask, and no socket yet."""
    if settings.port is not None or manager.passed or not console.can_ask:
        return settings
    return replace(settings, port=asyncio.run(_ask_for_port(console, settings)))


async def _ask_for_port(console: Console, settings: ServerSettings) -> int:
    default = DataFolder(settings.data or data_folder()).last_port or DEFAULT_PORT
    return await console.ask(console.translations.gettext("Port"), lambda text: read_port(text, 0), str(default))
