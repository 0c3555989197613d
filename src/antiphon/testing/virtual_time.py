"""Virtual time for tests: it stands still while anything runs, and jumps to the next timer when all tasks wait."""

import asyncio
import functools
import inspect
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class _Selector(selectors.SelectSelector):
    """A selector that advances the virtual time instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.held = 0
        """How many threads work for the loop; until they are done, time stands still and the selector waits."""

    def select(self, timeout: float | None = None) -> Any:
        if self.held and (timeout is None or timeout > 0):
            return super().select(None)
        ready = super().select(0)
        if not ready:  # what two servers say to each other over sockets takes no time
            if timeout is None:
                raise RuntimeError("Every task waits and no timer is set, so nothing can happen any more.")
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that starts at 0 s and jumps to the next timer, unless a thread still works for it.

    If all tasks wait and there is no timer, `run_until_complete` raises `RuntimeError`.
    """

    def __init__(self) -> None:
        """Start at 0 s."""
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._virtual.now

    def hold(self, work: "asyncio.Future[Any]") -> None:
        """Let no time pass until `work`, which a thread does, is done or given up."""
        self._virtual.held += 1
        work.add_done_callback(self._let_go)

    def _let_go(self, _: "asyncio.Future[Any]") -> None:
        self._virtual.held -= 1

    def run_in_executor(  # type: ignore[override] # as the supertype, but for the relation of its arguments
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Hold the time while `func` runs."""
        work = super().run_in_executor(executor, func, *args)
        self.hold(work)
        return work

    async def shutdown_default_executor(self) -> None:
        """Hold the time until the threads have ended."""
        self._virtual.held += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._virtual.held -= 1


def virtual_time(
    test: Callable[Parameters, Coroutine[Any, Any, Result]],
) -> Callable[Parameters, Result]:
    """Run a test, a coroutine function, in virtual time: `asyncio.sleep(3600)` in it takes no time at all.

    Time passes only while all tasks wait: then it jumps to the moment of the next timer, whoever has set it. So
    `await asyncio.sleep(seconds)` in the test moves the clock, and what was due meanwhile happens in its order.
    `asyncio.get_running_loop().time()` is the time in seconds, from 0 on. `time.time()` and the like stay real.

    The test becomes an ordinary function, with an event loop of its own: it needs no plugin, and its fixtures may
    not be coroutines. Time does not wait for sockets and processes: use it for services in memory.

    Raises:
        TypeError: the test is no coroutine function.
        RuntimeError: all tasks wait, and no timer is set.
    """
    plain = inspect.unwrap(test)
    if inspect.isfunction(plain) and not inspect.iscoroutinefunction(plain):
        raise TypeError(f"{plain.__name__} must be a coroutine function (async def) to run in virtual time")

    @functools.wraps(test)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(test(*args, **kwargs))

    return run
