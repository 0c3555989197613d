"""Work that blocks: in time, one at a time, and never cut in the middle."""

import asyncio
import threading
import time

import pytest

from antiphon.errors import TryLater
from antiphon.store.contracts import STORE_SECONDS
from antiphon.store.files.worker import Worker


async def test_what_is_frozen_is_try_later_in_time_and_goes_on_when_it_thaws() -> None:
    worker, thaw, done = Worker(), threading.Event(), list[int]()

    def frozen() -> None:
        thaw.wait()
        done.append(0)

    began = time.monotonic()
    try:
        calls = [worker.run(frozen), *(worker.run(lambda: done.append(1)) for _ in range(3))]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - began < STORE_SECONDS
        assert {type(outcome) for outcome in outcomes} == {TryLater}
        assert done == []
    finally:
        thaw.set()
    await worker.run(lambda: done.append(2))
    assert done == [0, 2]  # what had begun is done, what was given up is not


async def test_one_piece_of_work_at_a_time() -> None:
    worker, running = Worker(), threading.Lock()

    def work() -> None:
        assert running.acquire(blocking=False)
        running.release()

    await asyncio.gather(*(worker.run(work) for _ in range(50)))


async def test_what_work_raises_comes_out_and_the_next_has_its_turn() -> None:
    worker = Worker()
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0)
    assert await worker.run(lambda: 1) == 1


async def test_work_that_nobody_waits_for_any_more_is_finished() -> None:
    worker, begun, thaw, done = Worker(), asyncio.Event(), threading.Event(), list[int]()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        thaw.wait()
        done.append(1)

    asked = asyncio.create_task(worker.run(work))
    await begun.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    thaw.set()
    await worker.rest()
    assert done == [1]
