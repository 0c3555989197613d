"""Lifecycle of a service: `lifespan`, `started` and `stopping` around everything else, and background tasks."""

import asyncio
import contextlib
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

import pytest

from antiphon import service
from antiphon.errors import ServiceInvalid, ServiceNotStarted
from antiphon.server.handler import service_lifecycle
from antiphon.server.handler.environment import HandlerEnvironment
from antiphon.server.handler.service_lifecycle import ServiceLifecycle
from antiphon.server.tasks import BackgroundTasks
from antiphon.services import Lifespan, ServiceServer, as_service, echo
from support.auth import RecordingLog
from support.virtual_time import run_virtually

SERVICE_SECONDS = 60.0
ABSENT: Any = None
"""Topics: no hook here uses them."""


class Bench:
    """The lifecycle of a handler, and what stands for its server."""

    def __init__(self, handler: Any, lifespan: Lifespan | None = None) -> None:
        self.log = RecordingLog()
        self.state: Any = None
        self.lifecycle = ServiceLifecycle(
            HandlerEnvironment(
                service=as_service(handler, lifespan),
                seconds=SERVICE_SECONDS,
                message_limit=1024,
                log=self.log,
                tasks=BackgroundTasks(),
                topics=ABSENT,
                server=cast("Any", self),
            )
        )
        self.start, self.stop, self.start_task = (
            self.lifecycle.start, self.lifecycle.stop, self.lifecycle.start_task,
        )  # fmt: skip

    def logged(self) -> list[tuple[str, Any, str]]:
        """Return event, hook or name, and exception of each record."""
        return [
            (each.event, each.fields.get("hook", each.fields.get("name")), repr(each.fields.get("exception")))
            for each in self.log.records
        ]


class Desk:
    """An object with both hooks, plain or async, which write down when they ran."""

    def __init__(self, *, later: bool = False, started: Any = None, stopping: Any = None) -> None:
        self.seen: list[str] = []
        self._later = later
        self._raised = {"started": started, "stopping": stopping}

    def received(self, message: str) -> str:
        return message

    def started(self, server: ServiceServer) -> Any:
        server.state = "open"
        return self._hook("started")

    def stopping(self, server: ServiceServer) -> Any:
        assert server.state == "open"
        return self._hook("stopping")

    def _hook(self, name: str) -> Any:
        if self._later:
            return self._run(name)
        self._note(name)
        return None

    async def _run(self, name: str) -> None:
        await asyncio.sleep(0)
        self._note(name)

    def _note(self, name: str) -> None:
        self.seen.append(name)
        if self._raised[name] is not None:
            raise self._raised[name]

    @asynccontextmanager
    async def around(self, _: ServiceServer) -> AsyncIterator[None]:
        self.seen.append("entered")
        task = asyncio.current_task()
        try:
            yield
        finally:
            assert asyncio.current_task() is task, "a task group could not be left here"
            self.seen.append("left")


@pytest.mark.parametrize("later", [False, True])
async def test_a_service_starts_and_stops_once_and_its_lifespan_is_around_both(later: bool) -> None:
    desk = Desk(later=later)
    bench = Bench(desk, desk.around)
    await bench.start()
    assert desk.seen == ["entered", "started"]
    await asyncio.create_task(stopped(bench))  # another task than the one that has started it
    await bench.stop()
    assert desk.seen == ["entered", "started", "stopping", "left"]
    assert bench.logged() == []


async def stopped(bench: Bench) -> None:
    assert await bench.stop() == 0


@pytest.mark.parametrize("fault", [OSError("no database"), SystemExit(3), asyncio.CancelledError()])
@pytest.mark.parametrize("later", [False, True])
async def test_a_service_that_cannot_start_says_why_and_its_lifespan_is_left(
    fault: BaseException, later: bool
) -> None:
    desk = Desk(started=fault, later=later)
    bench = Bench(desk, desk.around)
    with pytest.raises(ServiceNotStarted) as refused:
        await bench.start()
    assert desk.seen == ["entered", "started", "left"]
    ((event, hook, told),) = bench.logged()
    assert (event, hook) == ("service-failed", "started")
    sentence = str(refused.value)
    assert sentence.startswith("“Desk” could not start: ")
    assert f"({__file__}, line " in sentence
    if isinstance(fault, OSError):
        assert "OSError: no database" in sentence
        assert refused.value.__cause__ is fault
        assert told == repr(fault)
    await bench.stop()
    assert desk.seen[2:] == ["left"]


