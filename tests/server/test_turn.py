"""A handler's coroutine that takes its first step at once: it cannot tell that from a task of its own."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from antiphon.server.turn import Suspended, step

Handler = Callable[[], Coroutine[Any, Any, object]]


async def driven(handler: Handler) -> object:
    """Take the first step outside of any task, as when bytes have come, and go on in one."""
    loop = asyncio.get_running_loop()
    first: asyncio.Future[Any] = loop.create_future()

    def begin() -> None:
        assert asyncio.current_task() is None
        try:
            first.set_result(step(handler()))
        except Exception as error:  # noqa: BLE001 - it is told below
            first.set_exception(error)
        assert asyncio.current_task() is None

    loop.call_soon(begin)
    result = await first
    if isinstance(result, Suspended):
        return await asyncio.create_task(_awaited(result))
    return result


async def _awaited(suspended: Suspended) -> object:
    task = asyncio.current_task()
    try:
        return await suspended
    finally:
        assert asyncio.current_task() is task


async def test_what_waits_for_nothing_is_done_at_once() -> None:
    async def handler() -> str:
        return "done"

    assert step(handler()) == "done"


async def test_what_it_raises_at_once_comes_out() -> None:
    async def handler() -> str:
        raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        await driven(handler)


async def test_what_waits_goes_on_with_what_it_waited_for() -> None:
    async def handler() -> list[object]:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, "one")
        failed = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(failed.set_exception, ValueError("two"))
        told: list[object] = [await future, await asyncio.sleep(0, "nothing")]
        with pytest.raises(ValueError, match="two"):
            await failed
        return told

    assert await driven(handler) == ["one", "nothing"]


async def test_it_is_one_task_from_its_first_step_to_its_last() -> None:
    async def handler() -> list[object]:
        tasks = [asyncio.current_task()]
        for _ in range(3):
            await asyncio.sleep(0)
            tasks.append(asyncio.current_task())
        return list(tasks)

    tasks = await driven(handler)
    assert isinstance(tasks, list)
    assert len(set(map(id, tasks))) == 1
    assert tasks[0] is not None


async def test_a_time_limit_of_its_own_holds() -> None:
    async def handler() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            await asyncio.sleep(0)
            return "too late"
        return "never"

    assert await driven(handler) == "too late"


async def test_a_time_limit_that_is_not_reached_does_nothing() -> None:
    async def handler() -> str:
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
        return await asyncio.wait_for(asyncio.sleep(0, "in time"), 60)

    assert await driven(handler) == "in time"


async def test_a_group_of_tasks_fails_together() -> None:
    async def fails() -> None:
        raise ValueError("one of them")

    async def handler() -> str:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.Event().wait())
                group.create_task(fails())
        except ExceptionGroup as error:
            return str(error.exceptions[0])
        return "never"

    assert await driven(handler) == "one of them"


async def test_it_can_cancel_itself_in_its_first_step() -> None:
    async def handler() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        assert task.cancelling() == 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            task.uncancel()
            return "cancelled"
        return "never"

    assert await driven(handler) == "cancelled"


async def test_whoever_cancels_what_drives_it_cancels_it() -> None:
    cleaned = asyncio.Event()
    begun = asyncio.Event()

    async def handler() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    task = asyncio.create_task(driven_alone(handler))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned.is_set()


async def driven_alone(handler: Handler) -> object:
    return await step(handler())


async def test_a_variable_of_the_context_is_kept_over_the_steps() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="none")

    async def handler() -> str:
        variable.set("kept")
        await asyncio.sleep(0)
        return variable.get()

    suspended = step(handler())
    assert await asyncio.create_task(_awaited(suspended)) == "kept"


async def test_inside_another_task_that_one_is_the_current_one_again() -> None:
    outer = asyncio.current_task()

    async def handler() -> bool:
        return asyncio.current_task() is not outer

    assert step(handler()) is True
    assert asyncio.current_task() is outer
