"""Waiting messages: both twins go on with them, end their time and have them answered alike."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import pytest

from antiphon.server.handler.task import HandlerTask, PythonHandlerTask
from antiphon.server.handler.time_limits import TimeLimits
from antiphon.server.handler.waiting import PythonWaiting, Waiting
from antiphon.wire.times import counts_of, new_times
from support.leaks import assert_no_block_stays

TWINS = list(dict.fromkeys([(PythonHandlerTask, PythonWaiting), (HandlerTask, Waiting)]))
"""Only the Python pair if no compiler was found."""
twins = pytest.mark.parametrize("twin", TWINS)
native = pytest.mark.parametrize("twin", TWINS[1:])

Twin = tuple[type, type]


class Bench:
    """A waiting message, and what it has called."""

    def __init__(self, twin: Twin) -> None:
        self.make, waiting = twin
        self.told: list[Any] = []
        self.limits = TimeLimits(60)
        self.times = new_times([1.0])
        self.waiting: Any = waiting(self.limits, self.times, self.ended)
        self.waiting.count = lambda: self.told.append("counted")

    def ended(self, id: int, task: "asyncio.Future[Any]") -> None:
        assert self.waiting.task is None
        self.told.append((id, "cancelled" if task.cancelled() else task.exception() or task.result()))

    def answer(self, id: int, reply: object) -> bool:
        self.told.append((id, "directly", reply))
        return reply != "left"

    def first_step(self, coroutine: Any) -> tuple[Any, object]:
        task = self.make(loop=asyncio.get_running_loop())
        task.coroutine, task.variables = coroutine, copy_context()
        return task, task.variables.run(coroutine.send, None)

    async def run(self, *coroutines: Any) -> None:
        """Wait for the end of each, one after the other."""
        for id, coroutine in enumerate(coroutines, 1):
            task, waits_for = self.first_step(coroutine)
            self.waiting.wait((id, coroutine, None, (task, waits_for)), 0.5)
            assert (self.waiting.id, self.waiting.task, self.waiting.began) == (id, task, 0.5)
            assert (task.then, list(self.limits)) == (self.waiting, [task])
            if not task.done():
                await asyncio.wait([task])


async def returns(value: object) -> object:
    await asyncio.sleep(0)
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, value)
    return await future


async def fails(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


async def cancels() -> None:
    task = asyncio.current_task()
    await asyncio.sleep(0)
    task.cancel()  # type: ignore[union-attr] # there is one once it has waited
    asyncio.current_task().cancel()  # type: ignore[union-attr] # likewise


@twins
async def test_what_is_returned_is_answered_directly_if_it_can_be(twin: Twin) -> None:
    bench = Bench(twin)
    await bench.run(returns("by the session"))
    bench.waiting.answer = bench.answer
    await bench.run(returns("one"), returns("left"), returns("two"))
    first = ["counted", (1, "by the session")]
    left = ["counted", (2, "directly", "left"), (2, "left")]
    assert bench.told == [*first, "counted", (1, "directly", "one"), *left, "counted", (3, "directly", "two")]
    assert (len(bench.limits), counts_of(bench.times)) == (0, [0, 4])  # they began long ago
    assert bench.waiting.seconds == pytest.approx(bench.times[-1])


@twins
async def test_whoever_fails_or_is_cancelled_is_left_to_the_session(twin: Twin) -> None:
    bench, error = Bench(twin), ValueError("why")
    bench.waiting.answer = bench.answer
    exits = SystemExit("service")
    task, waits_for = bench.first_step(returns("never"))
    bench.waiting.wait((1, None, None, (task, waits_for)), 0.5)
    asyncio.get_running_loop().call_soon(task.cancel)
    await asyncio.wait([task])
    await bench.run(fails(error), fails(exits), fails(asyncio.CancelledError()))
    outcomes = [each for each in bench.told if each != "counted"]
    assert outcomes == [(1, "cancelled"), (1, error), (2, exits), (3, "cancelled")]
    assert len(bench.limits) == 0


@twins
async def test_whoever_answers_may_begin_with_the_next_message(twin: Twin) -> None:
    bench = Bench(twin)
    begun: list[Any] = []

    def answer(id: int, reply: object) -> bool:
        assert (bench.waiting.task, len(bench.limits)) == (None, 0)
        if id == 1:
            begun.append(bench.first_step(returns("two")))
            bench.waiting.wait((2, None, None, begun[0]), 0.5)
        return bench.answer(id, reply)

    bench.waiting.answer = answer
    task, waits_for = bench.first_step(returns("one"))
    bench.waiting.wait((1, None, None, (task, waits_for)), 0.5)
    await asyncio.wait([task])
    await asyncio.wait([begun[0][0]])
    assert bench.told == ["counted", "counted", (1, "directly", "one"), (2, "directly", "two")]


@twins
async def test_a_task_of_asyncio_has_no_time_here(twin: Twin) -> None:
    bench = Bench(twin)
    task = asyncio.create_task(returns("one"))
    task.add_done_callback(bench.waiting)
    bench.waiting.cancelled = True
    bench.waiting.begin(7, task, 0.5)
    assert (bench.waiting.id, bench.waiting.task, bench.waiting.cancelled, len(bench.limits)) == (
        7,
        task,
        False,
        0,
    )
    await task
    await asyncio.sleep(0)
    assert (bench.told, bench.waiting.task) == ([(7, "one")], None)


@twins
async def test_what_the_session_raises_leaves_the_step(twin: Twin) -> None:
    bench, reports = Bench(twin), list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context["exception"]))
    error = LookupError("session")

    def answer(id: int, reply: object) -> bool:
        raise error

    bench.waiting.answer = answer
    task, waits_for = bench.first_step(returns("one"))
    bench.waiting.wait((1, None, None, (task, waits_for)), 0.5)
    assert await task == "one"
    assert (reports, bench.waiting.task, len(bench.limits)) == ([error], None, 0)


@twins
async def test_what_cannot_be_waited_for_fails_the_handler_and_no_other(twin: Twin) -> None:
    class Odd:
        @property
        def _asyncio_future_blocking(self) -> bool:
            raise LookupError("odd")

        def __await__(self) -> Any:
            yield self

    async def awaits(what: Any) -> object:
        await asyncio.sleep(0)
        try:
            await what
        except RuntimeError as error:
            return str(error).split(" for ")[0]
        return None

    class Number:
        def __await__(self) -> Any:
            yield 5

    bench = Bench(twin)
    await bench.run(awaits(Number()))
    assert bench.told == ["counted", (1, "a handler cannot wait")]
    reports: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context["exception"]))
    task, waits_for = bench.first_step(awaits(Odd()))
    task.go_on(waits_for)
    while not reports:
        await asyncio.sleep(0)
    assert (type(reports[0]), asyncio.current_task() is task, task.done()) == (LookupError, False, False)
    task.coroutine.close()


@native
async def test_wrong_arguments_are_refused(twin: Twin) -> None:
    bench = Bench(twin)
    calls: list[Callable[[], object]] = [
        bench.waiting,
        lambda: bench.waiting.wait((1, None, None, None), 0.5),
        lambda: bench.waiting.wait(("one", None, None, (1, 2)), 0.5),
        bench.waiting.wait,
        lambda: bench.waiting.begin("one", None, 0.5),
        lambda: bench.waiting.limit(1, object(), 0.5),
        lambda: twin[1](bench.limits, [1.0], print),
        lambda: twin[1](None, bench.times, print),
    ]
    for call in calls:
        with pytest.raises((TypeError, AttributeError, BufferError)):
            call()
    assert bench.waiting.task is None


@twins
async def test_of_a_handler_that_fails_no_cycle_is_left(twin: Twin) -> None:
    class Fault(Exception):
        pass

    left: list[Any] = []

    def ended(_: int, task: "asyncio.Future[Any]") -> None:
        try:
            task.result()
        except Fault as error:
            left.append(weakref.ref(error))
            del task

    async def raises() -> None:
        await asyncio.sleep(0)
        raise Fault

    bench = Bench(twin)
    bench.waiting = twin[1](bench.limits, bench.times, ended)
    gc.collect()
    gc.disable()
    try:
        await bench.run(raises())
        await asyncio.sleep(0)
        assert [each() for each in left] == [None]
    finally:
        gc.enable()


@twins
def test_nothing_leaks_of_messages_that_have_waited(twin: Twin) -> None:
    async def begin() -> Bench:
        bench = Bench(twin)
        bench.waiting.answer = bench.answer
        return bench

    async def once(bench: Bench) -> None:
        await bench.run(returns("one"), returns("left"), fails(ValueError()), fails(asyncio.CancelledError()))
        task, waits_for = bench.first_step(returns("never"))
        task.go_on(waits_for)
        task.cancel()
        await asyncio.wait([task])
        del bench.told[:]

    with asyncio.Runner() as runner:
        bench = runner.run(begin())
        assert_no_block_stays(lambda: runner.run(once(bench)))
