"""Supervisor: listens, and has workers serve; starts them, watches them, replaces them, ends them.

It runs no code of the user's, and needs neither a store nor a service.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from antiphon.data.store_note import store_of
from antiphon.errors import AntiphonError
from antiphon.observe.log import ServerLog
from antiphon.server.control.control import Controlled, taking_control
from antiphon.server.control.live import Live, LiveQuery
from antiphon.server.control.report import ServerReport, status_line
from antiphon.server.listen.entrance import accept_all, hourly_limits
from antiphon.server.listen.limits import RegistrationLimits, SourceFailures
from antiphon.server.listen.ports import Listening
from antiphon.server.manager import ServiceManager
from antiphon.server.signals import StopSignals
from antiphon.server.topics.hub import Hub
from antiphon.server.workers.attention import Attention
from antiphon.server.workers.dispatch import Dispatcher
from antiphon.server.workers.messages import Start
from antiphon.server.workers.process import State, WorkerProcess
from antiphon.server.workers.reloading import Reloading
from antiphon.server.workers.reports import WorkerReports
from antiphon.server.workers.slots import Slots
from antiphon.store_address import files_folder

TICK_SECONDS = 0.25
"""Pause between two looks at the workers."""
QUIET_SECONDS = 2.5
"""Seconds without a heartbeat after which a worker gets no connections while others do."""
SILENT_MORE_SECONDS = 10.0
"""A worker without a heartbeat for `--service-seconds` and so much more is killed."""
START_SECONDS = 60.0
"""Seconds in which a worker must serve, but for the first one at the start. Its service has `--service-seconds`
more."""
END_SECONDS = 29.0
"""Seconds from the message to stop until a worker is killed: longer than its own time limit, within promise 24."""


class Supervisor:
    """The workers of one server (`process.Owner`)."""

    def __init__(
        self,
        start: Start,
        listening: Listening,
        dispatcher: Dispatcher,
        log: ServerLog,
        *,
        data: Path,
        tell: Callable[[str], None],
        manager: ServiceManager,
        reloading: Reloading | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            start: what each worker is told; `program.exec_most` is that of all together.
            listening: the sockets that clients connect to.
            dispatcher: passes the sockets of clients on.
            log: the server's log.
            data: the data folder.
            tell: prints where the server listens.
            manager: is told of the start, of reloads and of the end.
            reloading: of `--reload`.
        """
        settings = start.settings
        self._start = start
        self._listening = listening
        self.dispatcher = dispatcher
        """See `process.Owner`, as `limits`."""
        self._log = log
        self._tell = tell
        self._data = data
        self._manager = manager
        self.limits: Mapping[str, RegistrationLimits | SourceFailures] = hourly_limits(settings)._asdict()
        self._patience = settings.service_seconds + SILENT_MORE_SECONDS
        self._slots = Slots(start.workers)
        self._hub = Hub(os.urandom)
        self._workers: set[WorkerProcess] = set()
        """All that have not ended."""
        self._where: str | None = None
        """What the first worker has said of where it listens."""
        self._attention = Attention(asyncio.get_running_loop().time())
        self._reports = WorkerReports(start, log, self._attention)
        self._changed = asyncio.Event()
        self._stopping: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._development = reloading
        self._reloading: asyncio.Task[None] | None = None
        self._reload_again = False
        self._reload_failure: str | None = None
        """Why the last reload has failed."""
        self._incoming: list[WorkerProcess] = []
        """The new workers while a reload is under way."""
        self.at_reload: Callable[[], None] = lambda: None
        """Called, in a thread, at each reload."""
        self._failed = False
        """Whether a worker has not drained in order."""

    async def run(self) -> int:
        """Serve until a signal; return the exit code.

        Raises:
            AntiphonError: the first worker cannot serve, or the output cannot be written.
        """
        controlled = Controlled(self.report, self.reload, partial(self._stop, signal.SIGTERM))
        with StopSignals(self._stop, self._reload_soon, at_once=self._kill_all):
            async with taking_control(self._data, controlled, self._log):
                try:
                    await self._serve()
                finally:
                    await self._end()
        return 1 if self._failed else 128 + signal.SIGINT if self._stopping.result() == signal.SIGINT else 0

    async def _serve(self) -> None:
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._watch())]
        try:
            # One worker alone at first: what is wrong with the service is told once.
            worker = self._begin(0, announces=True)
            await worker.settled.wait()
            if self._where is None:
                if self._stopping.done():
                    return
                raise worker.failure
            self._tell(self._where)
            self._manager.ready(lambda: status_line(self.report().workers))
            dispatcher, settings = self.dispatcher, self._start.settings
            accepting = accept_all(self._listening, settings, dispatcher.take, self._log, dispatcher.room)
            tasks.append(asyncio.ensure_future(accepting))
            if self._development is not None:
                tasks.append(asyncio.ensure_future(self._reload_at_changes(self._development)))
            await asyncio.wait([self._stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in [*tasks, *([self._reloading] if self._reloading else [])]:
                task.cancel()
            await asyncio.wait(tasks)

    def _begin(self, number: int, *, announces: bool = False) -> WorkerProcess:
        worker = (self._development and self._development.take()) or WorkerProcess(self, self._hub)
        worker.begin(number, self._start.for_worker(number, announces=announces))
        self._workers.add(worker)
        return worker

    # --- watching ---------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._change()
            now = loop.time()
            try:
                self._look(now)
                if self._where is not None and self._reloading is None:
                    self._refill(now)
                    self._prepare()
                if dropped := self.dispatcher.limits.take_dropped():
                    self._log.warning("dropped", count=dropped)
            except Exception:  # noqa: BLE001 - without this task nobody is replaced
                self._log.exception("fault")

    async def _change(self) -> None:
        """Wait until a worker has said something of itself, or for a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TICK_SECONDS):
                await self._changed.wait()
        self._changed.clear()

    def _look(self, now: float) -> None:
        """Look which workers have ended, and which must."""
        self._attention.look(now)
        for worker in list(self._workers):
            if worker.has_ended():
                self._ended(worker, now)
            elif worker.left_at is not None and now - worker.left_at > END_SECONDS:
                self._kill(worker, now - worker.left_at)
            elif worker.state is State.STARTING:
                if now - worker.began_at > START_SECONDS + self._patience and self._where is not None:
                    self._kill(worker, now - worker.began_at)
            else:
                silence = self._attention.silence(worker.heard_at, now)
                worker.seat.silent = silence > QUIET_SECONDS
                if silence > self._patience:
                    self._kill(worker, silence)
        self.dispatcher.go_on()

    def _kill(self, worker: WorkerProcess, seconds: float) -> None:
        if not worker.killed:
            self._log.error("worker-killed", pid=worker.pid, seconds=round(seconds, 1))
            worker.kill()

    def _ended(self, worker: WorkerProcess, now: float) -> None:
        self._workers.discard(worker)
        self._reports.ended(worker)
        in_order = worker.left_at is not None or worker.exit_code == 0
        self._failed |= (
            self._stopping.done() and worker.served and worker.exit_code not in (0, 128 + signal.SIGINT)
        )
        if self._slots.ended(worker, now) and not in_order:
            why = None if worker.served else str(worker.failure)
            self._log.error("worker-died", pid=worker.pid, exit=worker.exit_code, why=why)
            self._tell_death(worker)
        else:
            self._log.info("worker-ended", pid=worker.pid, exit=worker.exit_code)
        self._seat()
        self.dispatcher.gone(worker.seat)

    def _tell_death(self, worker: WorkerProcess) -> None:
        if self._development is not None and self._where is not None and not self._stopping.done():
            if worker.served:
                self._development.died(worker)
            else:
                self._development.not_loaded(worker.failure)

    def _prepare(self) -> None:
        """With `--reload`: have a process in reserve while somebody serves."""
        if self._development is not None and self.dispatcher.seats:
            with contextlib.suppress(OSError):
                self._development.prepare(lambda: WorkerProcess(self, self._hub))

    def _refill(self, now: float) -> None:
        """Start a worker in each empty slot, unless too many have died there, or the service waits for an edit."""
        if self._development is not None and self._development.watcher.broken:
            return
        for number in self._slots.due(now):
            try:
                self._slots.workers[number] = self._begin(number)
            except OSError as error:
                self._log.error("worker-not-started", problem=error.strerror)
                self._slots.failed(number, now)

    def _seat(self) -> None:
        """Give connections to the workers that serve."""
        serving = (worker for worker in self._slots.workers if worker and worker.state is State.SERVING)
        self.dispatcher.seats = [worker.seat for worker in serving]

    # --- reload -----------------------------------------------------------------------------------------------

    async def reload(self) -> str | None:
        """Reload as at SIGHUP; return why it has failed, if it has."""
        self._reload_soon()
        while self._reloading is not None:
            await asyncio.wait({self._reloading})
            await asyncio.sleep(0)  # another one may have begun
        return self._reload_failure

    async def _reload_at_changes(self, development: Reloading) -> None:
        while True:
            try:
                await development.change()
            except Exception:  # noqa: BLE001 - without this task no edit is served
                self._log.exception("fault")
                await asyncio.sleep(TICK_SECONDS)
                continue
            self._reload_soon()
            if self._reload_again:  # what the new workers load is out of date, and may take long
                for worker in self._incoming:
                    worker.stop(signal.SIGTERM)

    def _reload_soon(self) -> None:
        if self._where is None or self._stopping.done():
            return
        if self._reloading is not None:
            self._reload_again = True
            return
        self._reload_again = False
        self._manager.reloading()
        self._reloading = asyncio.ensure_future(self._reload())
        self._reloading.add_done_callback(self._reloaded)

    def _reloaded(self, task: asyncio.Task[None]) -> None:
        self._reloading, self._incoming = None, []
        self._manager.reloaded()
        if not task.cancelled() and (error := task.exception()):
            self._log.error("fault", exception=error)
        if self._reload_again:
            self._reload_soon()

    async def _reload(self) -> None:
        """Start new workers, and drain the old ones once all new ones serve; if one cannot, the old ones stay."""
        self._log.info("reloading", pid=self._start.pid)  # a log that was renamed is opened again by this
        self._reload_failure = None
        await asyncio.to_thread(self.at_reload)
        if files_folder(store_of(self._start.settings)) is not None:  # with `--reload` only
            await self._end_old()
        workers = self._incoming
        try:
            for number in range(self._start.workers):
                workers.append(self._begin(number, announces=not number))
            for worker in workers:
                await worker.settled.wait()
            failed = next((worker for worker in workers if worker.state is not State.SERVING), None)
            if failed is not None:
                raise failed.failure
        except (AntiphonError, OSError) as error:
            self._not_reloaded(error)
            for worker in workers:
                worker.stop(signal.SIGTERM)
            return
        self._incoming = []
        before = self._slots.replace(workers)
        self._seat()
        self.dispatcher.go_on()
        for old in before:
            old.stop(signal.SIGTERM)
        if self._development is not None:
            self._development.loaded(workers)
        self._log.info("reloaded", pids=[worker.pid for worker in workers])

    def _not_reloaded(self, error: AntiphonError | OSError) -> None:
        self._reload_failure = str(error)
        if self._reload_again and self._development is not None:  # ended because a file has changed meanwhile
            return
        code = error.code if isinstance(error, AntiphonError) else None
        self._log.error("reload-failed", code=code, why=str(error))
        if self._development is not None:
            self._development.not_loaded(error)

    async def _end_old(self) -> None:
        """End the old workers before new ones start: a store of files has one server at a time."""
        before = self._slots.clear()
        self._seat()
        for old in before:
            old.stop(signal.SIGTERM)
        for old in before:
            await old.ended.wait()

    def report(self) -> ServerReport:
        """Return what the server does."""
        now = asyncio.get_running_loop().time()
        return self._reports.report(self._workers, now, draining=self._stopping.done())

    async def look(self, query: LiveQuery) -> Live:
        """Return who is connected."""
        return await self._reports.looks.look(list(self._workers), query)

    # --- the end ----------------------------------------------------------------------------------------------

    def _stop(self, number: int) -> None:
        if not self._stopping.done():
            self._stopping.set_result(number)
            self._manager.stopping()
        for worker in self._workers:
            worker.stop(number)
        self._changed.set()

    async def _end(self) -> None:
        """Stop listening, and wait until all workers have ended."""
        self._listening.close()
        self._log.info("stopping", workers=len(self._workers))
        self._stop(signal.SIGTERM)  # unless a signal has come
        self.dispatcher.seats = ()
        self.dispatcher.close()
        if self._development is not None:
            self._development.close()
        loop = asyncio.get_running_loop()
        while self._workers:
            self._look(loop.time())
            self.dispatcher.close()
            if self._workers:
                await self._change()

    def _kill_all(self) -> None:
        for worker in list(self._workers):
            worker.kill()

    # --- called by the workers' processes ---------------------------------------------------------------------

    def ready(self, worker: WorkerProcess, text: str) -> None:
        """See `Owner`."""
        self._log.info("worker-started", pid=worker.pid)
        if self._where is None:
            self._where = text
            self._slots.workers[worker.number] = worker
        self._changed.set()
        self._seat()
        self.dispatcher.go_on()

    def imported(self, worker: WorkerProcess, sources: Iterable[str]) -> None:
        """See `Owner`."""
        if self._development is not None:
            self._development.watcher.add(sources, worker.began_at_ns)

    def leaves(self, worker: WorkerProcess) -> None:
        """See `Owner`."""
        self._slots.left(worker)
        self._seat()
        self.dispatcher.take_back(worker.seat)
        self._changed.set()

    def stacks(self, worker: WorkerProcess, text: str) -> None:
        """See `Owner`."""
        self._log.error("worker-silent", pid=worker.pid, stacks=text)

    def lost(self, worker: WorkerProcess) -> None:
        """See `Owner`."""
        worker.has_ended()
        self._changed.set()
