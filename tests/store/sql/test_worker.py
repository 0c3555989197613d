"""A thread that does one thing after the other."""

import asyncio
import subprocess
import sys
import threading
import weakref

import pytest

from antiphon.store.sql.worker import Worker


async def test_things_are_done_in_order_in_one_thread_that_is_not_ours() -> None:
    worker = Worker("worker")
    done: list[tuple[int, threading.Thread]] = []
    await asyncio.gather(*(worker.do(lambda n=n: done.append((n, threading.current_thread()))) for n in range(9)))  # type: ignore[misc]
    assert [number for number, _ in done] == list(range(9))
    (thread,) = {thread for _, thread in done}
    assert thread is not threading.current_thread()
    assert thread.name == "worker"
    worker.stop()
    await asyncio.to_thread(thread.join)


async def test_what_comes_out_is_the_askers_result_or_error() -> None:
    worker = Worker("worker")
    assert await worker.do(lambda: "done") == "done"
    with pytest.raises(ZeroDivisionError):
        await worker.do(lambda: 1 // 0)
    assert await worker.do(lambda: "still there") == "still there"
    worker.stop()


async def test_what_has_begun_is_finished_and_what_was_given_up_before_is_not_begun() -> None:
    worker = Worker("worker")
    begun, begin, finished = threading.Event(), threading.Event(), threading.Event()
    done: list[str] = []

    def work() -> None:
        begun.set()
        begin.wait()
        finished.set()

    unwanted = worker.do(work)
    cancelled, late = worker.do(lambda: done.append("cancelled")), worker.do(lambda: done.append("late"))
    wanted = worker.do(lambda: done.append("wanted"))
    assert await asyncio.to_thread(begun.wait, 10)
    unwanted.cancel()
    cancelled.cancel()
    late.set_exception(TimeoutError())
    begin.set()
    await wanted
    assert finished.is_set()
    assert done == ["wanted"]
    with pytest.raises(TimeoutError):
        await late
    worker.stop()


class Thing:
    """Something that can be seen to go."""


async def test_nothing_of_what_was_done_is_held() -> None:
    worker = Worker("worker")
    gone = threading.Event()
    thing = await worker.do(Thing)
    weakref.finalize(thing, gone.set)
    await worker.do(lambda: None)
    del thing
    assert await asyncio.to_thread(gone.wait, 10)
    worker.stop()


def test_a_thread_that_is_stuck_does_not_keep_the_program_from_ending() -> None:
    code = (
        "import asyncio, threading\n"
        "from antiphon.store.sql.worker import Worker\n"
        "async def main():\n"
        "    Worker('worker').do(threading.Event().wait)\n"
        "asyncio.run(main())\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
