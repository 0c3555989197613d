"""Start of a server with workers: data folder, log and port, then the supervisor."""

import os
from dataclasses import replace

from antiphon import streams
from antiphon.data.folder import DataFolder, check_before_making, data_folder
from antiphon.data.store_note import store_of
from antiphon.errors import AntiphonError
from antiphon.observe.log import open_log
from antiphon.server.listen.entrance import admission_limits, listen_as_set
from antiphon.server.manager import ServiceManager
from antiphon.server.status.endpoint import serving_status
from antiphon.server.workers.dispatch import Dispatcher
from antiphon.server.workers.messages import Start
from antiphon.server.workers.reloading import Reloading
from antiphon.server.workers.supervisor import Supervisor
from antiphon.settings import ProgramSettings, ServerSettings
from antiphon.version import __version__


async def supervise(
    service: str,
    settings: ServerSettings,
    program: ProgramSettings,
    *,
    workers: int,
    language: str,
    as_json: bool,
    manager: ServiceManager,
    reloading: Reloading | None = None,
) -> int:
    """Serve with workers until a signal; return the exit code.

    Args:
        service: what answers, as `load` takes it; it is loaded by the workers.
        settings: the server's.
        program: the limits of programs, for all workers together.
        workers: how many; one only with `reloading`.
        language: of what is printed, and of greetings to clients that name none.
        as_json: print one line for programs.
        manager: is told, and its sockets are listened on.
        reloading: of `--reload`.

    Raises:
        AntiphonError: it cannot serve; the errors are those of `load` and `Server`, and `WorkerEnded`.
    """
    store, data = store_of(settings), settings.data or data_folder()
    await check_before_making(data, store)
    folder = DataFolder.open(data)
    settings = replace(settings, store=store)  # a worker that replaces another one has the same
    log = open_log(settings.log or folder.path / "server.log", settings.log_level)
    log.info("started", version=__version__, pid=os.getpid(), folder=str(folder.path), workers=workers)
    try:
        async with serving_status(settings.status, folder, store, log) as status:
            listening = listen_as_set(settings, folder.last_port, manager.passed)
            start = Start(
                service=service,
                settings=replace(settings, status=status.place if status else None),
                program=program,
                language=language,
                as_json=as_json,
                workers=workers,
                pid=os.getpid(),
                announces=False,
                port=listening.port,
                moved_from=listening.moved_from,
                hosts=listening.hosts,
                loopback=listening.loopback,
                reloads=reloading is not None,
            )
            dispatcher = Dispatcher(admission_limits(settings))
            supervisor = Supervisor(
                start,
                listening,
                dispatcher,
                log,
                data=folder.path,
                tell=streams.stdout.line,
                manager=manager,
                reloading=reloading,
            )
            if status is not None:
                status.follow(supervisor.report, supervisor.look)
                supervisor.at_reload = status.reload
            return await supervisor.run()
    except AntiphonError as error:
        log.error("not-started", code=error.code, why=str(error))  # noqa: TRY400 - the operator's, not a fault
        raise
    finally:
        manager.close()
        log.info("stopped", pid=os.getpid())
        log.close()
