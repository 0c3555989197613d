"""Tests of the fence: a process that has not run for a while touches nothing before it has read its claims."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Iterator

import pytest

from antiphon.server.handler.guard import in_time
from antiphon.server.handler.task import HandlerTask, start
from antiphon.server.home.fence import Fence, guarded
from antiphon.server.home.fence import fence as the_fence
from antiphon.transport.endpoint import FROZEN_SECONDS


class Home:
    """A home that recovers when the test says so."""

    def __init__(self) -> None:
        self.recoveries = 0

    def recover(self) -> None:
        self.recoveries += 1


def freeze(fence: Fence, seconds: float = FROZEN_SECONDS + 0.1) -> None:
    """Make it look as if the process had not run for a while."""
    memoryview(fence.state).cast("d")[0] -= seconds


@pytest.fixture
async def home() -> Home:
    return Home()


@pytest.fixture
def fenced() -> Iterator[Fence]:
    """The fence of this process, with a home of the test's."""
    yield the_fence
    assert the_fence.check(), "a test has left it closed"


async def test_without_a_home_nothing_is_fenced() -> None:
    fence = Fence()
    freeze(fence)
    assert fence.check()


async def test_after_a_gap_it_is_closed_until_its_home_has_recovered(home: Home) -> None:
    fence = Fence()
    fence.join(home.recover)
    assert fence.check()
    freeze(fence)
    assert not fence.check()
    assert not fence.check(), "it stays closed although the process runs again"
    await asyncio.sleep(0)
    assert home.recoveries == 1
    assert fence.recovered(home.recover, fence.closings)
    assert fence.check()


async def test_a_shorter_gap_closes_nothing(home: Home) -> None:
    fence = Fence()
    fence.join(home.recover)
    freeze(fence, FROZEN_SECONDS / 2)
    assert fence.check()
    assert home.recoveries == 0


async def test_it_opens_when_the_last_home_has_recovered(home: Home) -> None:
    fence, other = Fence(), Home()
    fence.join(home.recover)
    fence.join(other.recover)
    fence.close()
    fence.recovered(home.recover, fence.closings)
    assert not fence.check()
    fence.recovered(other.recover, fence.closings)
    assert fence.check()


async def test_a_home_that_leaves_keeps_nobody_out(home: Home) -> None:
    fence, other = Fence(), Home()
    fence.join(home.recover)
    fence.join(other.recover)
    fence.close()
    fence.leave(home.recover)
    fence.recovered(other.recover, fence.closings)
    assert fence.check()


async def test_claims_that_were_read_before_another_freeze_do_not_count(home: Home) -> None:
    fence = Fence()
    fence.join(home.recover)
    fence.close()
    before = fence.closings
    freeze(fence)
    assert not fence.recovered(home.recover, before)
    assert not fence.check()
    assert fence.recovered(home.recover, fence.closings)
    assert fence.check()


async def test_another_thread_may_find_the_gap_first(home: Home) -> None:
    fence = Fence()
    fence.join(home.recover)
    freeze(fence)
    thread = threading.Thread(target=fence.check)
    thread.start()
    thread.join()
    assert not fence.check(), "that thread has looked at the clock since"
    await asyncio.sleep(0)
    assert home.recoveries == 1


async def test_who_waits_goes_on_once_it_is_open(home: Home) -> None:
    fence, went_on = Fence(), []
    fence.join(home.recover)
    fence.wait(lambda: went_on.append("at once"))
    fence.close()
    fence.wait(lambda: went_on.append("later"))
    opened = fence.opened()
    await asyncio.sleep(0)
    assert went_on == ["at once"]
    assert not opened.done()
    fence.recovered(home.recover, fence.closings)
    await opened
    assert went_on == ["at once", "later"]


async def test_a_step_of_a_handler_is_taken_only_while_it_is_open(home: Home, fenced: Fence) -> None:
    steps: list[str] = []

    async def handler() -> str:
        steps.append("one")
        await asyncio.sleep(0.01)
        steps.append("two")
        return "done"

    fenced.join(home.recover)
    try:
        task = start(handler(), contextvars.copy_context())
        assert isinstance(task, HandlerTask)
        freeze(fenced)
        await asyncio.sleep(0.05)
        assert steps == ["one"]
        fenced.recovered(home.recover, fenced.closings)
        assert await task == "done"
        assert steps == ["one", "two"]
    finally:
        fenced.leave(home.recover)


async def test_a_handler_that_is_cancelled_behind_it_takes_no_further_step(home: Home, fenced: Fence) -> None:
    steps: list[str] = []

    async def handler() -> None:
        await asyncio.sleep(0.01)
        steps.append("two")

    fenced.join(home.recover)
    try:
        task = start(handler(), contextvars.copy_context())
        freeze(fenced)
        await asyncio.sleep(0.05)
        task.cancel()
        fenced.recovered(home.recover, fenced.closings)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert steps == []
    finally:
        fenced.leave(home.recover)


async def test_the_steps_of_a_stream_and_of_hooks_are_guarded_too(home: Home, fenced: Fence) -> None:
    steps: list[str] = []

    async def work() -> str:
        steps.append("one")
        await asyncio.sleep(0.01)
        steps.append("two")
        return "done"

    fenced.join(home.recover)
    try:
        running = asyncio.create_task(in_time(work(), 10))
        await asyncio.sleep(0)
        assert steps == ["one"]
        freeze(fenced)
        await asyncio.sleep(0.05)
        assert steps == ["one"]
        fenced.recovered(home.recover, fenced.closings)
        assert await running == "done"
    finally:
        fenced.leave(home.recover)


async def test_guarded_work_behaves_as_if_it_were_awaited() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("cancelled")

    seen: list[str] = []
    with pytest.raises(ZeroDivisionError):
        await guarded(fails())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await guarded(waits())
    assert seen == ["cancelled"]


async def test_the_clock_of_the_fence_is_the_monotonic_one(home: Home) -> None:
    fence = Fence()
    fence.join(home.recover)
    assert abs(memoryview(fence.state).cast("d")[0] - time.monotonic()) < 60
