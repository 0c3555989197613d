"""The first step of a handler's coroutine, taken at once: most need no second one, and so no task of their own."""

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any


class Turn:
    """The current task of a handler from its first step to its last, whatever drives it.

    To asyncio it is a task of a third party (docs.python.org, "Extending", task lifetime support). Time limits and
    groups of tasks cancel it, or ask about that, and it is passed on as soon as there is a task that drives.
    """

    def __init__(self) -> None:
        """Begin before the first step."""
        self._driver: asyncio.Task[Any] | None = None
        self._cancels = 0

    def driven_by(self, driver: asyncio.Task[Any]) -> None:
        """Go on inside a task, which is told what the first step has asked of this one."""
        self._driver = driver
        for _ in range(self._cancels):
            driver.cancel()

    def cancel(self, msg: object = None) -> bool:
        """Cancel the handler where it waits next."""
        if self._driver is not None:
            return self._driver.cancel(msg)
        self._cancels += 1
        return True

    def cancelling(self) -> int:
        """Return how often that was asked for."""
        return self._cancels if self._driver is None else self._driver.cancelling()

    def uncancel(self) -> int:
        """Take that back once."""
        if self._driver is not None:
            return self._driver.uncancel()
        self._cancels = max(0, self._cancels - 1)
        return self._cancels

    def done(self) -> bool:
        """Return whether it has ended: nobody can ask before that."""
        return self._driver is not None and self._driver.done()

    def get_name(self) -> str:
        """Return what a debugger or a log calls it."""
        return "handler" if self._driver is None else self._driver.get_name()

    def __getattr__(self, name: str) -> Any:
        """Be what drives in everything else."""
        if self._driver is None:
            raise AttributeError(name)
        return getattr(self._driver, name)


class Suspended(Awaitable[Any]):
    """A coroutine that has taken a step and waits for something: awaiting it goes on from there."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waits_for: object, turn: Turn) -> None:
        """Go on with `coroutine`, which has yielded `waits_for`, as `turn`."""
        self._coroutine = coroutine
        self._waits_for = waits_for
        self._turn = turn

    def __await__(self) -> Generator[Any, Any, Any]:
        """Go on, inside a task."""
        loop = asyncio.get_running_loop()
        driver = asyncio.current_task(loop)
        assert driver is not None, "this is awaited inside a task"
        self._turn.driven_by(driver)
        waits_for = self._waits_for
        while True:
            advance: Callable[[Any], Any] = self._coroutine.send
            given: Any = None
            try:
                given = yield waits_for
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's
                advance, given = self._coroutine.throw, error
            before = enter(loop, self._turn)
            try:
                waits_for = advance(given)
            except StopIteration as done:
                return done.value
            finally:
                leave(loop, self._turn, before)


def enter(loop: asyncio.AbstractEventLoop, turn: Turn) -> Any:
    """Have a turn be the current task; return which one was, for `leave`."""
    before: Any = asyncio.current_task(loop)
    if before is not None:
        _leave_task(loop, before)
    _enter_task(loop, turn)  # type: ignore[arg-type] # any object will do
    return before


def leave(loop: asyncio.AbstractEventLoop, turn: Turn, before: Any) -> None:
    """Have the task that was the current one be that again."""
    _leave_task(loop, turn)  # type: ignore[arg-type] # as above
    if before is not None:
        _enter_task(loop, before)


def step(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Take a coroutine's first step; return what it returns, or what to await for that.

    Raises:
        BaseException: whatever it raises.
    """
    turn, loop = Turn(), asyncio.get_running_loop()
    before = enter(loop, turn)
    try:
        waits_for = coroutine.send(None)
    except StopIteration as done:
        return done.value
    finally:
        leave(loop, turn, before)
    return Suspended(coroutine, waits_for, turn)