async def test_a_lifespan_that_raises_stops_the_start() -> None:
    @asynccontextmanager
    async def lifespan(_: ServiceServer) -> AsyncIterator[None]:
        raise OSError("no instrument")
        yield

    with pytest.raises(ServiceNotStarted, match="OSError: no instrument"):
        await Bench(echo, lifespan).start()


def test_a_service_that_never_starts_is_given_up() -> None:
    ended = []

    class Slow(Desk):
        async def started(self, server: ServiceServer) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

    async def work() -> None:
        desk = Slow()
        bench = Bench(desk, desk.around)
        began = asyncio.get_running_loop().time()
        with pytest.raises(ServiceNotStarted, match="“started” took longer than --service-seconds"):
            await bench.start()
        assert asyncio.get_running_loop().time() - began == pytest.approx(SERVICE_SECONDS)
        assert ended == [True]
        assert desk.seen == ["entered", "left"]
        (record,) = bench.log.records
        assert (record.event, record.fields["hook"]) == ("service-failed", "started")
        trace = "".join(traceback.format_exception(cast("Any", record.fields["exception"])))
        assert "await asyncio.Event().wait()" in trace, "the sentence says that the log has it"
        assert trace.endswith("TimeoutError: started took longer than --service-seconds\n")

    run_virtually(work())


@pytest.mark.parametrize("fault", [OSError("disk full"), SystemExit(3), asyncio.CancelledError()])
async def test_what_stopping_raises_is_logged_and_the_lifespan_is_left_in_order(fault: BaseException) -> None:
    left = []

    @asynccontextmanager
    async def lifespan(_: ServiceServer) -> AsyncIterator[None]:
        yield
        left.append(True)

    bench = Bench(Desk(stopping=fault), lifespan)
    await bench.start()
    assert await bench.stop() == 0
    assert left == [True]
    ((event, hook, _),) = bench.logged()
    assert (event, hook) == ("service-failed", "stopping")


async def test_what_a_lifespan_raises_at_its_end_is_logged() -> None:
    @asynccontextmanager
    async def lifespan(_: ServiceServer) -> AsyncIterator[None]:
        yield
        raise OSError("disk full")

    bench = Bench(echo, lifespan)
    await bench.start()
    await bench.stop()
    assert bench.logged() == [("service-failed", "lifespan", repr(OSError("disk full")))]


async def test_a_task_group_in_a_lifespan_that_fails_is_logged() -> None:
    @asynccontextmanager
    async def lifespan(_: ServiceServer) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            yield

    bench = Bench(echo, lifespan)
    await bench.start()
    while not bench.logged():
        await asyncio.sleep(0)
    assert await bench.stop() == 0
    ((event, hook, told),) = bench.logged()
    assert (event, hook) == ("service-failed", "lifespan")
    assert "boiler" in told


def test_a_service_that_does_not_stop_is_given_up_when_the_drain_time_is_over() -> None:
    class Stubborn(Desk):
        async def stopping(self, server: ServiceServer) -> None:
            self.seen.append("stopping")
            await asyncio.Event().wait()

    async def work(seconds: float, most: float) -> None:
        desk = Stubborn()
        bench = Bench(desk, desk.around)
        await bench.start()
        began = asyncio.get_running_loop().time()
        assert await bench.stop(seconds) == 0
        assert asyncio.get_running_loop().time() - began == pytest.approx(most)
        assert desk.seen == ["entered", "started", "stopping", "left"]
        assert bench.logged() == [("service-too-slow", "stopping", "None")]

    run_virtually(work(8, 8))
    run_virtually(work(-3, service_lifecycle.LEAST_SECONDS))


def test_a_service_that_was_given_up_is_not_stopped_again() -> None:
    class Stubborn(Desk):
        async def stopping(self, server: ServiceServer) -> None:
            while not ends.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await ends.wait()

    async def work() -> None:
        bench = Bench(Stubborn())
        await bench.start()
        assert await bench.stop(3) == 1
        began = asyncio.get_running_loop().time()
        assert await bench.stop() == 0
        assert asyncio.get_running_loop().time() == began
        assert bench.logged() == [("service-too-slow", "stopping", "None")]
        ends.set()

    ends = asyncio.Event()
    run_virtually(work())


# --- background tasks ---------------------------------------------------------------------------------------


async def fail() -> None:
    raise OSError("the boiler is cold")


