"""Background tasks: held while they run, and no longer."""

import asyncio

from antiphon.server.tasks import BackgroundTasks


async def test_a_task_is_held_until_it_is_done_whatever_its_end() -> None:
    tasks, over = BackgroundTasks(), asyncio.Event()

    async def work(*, fails: bool) -> None:
        await over.wait()
        if fails:
            raise RuntimeError("a fault")

    started = [tasks.start(work(fails=fails)) for fails in (False, True)]
    started.append(tasks.start(work(fails=False)))
    started[2].cancel()
    assert len(tasks) == 3
    assert set(tasks) == set(started)
    over.set()
    outcomes = await asyncio.gather(*started, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), RuntimeError, asyncio.CancelledError]
    assert len(tasks) == 0
    assert list(tasks) == []


async def test_a_task_that_ends_may_start_another_one_meanwhile() -> None:
    tasks = BackgroundTasks()

    async def first() -> None:
        tasks.start(asyncio.sleep(0))

    tasks.start(first())
    while tasks:
        for task in tasks:
            await task
    assert not tasks
