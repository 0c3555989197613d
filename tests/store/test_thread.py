"""A thread that does one job after the other: in time, and never cut in the middle."""

import asyncio
import subprocess
import sys
import threading
import time
import weakref
from functools import partial

import pytest

from antiphon.errors import TryLater
from antiphon.store.contracts import STORE_SECONDS
from antiphon.store.thread import StoreThread


async def test_things_are_done_in_order_in_one_thread_that_is_not_ours() -> None:
    store_thread = StoreThread("worker")
    done: list[tuple[int, threading.Thread]] = []

    def note(number: int) -> None:
        done.append((number, threading.current_thread()))

    await asyncio.gather(*(store_thread.do(partial(note, number)) for number in range(9)))
    assert [number for number, _ in done] == list(range(9))
    (thread,) = {thread for _, thread in done}
    assert thread is not threading.current_thread()
    assert thread.name == "worker"
    await store_thread.close()
    await asyncio.to_thread(thread.join)


async def test_what_comes_out_is_the_askers_result_or_error() -> None:
    store_thread = StoreThread("worker")
    assert await store_thread.do(lambda: "done") == "done"
    with pytest.raises(ZeroDivisionError):
        await store_thread.do(lambda: 1 // 0)
    assert await store_thread.do(lambda: "still there") == "still there"
    await store_thread.close()


async def test_what_has_begun_is_finished_and_what_was_given_up_before_is_not_begun() -> None:
    store_thread = StoreThread("worker")
    begun, begin, finished = threading.Event(), threading.Event(), threading.Event()
    done: list[str] = []

    def work() -> None:
        begun.set()
        begin.wait()
        finished.set()

    unwanted = store_thread.do(work)
    cancelled, late = (
        store_thread.do(lambda: done.append("cancelled")),
        store_thread.do(lambda: done.append("late")),
    )
    wanted = store_thread.do(lambda: done.append("wanted"))
    assert await asyncio.to_thread(begun.wait, 60)
    unwanted.cancel()
    cancelled.cancel()
    late.set_exception(TimeoutError())
    begin.set()
    await wanted
    assert finished.is_set()
    assert done == ["wanted"]
    with pytest.raises(TimeoutError):
        await late
    await store_thread.close()


class Thing:
    """Something that can be seen to go."""


async def test_nothing_of_what_was_done_is_held() -> None:
    store_thread = StoreThread("worker")
    gone = threading.Event()
    thing = await store_thread.do(Thing)
    weakref.finalize(thing, gone.set)
    await store_thread.do(lambda: None)
    del thing
    assert await asyncio.to_thread(gone.wait, 60)
    await store_thread.close()


def test_a_thread_that_is_stuck_does_not_keep_the_program_from_ending() -> None:
    code = (
        "import asyncio, threading\n"
        "from antiphon.store.thread import StoreThread\n"
        "async def main():\n"
        "    StoreThread('worker').do(threading.Event().wait)\n"
        "asyncio.run(main())\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


# --- answered in time ---------------------------------------------------------------------------------------


async def test_what_is_frozen_is_try_later_in_time_and_goes_on_when_it_thaws() -> None:
    store_thread, thaw, done = StoreThread("worker"), threading.Event(), list[int]()

    def frozen() -> None:
        thaw.wait()
        done.append(0)

    began = time.monotonic()
    try:
        calls = [store_thread.run(frozen), *(store_thread.run(lambda: done.append(1)) for _ in range(3))]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - began < 3 * STORE_SECONDS  # on a busy machine
        assert {type(outcome) for outcome in outcomes} == {TryLater}
        assert done == []
    finally:
        thaw.set()
    await store_thread.run(lambda: done.append(2))
    assert done == [0, 2]  # what had begun is done, what was given up is not
    await store_thread.close()


async def test_one_piece_of_work_at_a_time() -> None:
    store_thread, running = StoreThread("worker"), threading.Lock()

    def work() -> None:
        assert running.acquire(blocking=False)
        running.release()

    await asyncio.gather(*(store_thread.run(work) for _ in range(50)))
    await store_thread.close()


async def test_what_work_raises_comes_out_and_the_next_has_its_turn() -> None:
    store_thread = StoreThread("worker")
    with pytest.raises(ZeroDivisionError):
        await store_thread.run(lambda: 1 // 0)
    assert await store_thread.run(lambda: 1) == 1
    await store_thread.close()


async def test_closing_waits_for_work_that_nobody_waits_for_any_more() -> None:
    store_thread, begun, thaw = StoreThread("worker"), asyncio.Event(), threading.Event()
    loop, done = asyncio.get_running_loop(), list[str]()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        thaw.wait()
        done.append("work")

    asked = asyncio.create_task(store_thread.run(work))
    await begun.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    thaw.set()
    await store_thread.close(lambda: done.append("last"))
    assert done == ["work", "last"]


async def test_a_closed_thread_says_try_later_and_can_be_closed_again() -> None:
    store_thread, closed = StoreThread("worker"), list[int]()
    for number in range(2):
        await store_thread.close(lambda number=number: closed.append(number))  # type: ignore[misc]
    with pytest.raises(TryLater):
        await store_thread.run(lambda: None)
    assert closed == [0]