async def test_a_task_ends_before_the_service_stops() -> None:
    seen: list[str] = []

    async def tick() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            seen.append("task ended")

    class Clock(Desk):
        def started(self, server: ServiceServer) -> None:
            server.state = "open"
            self.task = server.start_task(tick(), name="clock")

        def stopping(self, server: ServiceServer) -> None:
            seen.append("stopping")

    clock = Clock()
    bench = Bench(clock)
    await bench.start()
    assert clock.task.get_name() == "clock"
    await asyncio.sleep(0)
    assert await bench.stop() == 0
    assert clock.task.cancelled()
    assert seen == ["task ended", "stopping"]
    assert bench.logged() == []


async def test_a_task_that_fails_is_logged_by_its_name_and_gives_its_error_to_who_awaits_it() -> None:
    bench = Bench(echo)
    await bench.start()
    named, unnamed = bench.start_task(fail(), name="boiler"), bench.start_task(fail())
    with pytest.raises(OSError, match="boiler"):
        await named
    await asyncio.wait({unnamed})

    async def end_the_program() -> None:
        sys.exit(3)

    ending = bench.start_task(end_the_program(), name="exit")
    with pytest.raises(RuntimeError, match="SystemExit"):
        await ending
    assert await bench.start_task(asyncio.sleep(0, "done")) == "done"
    assert [(event, name) for event, name, _ in bench.logged()] == [
        ("task-failed", "boiler"), ("task-failed", "fail"), ("task-failed", "exit"),
    ]  # fmt: skip
    await bench.stop()


async def test_a_task_that_was_never_begun_leaves_no_warning() -> None:
    bench = Bench(echo)
    await bench.start()
    task = bench.start_task(fail())
    task.cancel()
    await asyncio.wait({task})
    await bench.stop()
    assert bench.logged() == []


async def test_a_task_that_is_started_by_stopping_is_ended_too() -> None:
    class Late(Desk):
        def stopping(self, server: ServiceServer) -> None:
            self.task = server.start_task(asyncio.Event().wait())

    late = Late()
    bench = Bench(late)
    await bench.start()
    assert await bench.stop() == 0
    assert late.task.cancelled()


async def test_tasks_are_started_only_while_the_service_runs() -> None:
    bench = Bench(echo)
    with pytest.raises(RuntimeError, match="from `started`"):
        bench.start_task(fail())
    await bench.start()
    await bench.stop()
    with pytest.raises(RuntimeError, match="from `started`"):
        bench.start_task(fail())


def test_a_task_that_does_not_end_is_counted_and_the_service_still_stops() -> None:
    async def work() -> None:
        over = asyncio.Event()

        async def deaf() -> None:
            while not over.is_set():
                try:
                    await over.wait()
                except asyncio.CancelledError:
                    continue

        desk = Desk()
        bench = Bench(desk)
        await bench.start()
        task = bench.start_task(deaf())
        await asyncio.sleep(0)
        assert await bench.stop(8) == 1
        assert desk.seen == ["started", "stopping"]
        over.set()
        await task

    run_virtually(work())


# --- what is given to a function ----------------------------------------------------------------------------


@asynccontextmanager
async def nothing(_: ServiceServer) -> AsyncIterator[None]:
    yield


def other(server: ServiceServer) -> AbstractAsyncContextManager[None]:
    return nothing(server)


def test_a_function_has_the_lifespan_of_its_decorator_unless_another_is_given() -> None:
    @service(lifespan=nothing)
    def answer(message: str) -> str:
        return message.upper()

    assert answer("a") == "A"
    assert as_service(answer).lifespan is nothing
    assert as_service(answer, other).lifespan is other
    assert as_service(echo).lifespan is None


async def raw(_: ServiceServer) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize("lifespan", [raw, lambda: None, "lifespan", asyncio.sleep])
def test_a_lifespan_that_is_none_is_refused(lifespan: Any) -> None:
    with pytest.raises(ServiceInvalid, match="its “lifespan” is not a function of the server"):
        as_service(lambda message: message, lifespan)


@pytest.mark.parametrize("hook", ["started", "stopping"])
@pytest.mark.parametrize("value", [5, lambda: None, lambda one, two: None])
def test_a_hook_that_does_not_take_the_server_is_refused(hook: str, value: Any) -> None:
    desk = Desk()
    setattr(desk, hook, value)
    with pytest.raises(ServiceInvalid, match=f"its “{hook}” is not a function that takes the server"):
        as_service(desk)
