"""Handler task: runs one coroutine of a handler, from its first step to its last.

Most handlers end in their first step and need no `asyncio.Task`; the others get a cheaper one. For asyncio it is a
task of a third party (docs.python.org, "Extending asyncio", "Task lifetime support").
"""

import asyncio
import sys
from asyncio.base_tasks import _task_print_stack
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from functools import partial
from types import CoroutineType, FrameType
from typing import Any, TextIO, TypeVar

from antiphon.server.home.fence import fence
from antiphon.wire.batch import Stepping

Result = TypeVar("Result")

_CancelledError = asyncio.CancelledError
_set_result = asyncio.Future.set_result
_check_fence = fence.check
_UNCANCEL_FORGETS = sys.version_info >= (3, 13)
"""`uncancel` down to 0 also takes back a cancellation that was not delivered yet."""


class PythonHandlerTask(asyncio.Future[Any]):
    """The current task of a handler while it runs, and the future of its outcome.

    It treats a coroutine as `asyncio.Task` does (`Task.__step` in asyncio/tasks.py), with these differences: the
    first step is taken by whoever holds the coroutine (`start`, or `wire.batch`); `then` is called at once
    when it ends; `SystemExit` does not leave it, since a service may not stop the server; `asyncio.all_tasks` does
    not list it.
    """

    # Most tasks end in their first step. `wire.batch` uses one again if nobody refers to it and it has no instance
    # attributes but `variables` and `coroutine`. So whatever changes a task sets an attribute.
    variables: Context
    """The context variables of the handler."""
    coroutine: Coroutine[Any, Any, Any] | None = None
    then: Callable[["PythonHandlerTask"], None] | None = None
    """Called with the task when it has ended, before its callbacks."""
    _fut_waiter: asyncio.Future[Any] | None = None  # this and the next are named as in `asyncio.Task`, for anyio
    _must_cancel = False
    _has_callbacks = False
    _cancels = 0
    _name = "handler"
    late = False
    """It was cancelled because its time was over."""

    # --- the first step -------------------------------------------------------------------------------------

    def returned(self, value: object) -> object:
        """End the task with the result of its first step, and return it.

        Raises:
            CancelledError: the handler has cancelled its own task in that step.
        """
        if self._must_cancel:
            super().cancel(self._cancel_message)
            raise self._make_cancelled_error()  # type: ignore[attr-defined] # a method of `Future` without a stub
        super().set_result(value)
        return value

    def raised(self, error: BaseException) -> None:
        """End the task with what its first step has raised."""
        if isinstance(error, _CancelledError):
            super().cancel(*error.args[:1])
        else:
            super().set_exception(error)
            self.exception()  # or asyncio would report it as never retrieved

    # --- the other steps ------------------------------------------------------------------------------------

    def go_on(self, waits_for: Any) -> None:
        """Take the next step when `waits_for`, which the coroutine has yielded, is done, and so on to the end."""
        if waits_for is None:  # a bare `yield` (`asyncio.sleep(0)`)
            self._loop.call_soon(self.step, None, context=self.variables)
        elif getattr(waits_for, "_asyncio_future_blocking", False) and waits_for is not self:
            waits_for._asyncio_future_blocking = False  # noqa: SLF001 - the protocol between futures and tasks
            waits_for.add_done_callback(self.step, context=self.variables)
            self._fut_waiter = waits_for
            if self._must_cancel:
                self.cancel_waiter()
        else:
            self.wait_wrongly(waits_for)

    def step(self, waited_for: asyncio.Future[Any] | None) -> None:
        """Take one step; `waited_for` is None after a bare `yield`."""
        if not _check_fence():
            self.held_back(waited_for)
            return
        failed: BaseException | None = None
        if waited_for is not None:
            try:
                waited_for.result()
            except BaseException as error:  # noqa: BLE001 - it is thrown into the coroutine
                failed = error
        try:
            self.step_with(failed)
        finally:
            del self, waited_for, failed  # the traceback of what was raised refers to this frame: no cycle

    def step_with(self, failed: BaseException | None) -> None:
        """Take one step, with what has been raised where the coroutine waits. Precondition: the fence is open."""
        coroutine, loop = self.coroutine, self._loop
        assert coroutine is not None
        if self._must_cancel:
            self._must_cancel = False
            if not isinstance(failed, _CancelledError):
                failed = self._make_cancelled_error()  # type: ignore[attr-defined] # as above
        self._fut_waiter = None
        _enter_task(loop, self)  # type: ignore[arg-type] # any object will do
        try:
            waits_for = coroutine.send(None) if failed is None else coroutine.throw(failed)
        except StopIteration as done:
            if self._must_cancel:
                self.cancelled_later()
            else:
                _set_result(self, done.value)
        except BaseException as error:  # noqa: BLE001 - the task ends with it
            self.raised_later(error)
        else:
            self.go_on(waits_for)
        finally:
            _leave_task(loop, self)  # type: ignore[arg-type] # as above
            if self.then is not None and self.done():
                self.then(self)
            del self, failed  # as above

    # What is out of the ordinary, for both twins.

    def held_back(self, waited_for: asyncio.Future[Any] | None) -> None:
        """Take the step when the fence has opened."""
        fence.wait(partial(self.variables.run, self.step, waited_for))

    def cancel_waiter(self) -> None:
        """Cancel what the coroutine waits for: it was cancelled before it began to wait."""
        if self._fut_waiter is not None and self._fut_waiter.cancel(msg=self._cancel_message):
            self._must_cancel = False

    def wait_wrongly(self, waits_for: object) -> None:
        """Take the next step with an error: no coroutine can wait for that."""
        wrong = self._loop.create_future()
        wrong.set_exception(RuntimeError(f"a handler cannot wait for {waits_for!r}"))
        self._loop.call_soon(self.step, wrong, context=self.variables)

    def cancelled_later(self) -> None:
        """End the task, whose coroutine has cancelled it in its last step."""
        super().cancel(self._cancel_message)

    def raised_later(self, error: BaseException) -> None:
        """End the task with what a step has raised."""
        try:
            if isinstance(error, _CancelledError):
                super().cancel(*error.args[:1])
                return
            super().set_exception(error)
            if isinstance(error, KeyboardInterrupt):
                raise error
        finally:
            del self, error  # as above

    # --- the interface of `asyncio.Task` --------------------------------------------------------------------

    def cancel(self, msg: object = None) -> bool:
        """Cancel the handler where it waits, or where it will wait next."""
        if self.done():
            return False
        self._cancels += 1
        if self._fut_waiter is None or not self._fut_waiter.cancel(msg=msg):
            self._must_cancel = True
            self._cancel_message = msg
        return True

    def cancelling(self) -> int:
        """Return how many cancellations are pending."""
        return self._cancels

    def uncancel(self) -> int:
        """Take one cancellation back; return how many are left."""
        self._cancels = max(0, self._cancels - 1)
        if _UNCANCEL_FORGETS and not self._cancels:
            self._must_cancel = False
        return self._cancels

    def get_coro(self) -> Coroutine[Any, Any, Any] | None:
        """Return the coroutine."""
        return self.coroutine

    def get_context(self) -> Context:
        """Return the context that the coroutine runs in."""
        return self.variables

    def get_stack(self, *, limit: int | None = None) -> list[FrameType]:
        """Return the frame where the handler waits; none once it has ended."""
        frame = None if self.done() else getattr(self.coroutine, "cr_frame", None)
        return [frame][:limit] if frame is not None else []

    def print_stack(self, *, limit: int | None = None, file: TextIO | None = None) -> None:
        """Print the stack or the traceback, as `asyncio.Task` does; to standard error by default."""
        _task_print_stack(self, limit, file)  # type: ignore[arg-type] # any object will do, and any file

    def get_name(self) -> str:
        """Return the name, for debuggers and logs."""
        return self._name

    def set_name(self, value: object) -> None:
        """Set the name."""
        self._name = str(value)

    def set_result(self, _: object, /) -> None:
        """Refuse it, as `asyncio.Task` does: only the coroutine ends its task."""
        raise RuntimeError("a handler task does not support set_result")

    def set_exception(self, _: object, /) -> None:
        """Refuse it, likewise."""
        raise RuntimeError("a handler task does not support set_exception")

    def add_done_callback(self, function: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        """See `asyncio.Future`."""
        self._has_callbacks = True
        super().add_done_callback(function, context=context)


try:
    from antiphon.server.handler._handler import NativeSteps
except ImportError:  # built without a compiler
    HandlerTask = PythonHandlerTask
else:

    class HandlerTask(NativeSteps, PythonHandlerTask):  # type: ignore[no-redef] # the same, its usual steps in C
        """See `PythonHandlerTask`."""


def stepping(variables: Context) -> Stepping:
    """Return how `wire.batch` takes first steps: each in a task and a copy of `variables` of its own."""
    loop = asyncio.get_running_loop()
    return Stepping(HandlerTask, _enter_task, _leave_task, loop, variables)


def start(handler: Awaitable[Any], variables: Context) -> Any:
    """Take the first step of `handler`; return its result, or the `HandlerTask` that runs the rest.

    Raises:
        BaseException: whatever the first step raises.
    """
    coroutine = handler if isinstance(handler, CoroutineType) else _awaited(handler)
    return outside_of_tasks(_first_step, coroutine, variables.copy())


def _first_step(coroutine: Coroutine[Any, Any, Any], variables: Context) -> Any:
    loop = asyncio.get_running_loop()
    task = HandlerTask(loop=loop)
    task.coroutine, task.variables = coroutine, variables
    try:
        _enter_task(loop, task)  # type: ignore[arg-type] # any object will do
        try:
            waits_for = task.variables.run(coroutine.send, None)
        finally:
            _leave_task(loop, task)  # type: ignore[arg-type] # as above
    except StopIteration as done:
        return task.returned(done.value)
    except BaseException as error:
        task.raised(error)
        del task  # it refers to the error, whose traceback refers to this frame: no cycle
        raise
    task.go_on(waits_for)
    return task


def outside_of_tasks(function: Callable[..., Result], *arguments: object) -> Result:
    """Call `function` without a current task, so that handlers can have tasks of their own."""
    loop = asyncio.get_running_loop()
    current = asyncio.current_task(loop)
    if current is None:
        return function(*arguments)
    _leave_task(loop, current)
    try:
        return function(*arguments)
    finally:
        _enter_task(loop, current)


async def _awaited(handler: Awaitable[Any]) -> Any:
    return await handler
