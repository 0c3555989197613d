"""Handler tasks do what asyncio's tasks do: random programs cannot tell which of the two they are in."""

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.server.handler.task import HandlerTask, PythonHandlerTask, stepping

FUTURES = 3
PATIENCE = 40
"""Steps of the loop after which all that a program can wait for is there, and it is cancelled again and again."""

Program = list[tuple[Any, ...]]
Events = list[tuple[int, str, Any]]

_leaves = st.one_of(
    st.tuples(st.sampled_from(["sleep", "cancel", "uncancel", "raise", "misuse", "itself"])),
    st.tuples(st.just("wait"), st.integers(0, FUTURES - 1)),
)
_programs = st.recursive(
    st.lists(_leaves, max_size=4),
    lambda programs: st.lists(
        st.one_of(
            _leaves,
            st.tuples(st.just("catch"), programs, programs),
            st.tuples(st.just("finally"), programs, programs),
            st.tuples(st.sampled_from(["timeout", "wait for"]), st.sampled_from([0, 60]), programs),
            st.tuples(st.sampled_from(["group", "gather"]), programs, programs),
            st.tuples(st.just("shield"), programs),
        ),
        max_size=4,
    ),
    max_leaves=12,
)
_happenings = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from(["cancel", "set", "fail", "cancel what it waits for"]),
        st.integers(0, FUTURES - 1),
    ),
    max_size=5,
)


class Misused:
    """Yields what nobody can wait for."""

    def __await__(self) -> Any:
        yield self


class Run:
    """One program, run in one kind of task, with all that happens to it and what it has seen."""

    def __init__(self, program: Program, happenings: list[tuple[int, str, int]]) -> None:
        self.program = program
        self.happenings = happenings
        self.now = 0
        self.events: Events = []
        self.task: Any = None

    async def main(self, begin: Callable[["Run"], Any]) -> Events:
        loop = asyncio.get_running_loop()
        self.futures = [loop.create_future() for _ in range(FUTURES)]
        ended = loop.create_future()
        loop.call_soon(self.begin, begin)
        for _ in range(2):
            await asyncio.sleep(0)
        loop.call_soon(self.pass_by, ended)
        await ended
        try:
            self.note("returned", self.task.result())
        except BaseException as error:  # noqa: BLE001 - that is what is compared
            self.note("raised", repr(error) if isinstance(error, asyncio.CancelledError) else type(error))
        events = list(self.events)
        left = [*(asyncio.all_tasks() - {asyncio.current_task()}), *self.futures]
        while any(not future.done() for future in left):
            for future in left:
                future.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*left, return_exceptions=True)
        return events

    def begin(self, begin: Callable[["Run"], Any]) -> None:
        self.task = begin(self)

    def pass_by(self, ended: asyncio.Future[None]) -> None:
        """Be called in each step of the loop, and do what is to happen in it."""
        self.now += 1
        for at, what, which in self.happenings:
            if at == self.now:
                self.happen(what, which)
        if self.now >= PATIENCE:
            for which in range(FUTURES):
                self.happen("set", which)
            self.task.cancel("out of patience")
        if self.task.done():
            ended.set_result(None)
        else:
            asyncio.get_running_loop().call_soon(self.pass_by, ended)

    def happen(self, what: str, which: int) -> None:
        future = self.futures[which]
        if what == "cancel":
            self.note("asked", self.task.cancel(f"at {self.now}"))
        elif future.done():
            pass
        elif what == "set":
            future.set_result(which)
        elif what == "fail":
            future.set_exception(ValueError(which))
        else:
            future.cancel()

    def note(self, what: str, value: object = None) -> None:
        self.events.append((self.now, what, value))

    async def whole(self) -> str:
        """Run the program, and wait once more: only then a task hears of what it has asked of itself."""
        await self.run(self.program)
        await asyncio.sleep(0)
        return "done"

    async def run(self, program: Program) -> None:
        for what, *arguments in program:
            task: Any = asyncio.current_task()
            self.note(what, (task is self.task, task.cancelling()))
            await getattr(self, "on_" + what.replace(" ", "_"))(*arguments)
            assert asyncio.current_task() is task

    async def on_sleep(self) -> None:
        await asyncio.sleep(0)

    async def on_wait(self, which: int) -> None:
        self.note("got", await self.futures[which])

    async def on_cancel(self) -> None:
        task: Any = asyncio.current_task()
        self.note("cancelled", task.cancel("by itself"))

    async def on_uncancel(self) -> None:
        task: Any = asyncio.current_task()
        self.note("left", task.uncancel())

    async def on_raise(self) -> None:
        raise KeyError

    async def on_itself(self) -> None:
        task: Any = asyncio.current_task()
        await task

    async def on_misuse(self) -> None:
        await Misused()

    async def on_catch(self, tried: Program, caught: Program) -> None:
        try:
            await self.run(tried)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a random program may raise anything
            self.note("caught", (type(error), error.args if isinstance(error, asyncio.CancelledError) else ()))
            await self.run(caught)

    async def on_finally(self, tried: Program, last: Program) -> None:
        try:
            await self.run(tried)
        finally:
            await self.run(last)

    async def on_timeout(self, seconds: int, program: Program) -> None:
        async with asyncio.timeout(seconds) as limit:
            await self.run(program)
        self.note("expired", limit.expired())

    async def on_wait_for(self, seconds: int, program: Program) -> None:
        await asyncio.wait_for(self.run(program), seconds)

    async def on_group(self, *programs: Program) -> None:
        async with asyncio.TaskGroup() as group:
            for program in programs:
                group.create_task(self.run(program))
            await self.run(programs[0])

    async def on_gather(self, *programs: Program) -> None:
        self.note("gathered", await asyncio.gather(*map(self.run, programs)))

    async def on_shield(self, program: Program) -> None:
        await asyncio.shield(self.run(program))


def as_task(run: Run) -> object:
    return asyncio.get_running_loop().create_task(run.whole())


def as_handler_task(run: Run, twin: type[PythonHandlerTask]) -> object:
    loop = asyncio.get_running_loop()
    task = twin(loop=loop)
    _, begin_step, end_step, _, _ = stepping(copy_context())
    coroutine = run.whole()
    task.coroutine, task.variables = coroutine, copy_context()

    def first_step() -> None:  # as late as that of a task
        begin_step(loop, task)
        try:
            waits_for = task.variables.run(coroutine.send, None)
        except KeyError as error:
            task.raised(error)
        else:
            task.go_on(waits_for)
        finally:
            end_step(loop, task)

    loop.call_soon(first_step)
    return task


@settings(max_examples=200)
@given(program=_programs, happenings=_happenings)
def test_a_program_sees_the_same_in_a_handler_task_as_in_a_task(
    program: Program, happenings: list[tuple[int, str, int]]
) -> None:
    in_task = asyncio.run(Run(program, happenings).main(as_task))
    for twin in dict.fromkeys([PythonHandlerTask, HandlerTask]):  # the same if no compiler was found
        begin = partial(as_handler_task, twin=twin)
        assert asyncio.run(Run(program, happenings).main(begin)) == in_task
