"""A thread for what blocks: one thing after the other, and no reason for the program not to end."""

import asyncio
import contextlib
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar

Result = TypeVar("Result")


class _Job(NamedTuple):
    work: Callable[[], Any]
    outcome: "asyncio.Future[Any]"


class Worker:
    """Does what it is given, in order, in a thread of its own."""

    def __init__(self, name: str) -> None:
        """Start the thread; `name` is for debuggers."""
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        Thread(target=self._run, name=name, daemon=True).start()

    def do(self, work: Callable[[], Result]) -> "asyncio.Future[Result]":
        """Have `work` done; the future has its outcome, in this event loop.

        Where the future is done or cancelled before its turn has come, the work is not begun.
        """
        outcome: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(work, outcome))
        return outcome

    def stop(self) -> None:
        """End the thread behind what it was given."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.outcome.done():  # given up
                continue
            result, error = None, None
            try:
                result = job.work()
            except BaseException as raised:  # noqa: BLE001 - it is the asker's
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile: nobody waits
                job.outcome.get_loop().call_soon_threadsafe(_settle, job.outcome, result, error)
            del job, result, error  # while the thread waits it holds nothing


def _settle(outcome: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
    if outcome.done():  # cancelled
        return
    if error is None:
        outcome.set_result(result)
    else:
        outcome.set_exception(error)
