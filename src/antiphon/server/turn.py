"""A handler's coroutine, stepped by us: most take one step and need no task, and the others have one of ours.

To asyncio a turn is a task of a third party (docs.python.org, "Extending", task lifetime support).
"""

import asyncio
import sys
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from types import CoroutineType
from typing import Any, TypeVar

_CancelledError = asyncio.CancelledError
_FORGETS = sys.version_info >= (3, 13)
"""To take back the last cancellation takes back one that was not raised yet, too."""

Result = TypeVar("Result")


class Turn(asyncio.Future[Any]):
    """The current task of a handler from its first step to its last, and what becomes of it.

    It does with a coroutine what `asyncio.Task` does (`Task.__step` in asyncio/tasks.py), but for this: whoever
    holds the coroutine takes its first step, in `during`; what is to be done at the end is done at once;
    `SystemExit` does not leave it, since a service may not stop the server; `asyncio.all_tasks` does not know it.
    """

    # Most turns end with their first step: what the others need is no instance's until then.
    variables: Context
    """Those of the context that its handler runs in."""
    touched = False
    """A handler, or who knows of it, has told it something; else it may serve for the next one."""
    _coroutine: Coroutine[Any, Any, Any] | None = None
    then: Callable[["Turn"], None] | None = None
    """Called with this when it has ended, before anybody else is told."""
    _fut_waiter: asyncio.Future[Any] | None = None  # this and the next are named as in `asyncio.Task`: anyio asks
    _must_cancel = False
    _cancels = 0
    _name = "handler"
    late = False
    """It has taken too long, and was cancelled for that."""

    # --- by whoever holds the coroutine ---------------------------------------------------------------------

    def during(self, variables: Context, function: Callable[..., Result], *given: object) -> Result:
        """Return what `function` returns, which takes the first step with a copy of `variables`.

        Meanwhile this is the current task.
        """
        loop = self._loop
        before: Any = None
        try:
            _enter_task(loop, self)  # type: ignore[arg-type] # any object will do
        except RuntimeError:  # inside of a task
            before = asyncio.current_task(loop)
            _leave_task(loop, before)
            _enter_task(loop, self)  # type: ignore[arg-type] # as above
        self.variables = variables.copy()
        try:
            return self.variables.run(function, *given)
        finally:
            _leave_task(loop, self)  # type: ignore[arg-type] # as above
            if before is not None:
                _enter_task(loop, before)

    def go_on(self, coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> None:
        """Take the next step of a coroutine when what it has yielded is there, and so on to its end."""
        self._coroutine = coroutine
        if getattr(waits_for, "_asyncio_future_blocking", False) and waits_for is not self:
            waits_for._asyncio_future_blocking = False  # noqa: SLF001 - what a future and a task say to each other
            waits_for.add_done_callback(self._step, context=self.variables)
            self._fut_waiter = waits_for
            if self._must_cancel and waits_for.cancel(msg=self._cancel_message):
                self._must_cancel = False
            return
        if waits_for is not None:
            wrong = self._loop.create_future()
            wrong.set_exception(RuntimeError(f"a handler cannot wait for {waits_for!r}"))
            waits_for = wrong
        self._loop.call_soon(self._step, waits_for, context=self.variables)

    def _step(self, waited_for: asyncio.Future[Any] | None) -> None:
        """Go on from where it waits, with None where it has but let others have their turn."""
        failed: BaseException | None = None
        if waited_for is not None:
            try:
                waited_for.result()
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's
                failed = error
        coroutine, loop = self._coroutine, self._loop
        assert coroutine is not None
        if self._must_cancel:
            self._must_cancel = False
            if not isinstance(failed, _CancelledError):
                failed = self._make_cancelled_error()  # type: ignore[attr-defined] # a future's own, not told to types
        self._fut_waiter = None
        _enter_task(loop, self)  # type: ignore[arg-type] # as above
        try:
            waits_for = coroutine.send(None) if failed is None else coroutine.throw(failed)
        except StopIteration as done:
            if self._must_cancel:
                super().cancel(self._cancel_message)
            else:
                self.set_result(done.value)
        except _CancelledError as error:
            super().cancel(*error.args[:1])
        except BaseException as error:
            self.set_exception(error)
            if isinstance(error, KeyboardInterrupt):
                raise
        else:
            self.go_on(coroutine, waits_for)
        finally:
            _leave_task(loop, self)  # type: ignore[arg-type] # as above
            if self.then is not None and self.done():
                self.then(self)
            del self, waited_for, failed  # what was raised, whose traceback holds this, and those that hold it

    # --- as others know a task ------------------------------------------------------------------------------

    def cancel(self, msg: object = None) -> bool:
        """Cancel the handler where it waits, or where it will wait next."""
        if self.done():
            return False
        self._cancels += 1
        self.touched = True
        if self._fut_waiter is None or not self._fut_waiter.cancel(msg=msg):
            self._must_cancel = True
            self._cancel_message = msg
        return True

    def cancelling(self) -> int:
        """Return how often that was asked for."""
        return self._cancels

    def uncancel(self) -> int:
        """Take that back once."""
        self._cancels = max(0, self._cancels - 1)
        if _FORGETS and not self._cancels:
            self._must_cancel = False
        return self._cancels

    def get_coro(self) -> Coroutine[Any, Any, Any] | None:
        """Return the coroutine; None during its first step."""
        return self._coroutine

    def get_context(self) -> Context:
        """Return the variables of the context that the coroutine runs in."""
        return self.variables

    def get_name(self) -> str:
        """Return what a debugger or a log calls it."""
        return self._name

    def set_name(self, value: object) -> None:
        """Have it called something else."""
        self._name = str(value)
        self.touched = True

    def add_done_callback(self, function: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        """Call a function when it has ended."""
        self.touched = True
        super().add_done_callback(function, context=context)


def step(handler: Awaitable[Any], variables: Context) -> Any:
    """Take the first step of what can be awaited; return what it returns, or the turn that goes on with it.

    Raises:
        BaseException: whatever it raises.
    """
    coroutine = handler if isinstance(handler, CoroutineType) else _awaited(handler)
    turn = Turn(loop=asyncio.get_running_loop())
    try:
        waits_for = turn.during(variables, coroutine.send, None)
    except StopIteration as done:
        return done.value
    turn.go_on(coroutine, waits_for)
    return turn


async def _awaited(handler: Awaitable[Any]) -> Any:
    return await handler
