"""A handler's coroutine that takes its first step at once: it cannot tell that from a task of its own."""

import asyncio
import io
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any

import pytest

from antiphon import Server, connect
from antiphon.server.handler import task as module
from antiphon.server.handler.task import HandlerTask, PythonHandlerTask, start

Handler = Callable[[], Coroutine[Any, Any, object]]
TWINS = list(dict.fromkeys([PythonHandlerTask, HandlerTask]))
"""Only the Python twin if no compiler was found."""


@pytest.fixture(params=TWINS, autouse=True)
def twin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take all steps with one of the twins."""
    monkeypatch.setattr(module, "HandlerTask", request.param)


async def driven(handler: Handler) -> object:
    """Take the first step outside of any task, as when bytes have come, and wait for the last."""
    loop = asyncio.get_running_loop()
    first: asyncio.Future[Any] = loop.create_future()

    def begin() -> None:
        assert asyncio.current_task() is None
        try:
            first.set_result(start(handler(), copy_context()))
        except Exception as error:  # noqa: BLE001 - it is told below
            first.set_exception(error)
        assert asyncio.current_task() is None

    loop.call_soon(begin)
    result = await first
    return await result if isinstance(result, PythonHandlerTask) else result


async def test_what_waits_for_nothing_is_done_at_once() -> None:
    async def handler() -> str:
        return "done"

    assert start(handler(), copy_context()) == "done"


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


async def test_whoever_waits_for_it_and_is_cancelled_cancels_it() -> None:
    cleaned = asyncio.Event()
    begun = asyncio.Event()

    async def handler() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    task = asyncio.create_task(driven(handler))
    await begun.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await cleaned.wait()


async def test_each_handler_has_the_variables_of_a_context_of_its_own_over_all_its_steps() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="none")

    async def handler() -> str:
        before = variable.get()
        token = variable.set("kept")
        await asyncio.sleep(0)
        kept = variable.get()
        await asyncio.create_task(asyncio.sleep(0))
        variable.reset(token)
        token = variable.set("left behind")
        return f"{before}, {kept}"

    variables = copy_context()
    turns = [start(handler(), variables) for _ in range(2)]
    assert list(await asyncio.gather(*turns)) == ["none, kept", "none, kept"]
    assert variable.get() == "none"
    assert variables.get(variable) is None


async def test_inside_another_task_that_one_is_the_current_one_again() -> None:
    outer = asyncio.current_task()

    async def handler() -> bool:
        return asyncio.current_task() is not outer

    assert start(handler(), copy_context()) is True
    assert asyncio.current_task() is outer


async def test_who_is_told_first_is_told_before_anybody_else_and_when_no_task_is_the_current_one() -> None:
    told: list[object] = []

    async def handler() -> str:
        return await asyncio.sleep(0, "done")

    turn = start(handler(), copy_context())
    turn.add_done_callback(lambda _: told.append("later"))
    turn.then = lambda turn: told.extend([turn.result(), asyncio.current_task()])
    await turn
    assert told == ["done", None, "later"]


async def test_it_is_to_others_what_a_task_is() -> None:
    gate = asyncio.Event()

    async def handler() -> str:
        await gate.wait()
        return "done"

    coroutine = handler()
    turn: Any = start(coroutine, copy_context())
    assert (turn.get_coro(), turn.get_loop()) == (coroutine, asyncio.get_running_loop())
    assert turn.get_name() == "handler"
    turn.set_name(7)
    assert turn.get_name() == "7"
    assert (turn.done(), turn.cancelling(), turn.uncancel()) == (False, 0, 0)
    assert turn._fut_waiter is not None
    gate.set()
    assert await asyncio.wait_for(asyncio.shield(turn), 60) == "done"
    done, _ = await asyncio.wait([turn, asyncio.create_task(asyncio.sleep(0))])
    assert turn in done
    assert list(await asyncio.gather(turn, turn)) == ["done", "done"]
    assert turn.cancel() is False
    assert asyncio.isfuture(turn)


async def test_one_that_is_cancelled_and_waits_for_nothing_more_is_cancelled() -> None:
    async def handler() -> str:
        await asyncio.sleep(0)
        task: Any = asyncio.current_task()
        assert task._fut_waiter is None
        task.cancel("by itself")
        return "never"

    for turn in (asyncio.create_task(handler()), start(handler(), copy_context())):
        with pytest.raises(asyncio.CancelledError, match="by itself"):
            await turn


async def raises_later(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


async def test_what_would_stop_the_server_goes_no_further() -> None:
    with pytest.raises(SystemExit):
        await start(raises_later(SystemExit(3)), copy_context())


def test_ctrl_c_goes_on_to_the_loop_when_everybody_has_been_told() -> None:
    told: list[BaseException | None] = []

    async def main() -> None:
        turn = start(raises_later(KeyboardInterrupt()), copy_context())
        turn.then = lambda turn: told.append(turn.exception())
        await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert [type(error) for error in told] == [KeyboardInterrupt]


# --- what libraries ask of a task ---------------------------------------------------------------------------


async def seen_in_the_first_step() -> list[str]:
    """Return what anyio's `get_current_task` and a debugger read of the current task."""
    task = asyncio.current_task()
    assert task is not None
    coroutine = task.get_coro()
    stack, printed = task.get_stack(), io.StringIO()
    task.print_stack(file=printed)
    return [
        getattr(coroutine, "__name__", "none"),
        *(frame.f_code.co_name for frame in stack),
        "Stack for" if printed.getvalue().startswith("Stack for") else printed.getvalue(),
    ]


SEEN = ["seen_in_the_first_step", "seen_in_the_first_step", "Stack for"]


async def test_the_task_of_a_first_step_has_its_coroutine_and_its_stack() -> None:
    assert await driven(seen_in_the_first_step) == SEEN


@pytest.mark.parametrize("plain", [True, False])
async def test_so_it_has_when_served_one_by_one_and_in_batches(tmp_path: Path, *, plain: bool) -> None:
    async def handler(_: str) -> str:
        task = asyncio.current_task()
        assert task is not None
        coroutine, stack = task.get_coro(), task.get_stack()
        return f"{getattr(coroutine, '__name__', None)} {[frame.f_code.co_name for frame in stack]}"

    async with (
        Server(handler, port=0, data=tmp_path, access="anyone", plain=plain) as server,
        connect(str(server.addresses[0]), known_servers=tmp_path / "known") as session,
    ):
        answers = {await session.ask("alone")}
        answers |= {answer async for answer in session.ask_many(["together"] * 50)}
    assert answers == {"handler ['handler']"}
