"""First steps of coroutines: each message has a task and context variables of its own, in both twins."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from antiphon.wire.batch import BatchAnswerer, PythonBatchAnswerer, Stepping
from antiphon.wire.frames import encode_message
from antiphon.wire.kinds import TOKEN_SIZE, Flag
from support.leaks import assert_no_block_stays
from support.steps import Cancelled, Task, something, stepping

TOKEN = bytes(range(TOKEN_SIZE))
LIMIT = 100
TWINS: list[type] = list(dict.fromkeys([PythonBatchAnswerer, BatchAnswerer]))
"""Only the Python twin if no compiler was found."""
VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="none")

Twin = Callable[..., Any]
Handle = Callable[[str], Any]
twins = pytest.mark.parametrize("twin", TWINS)
native = pytest.mark.parametrize("twin", TWINS[1:])


def made(twin: Twin, handle: Handle, told: Stepping | None = None) -> Any:
    return twin(handle, None, TOKEN, LIMIT, LIMIT, stepping=told or stepping())


def asked(answerer: Any, *messages: str) -> Any:
    """Ask in one batch, with ids from 1 on."""
    data = b"".join(encode_message(id, message, 0, TOKEN) for id, message in enumerate(messages, 1))
    return answerer(data, 0, len(data))


def answers(*replies: str) -> bytes:
    return b"".join(encode_message(id, reply, Flag.LAST) for id, reply in enumerate(replies, 1))


def current() -> Task:
    assert Task.current is not None
    return Task.current


@twins
def test_a_coroutine_that_ends_in_its_first_step_is_answered(twin: Twin) -> None:
    async def upper(message: str) -> str:
        return message.upper()

    answerer = made(twin, upper)
    assert asked(answerer, "one", "two") == answers("ONE", "TWO")
    assert (answerer.unanswered, Task.current) == (None, None)


@twins
def test_a_coroutine_that_waits_is_left_with_its_task_and_what_it_waits_for(twin: Twin) -> None:
    async def handle(message: str) -> str:
        return await something() if message == "wait" else message

    answerer = made(twin, handle)
    assert asked(answerer, "one", "wait", "three") == answers("one")
    id, coroutine, error, (task, waits_for) = answerer.unanswered
    assert (id, error, waits_for, Task.current) == (2, None, "something", None)
    assert (type(task), task.coroutine, task.outcome) == (Task, coroutine, None)
    with pytest.raises(StopIteration, match="never"):
        task.variables.run(coroutine.send, None)


@twins
def test_what_a_coroutine_raises_is_left(twin: Twin) -> None:
    async def handle(message: str) -> str:
        raise LookupError(message)

    answerer = made(twin, handle)
    assert asked(answerer, "why", "next") == b""
    id, reply, error, waiting = answerer.unanswered
    assert (id, reply, type(error), error.args, waiting) == (1, None, LookupError, ("why",), None)
    assert error.__traceback__ is not None
    assert Task.current is None


@twins
def test_each_message_of_a_batch_has_variables_of_its_own(twin: Twin) -> None:
    async def handle(message: str) -> str:
        before = VARIABLE.get()
        VARIABLE.set(message)
        assert current().variables[VARIABLE] == message
        return before

    variables = copy_context()
    variables.run(VARIABLE.set, "server")
    answerer = made(twin, handle, stepping(variables=variables))
    assert asked(answerer, "one", "two", "three") == answers("server", "server", "server")
    assert asked(answerer, "four") == answers("server")
    assert (variables[VARIABLE], VARIABLE.get()) == ("server", "none")


@twins
def test_each_message_of_a_batch_has_a_task_of_its_own(twin: Twin) -> None:
    tasks: list[Task] = []

    async def handle(message: str) -> str:
        tasks.append(current())
        return message

    answerer = made(twin, handle)
    assert asked(answerer, "one", "two") == answers("one", "two")
    asked(answerer, "three")
    assert len(set(map(id, tasks))) == 3
    assert [task.outcome for task in tasks] == ["one", "two", "three"]  # a task that is kept has ended


@twins
def test_the_current_task_knows_its_coroutine_in_the_first_step(twin: Twin) -> None:
    async def first(message: str) -> str:
        return f"{current().coroutine.__name__} {message}"

    async def second(message: str) -> str:
        return f"{current().coroutine.__name__} {message}"

    handlers = {"one": first, "two": second}
    answerer = made(twin, lambda message: handlers[message](message))
    assert asked(answerer, "one", "two", "one") == answers("first one", "second two", "first one")


@twins
def test_a_coroutine_that_cancels_its_own_task_fails_its_own_message_and_not_the_next(twin: Twin) -> None:
    async def handle(message: str) -> str:
        if message == "cancel":
            current().cancel()
        assert current().is_cancelled == (message == "cancel")
        return message

    answerer = made(twin, handle)
    assert asked(answerer, "one", "cancel") == answers("one")
    id, reply, error, waiting = answerer.unanswered
    assert (id, reply, type(error), waiting) == (2, None, Cancelled, None)
    assert asked(answerer, "next") == answers("next")
    assert answerer.unanswered is None


@twins
def test_a_task_that_is_cancelled_before_its_coroutine_waits_is_left_cancelled(twin: Twin) -> None:
    async def handle(message: str) -> str:
        if message == "wait":
            current().cancel()
            await something()
        return str(current().is_cancelled)

    answerer = made(twin, handle)
    asked(answerer, "wait")
    _, coroutine, _, (task, _) = answerer.unanswered
    assert task.is_cancelled
    coroutine.close()
    assert asked(answerer, "next") == answers("False")


@twins
@pytest.mark.parametrize("fails", [False, True])
def test_a_changed_task_ends_and_is_not_used_again(twin: Twin, fails: bool) -> None:
    ended: list[object] = []

    class Noting(Task):
        def returned(self, value: object) -> object:
            ended.append((self.name, value))
            return super().returned(value)

        def raised(self, error: BaseException) -> None:
            ended.append((self.name, type(error)))

    async def handle(message: str) -> str:
        task = current()
        assert task.name == "handler"
        if message == "named":
            task.name = message
            if fails:
                raise LookupError
        return message

    answerer = made(twin, handle, stepping()._replace(make=Noting))
    asked(answerer, "named", "next")
    if fails:
        answerer.unanswered = None
        asked(answerer, "next")
    assert ended[0] == ("named", LookupError if fails else "named")


@native
def test_the_twin_in_c_uses_an_unchanged_task_again(twin: Twin) -> None:
    makes: list[None] = []

    def make() -> Task:
        makes.append(None)
        return Task()

    async def handle(message: str) -> str:
        if message == "fail":
            raise LookupError
        return message

    answerer = made(twin, handle, stepping()._replace(make=make))
    for messages in (("one", "two"), ("fail",), ("three",)):
        asked(answerer, *messages)
    assert len(makes) == 1


KEEPERS: dict[str, Callable[[list[Any], Task], object]] = {
    "a reference": lambda kept, task: kept.append(task),
    "a weak reference": lambda kept, task: kept.append(weakref.ref(task)),
    "a weak key": lambda kept, task: kept.append(weakref.WeakKeyDictionary({task: "state"})),
    "an attribute": lambda kept, task: setattr(task, "state", kept),
    "a callback": lambda kept, task: kept.append(task.cancel),
}


@twins
@pytest.mark.parametrize("keep", KEEPERS.values(), ids=KEEPERS)
def test_no_coroutine_sees_the_task_of_another(twin: Twin, keep: Callable[[list[Any], Task], object]) -> None:
    kept: list[Any] = []
    seen: list[bool] = []

    async def handle(message: str) -> str:
        task = current()
        if message == "keep":
            keep(kept, task)
            return message
        states = [each for each in kept if isinstance(each, weakref.WeakKeyDictionary)]
        references = [each() for each in kept if isinstance(each, weakref.ref)]
        strong = [getattr(each, "__self__", each) for each in kept]
        seen.append(hasattr(task, "state") or any(task in each for each in states) or task in references + strong)
        return message

    answerer = made(twin, handle)
    assert asked(answerer, "keep", "next") == answers("keep", "next")
    assert seen == [False]


@twins
def test_variables_of_a_coroutine_are_freed_after_its_step(twin: Twin) -> None:
    class Much:
        pass

    much: list[weakref.ref[Much]] = []
    variable: ContextVar[Much] = ContextVar("variable")

    async def handle(message: str) -> str:
        value = Much()
        variable.set(value)
        much.append(weakref.ref(value))
        if message == "fail":
            raise LookupError
        return message

    answerer = made(twin, handle)
    asked(answerer, "one")
    asked(answerer, "fail")
    answerer.unanswered = None
    assert [reference() for reference in much] == [None, None]


@twins
def test_a_coroutine_that_fails_having_changed_its_task_leaves_no_cycle(twin: Twin) -> None:
    class Fault(Exception):
        pass

    async def handle(message: str) -> str:
        current().name = message
        raise Fault

    answerer = made(twin, handle)
    gc.collect()
    gc.disable()
    try:
        asked(answerer, "one")
        fault = weakref.ref(answerer.unanswered[2])
        answerer.unanswered = None
        assert fault() is None
    finally:
        gc.enable()


@twins
def test_a_message_within_a_step_has_a_task_of_its_own(twin: Twin) -> None:
    tasks: list[Task] = []

    async def handle(message: str) -> str:
        tasks.append(current())
        if message == "outer":
            Task.current = None
            asked(answerer, "inner")
            Task.current = tasks[0]
        return message

    answerer = made(twin, handle)
    asked(answerer, "outer")
    outer, inner = tasks
    assert outer is not inner
    del tasks[:]
    asked(answerer, "next")
    assert tasks[0] not in (outer, inner)


@twins
@pytest.mark.parametrize("at", ["make", "enter", "leave"])
@pytest.mark.parametrize("message", ["reply", "raise", "wait"])
def test_a_fault_around_a_step_fails_its_message(twin: Twin, at: str, message: str) -> None:
    def boom(*_: object) -> None:
        raise RuntimeError(at)

    async def handle(message: str) -> str:
        if message == "raise":
            raise LookupError
        return await something() if message == "wait" else message

    opened: list[Coroutine[Any, Any, str]] = []

    def keep(message: str) -> Coroutine[Any, Any, str]:
        opened.append(handle(message))
        return opened[-1]

    around: dict[str, Any] = {"make": Task, "enter": lambda *_: None, "leave": lambda *_: None, at: boom}
    answerer = made(twin, keep, Stepping(**around, loop=None, variables=copy_context()))
    assert asked(answerer, message) == b""
    id, reply, error, waiting = answerer.unanswered
    assert (id, reply, type(error), error.args, waiting) == (1, None, RuntimeError, (at,), None)
    opened[0].close()


@twins
def test_nothing_leaks_of_coroutines_that_have_ended(twin: Twin) -> None:
    async def handle(message: str) -> str:
        if message == "name":
            current().name = message
        if message == "cancel":
            current().cancel()
        if message == "fail":
            raise LookupError
        return await something() if message == "wait" else message

    def once() -> None:
        answerer = made(twin, handle, told)
        for message in ("reply", "name", "cancel", "fail", "reply", "wait"):
            asked(answerer, message)
            if message == "wait":
                answerer.unanswered[1].close()

    told = stepping()
    assert_no_block_stays(once)


@native
def test_stepping_must_be_a_stepping(twin: Twin) -> None:
    with pytest.raises(TypeError, match="Stepping"):
        made(twin, print, ("short",))  # type: ignore[arg-type]


class AsyncioTask(asyncio.Future[Any]):
    """The least that is a task for asyncio: a future with the attributes of a first step."""

    coroutine: Any = None
    variables: Any = None

    def get_coro(self) -> Any:
        return self.coroutine

    def returned(self, value: object) -> object:
        self.set_result(value)
        return value

    def raised(self, error: BaseException) -> None:
        self.set_exception(error)
        self.exception()


@twins
async def test_callbacks_that_are_added_in_the_first_step_are_called(twin: Twin) -> None:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[object]] = loop.create_future()
    results: list[object] = []

    def note(task: "asyncio.Future[Any]") -> None:
        results.append(task.exception() or task.result())
        if len(results) == 2:
            done.set_result(results)

    async def handle(message: str) -> str:
        task: Any = asyncio.current_task()
        assert task.get_coro().__name__ == "handle"
        task.noted = True  # as tasks of the server do in `add_done_callback`
        task.add_done_callback(note)
        if message == "fail":
            raise LookupError
        return message

    def work() -> None:
        enter: Any = asyncio.tasks._enter_task
        leave: Any = asyncio.tasks._leave_task
        answerer = made(twin, handle, Stepping(AsyncioTask, enter, leave, loop, copy_context()))
        assert asked(answerer, "one", "fail") == answers("one")

    loop.call_soon(work)  # where no other task is current
    first, second = await asyncio.wait_for(done, 60)
    assert first == "one"
    assert isinstance(second, LookupError)
