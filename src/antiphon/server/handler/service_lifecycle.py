"""Lifecycle of a service in one worker: `started`, `stopping` and `lifespan`, and its background tasks."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from antiphon.arguments import check_argument
from antiphon.errors import Problem, ServiceNotStarted
from antiphon.language import N_
from antiphon.server.handler.environment import HandlerEnvironment
from antiphon.server.handler.guard import as_fault
from antiphon.server.home.fence import guarded
from antiphon.user_code import location_of, message_of

LEAST_SECONDS = 2.0
"""What a service has in all to end its tasks and to stop, also where the handlers have used up the drain time."""
GIVE_UP_SECONDS = 0.5
"""Longest wait for the end of a hook or task that was cancelled because its time was over."""

_RAISED = Problem(N_("{error} ({place})"))
_TOO_SLOW = Problem(N_("“{hook}” took longer than --service-seconds"))

Result = TypeVar("Result")


class ServiceLifecycle:
    """The service of one server, from its start to its end. Both run in one task, as task groups need it."""

    def __init__(self, environment: HandlerEnvironment) -> None:
        """Prepare the hooks; call `start` next."""
        self._environment = environment
        self._hook = "lifespan"
        """The hook that runs, or ran last."""
        self._fault: Exception | None = None
        """What it raised, if the service has not started."""
        self._waited: BaseException | None = None
        """The cancellation that has ended a service which took too long to start: it shows where it waited."""
        self._life: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        self._ending = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        """Background tasks that are not done."""

    @property
    def _open(self) -> bool:
        """Whether the service may start tasks: its first hook has begun and its last one has not ended."""
        return self._life is not None and not self._life.done()

    @property
    def starting(self) -> bool:
        """Whether the service has begun to start and has not started."""
        return self._open and not self._started.is_set()

    async def start(self) -> None:
        """Enter `lifespan` and call `started`; after an error nothing of the service is left.

        Raises:
            ServiceNotStarted: one of them raised, or took longer than the service may take for an answer.
        """
        life = self._life = asyncio.get_running_loop().create_task(self._live(), name="antiphon service")
        started = asyncio.ensure_future(self._started.wait())
        try:
            await asyncio.wait(
                {life, started}, timeout=self._environment.seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if self._started.is_set():
                return
            if not life.done():
                hook = self._hook
                await self._give_up()
                slow = self._fault or self._too_slow()
                self._log(slow)
                raise self._not_started(_TOO_SLOW, hook=hook) from slow
            fault = self._fault or as_fault(asyncio.CancelledError())
            self._log(fault)
            raise self._not_started(_RAISED, error=message_of(fault), place=location_of(fault)) from fault
        finally:
            started.cancel()
            if not self._started.is_set():
                await self._give_up()

    def _not_started(self, problem: Problem, **fields: str) -> ServiceNotStarted:
        return ServiceNotStarted(service=self._environment.service.title, problem=problem, wait=0, **fields)

    def _too_slow(self) -> Exception:
        where = None if self._waited is None else self._waited.__traceback__
        return TimeoutError(f"{self._hook} took longer than --service-seconds").with_traceback(where)

    async def _give_up(self) -> None:
        """End what has begun of a service that has not started."""
        assert self._life is not None
        self._life.cancel()
        await self._end({self._life}, GIVE_UP_SECONDS)
        await self._end_tasks(GIVE_UP_SECONDS)

    async def _live(self) -> None:
        """Call the hooks; what they raise after the start is logged."""
        environment = self._environment
        service, server = environment.service, environment.server
        try:
            async with AsyncExitStack() as stack:
                if service.lifespan is not None:
                    await stack.enter_async_context(service.lifespan(server))
                self._hook = "started"
                try:
                    if (running := service.started(server)) is not None:
                        await running
                except BaseException as error:
                    self._failed(error)
                    raise
                self._started.set()
                self._hook = "lifespan"
                await self._ending.wait()
                self._hook = "stopping"
                try:
                    if (running := service.stopping(server)) is not None:
                        await running
                except BaseException as error:  # its lifespan is left nonetheless
                    if self._is_given_up:
                        raise
                    self._failed(error)
                self._hook = "lifespan"
        except BaseException as error:  # noqa: BLE001 - the service's own
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        """Keep the first thing that a service raised before it had started; log what comes later."""
        if isinstance(error, asyncio.CancelledError) and self._is_given_up:
            self._waited = error
            return
        fault = as_fault(error)
        if self._started.is_set():
            self._log(fault)
        elif self._fault is None:
            self._fault = fault

    @property
    def _is_given_up(self) -> bool:
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    def _log(self, fault: Exception) -> None:
        self._environment.log.error("service-failed", hook=self._hook, exception=fault)

    # --- background tasks -------------------------------------------------------------------------------------

    def start_task(self, work: Coroutine[Any, Any, Result], *, name: str | None = None) -> asyncio.Task[Result]:
        """See `services.Server.start_task`."""
        check_argument("the coroutine of a task, as work() and not work,", work, Coroutine)
        if not self._open:
            work.close()
            raise RuntimeError("a service starts tasks from `started` or `lifespan` on until it has stopped")
        name = name or getattr(work, "__qualname__", type(work).__qualname__)
        task = asyncio.get_running_loop().create_task(_run(work), name=name)
        self._tasks.add(task)

        def ended(_: asyncio.Task[Result]) -> None:
            self._tasks.discard(task)
            work.close()  # it was never begun if it was cancelled at once
            if not task.cancelled() and (error := task.exception()) is not None:
                self._environment.log.error("task-failed", name=name, exception=error)

        task.add_done_callback(ended)
        return task

    # --- the end ----------------------------------------------------------------------------------------------

    async def stop(self, seconds: float = 0) -> int:
        """Cancel the tasks, call `stopping` and leave `lifespan`, in `seconds` or `LEAST_SECONDS`.

        It does nothing where the service has not started or has stopped.

        Returns:
            How many tasks and hooks could not be ended.
        """
        life = self._life
        if life is None or self._ending.is_set() or (life.done() and not self._tasks):
            return 0
        loop = asyncio.get_running_loop()
        until = loop.time() + max(seconds, LEAST_SECONDS)
        await self._end_tasks(max(seconds, LEAST_SECONDS) / 2)
        self._ending.set()
        await asyncio.wait({life}, timeout=until - loop.time())
        if not life.done():
            self._environment.log.error("service-too-slow", hook=self._hook)
            life.cancel()
            await self._end({life}, GIVE_UP_SECONDS)
        await self._end_tasks(GIVE_UP_SECONDS)  # those that were started meanwhile
        return len(self._tasks) + (not life.done())

    async def _end_tasks(self, seconds: float) -> None:
        for task in self._tasks:
            task.cancel()
        await self._end(set(self._tasks), seconds)

    @staticmethod
    async def _end(tasks: set[asyncio.Task[Any]], seconds: float) -> None:
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)


async def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a task of the service: each step only while this process may touch its sessions."""
    try:
        result: Result = await guarded(work)
    except (Exception, asyncio.CancelledError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit would end the server
        raise as_fault(error) from error
    return result
