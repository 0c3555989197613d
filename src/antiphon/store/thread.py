"""Thread for the blocking work of a store: one job after the other, each answered within a time limit."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar

from antiphon.errors import TryLater

ANSWER_SECONDS = 2.5
"""Limit from asking to `TryLater`, time in the queue included: below `contracts.STORE_SECONDS`, with room for a
busy event loop."""

Result = TypeVar("Result")


class StoreCalls:
    """Calls of the stores of this process, and the time that they took, their wait in the queue included."""

    def __init__(self) -> None:
        """Begin with none."""
        self.count = 0
        self.seconds = 0.0


calls = StoreCalls()
"""Calls of all stores of this process. Beside a status page two event loops count, which may lose a call."""


class _Job(NamedTuple):
    work: Callable[[], Any]
    outcome: "asyncio.Future[Any]"


class StoreThread:
    """Daemon thread that does one job after the other; a stuck job cannot keep the program from ending."""

    def __init__(self, name: str) -> None:
        """Start the thread; debuggers show `name`."""
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._closed = False
        self._asked = 0
        """Jobs that were queued; the thread does not write it, as nobody else writes the next one."""
        self._over = 0
        Thread(target=self._run, name=name, daemon=True).start()

    @property
    def waiting(self) -> int:
        """How many jobs are in progress or in the queue, those that were given up included."""
        return self._asked - self._over

    def do(self, work: Callable[[], Result]) -> "asyncio.Future[Result]":
        """Queue `work`; the future, of the running event loop, gets its outcome. There is no time limit.

        If the future is done or cancelled before the job's turn comes, the job is skipped.
        """
        outcome: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._asked += 1
        self._jobs.put(_Job(work, outcome))
        return outcome

    async def run(self, work: Callable[[], Result]) -> Result:
        """Return what `work` returns. Work that has begun is finished, even if nobody waits for it any more.

        Raises:
            TryLater: there is no answer within `ANSWER_SECONDS`, or the thread is closed.
        """
        if self._closed:
            raise TryLater
        began = time.perf_counter()
        outcome = self.do(work)
        # Not asyncio.timeout, which would need a shield around the job: a fifth of what recording a visit costs.
        limit = asyncio.get_running_loop().call_later(ANSWER_SECONDS, _give_up, outcome)
        try:
            return await outcome
        except TimeoutError as error:
            raise TryLater from error
        finally:
            limit.cancel()
            calls.count += 1
            calls.seconds += time.perf_counter() - began

    async def close(self, last: Callable[[], object] = lambda: None) -> None:
        """Refuse further work, do what is queued and then `last`, and end the thread. May be called again.

        Waits for that, but no longer than `ANSWER_SECONDS`: a stuck job is left behind.
        """
        if self._closed:
            return
        self._closed = True
        closing = self.do(last)
        self._jobs.put(None)
        closing.add_done_callback(_retrieve)
        await asyncio.wait({closing}, timeout=ANSWER_SECONDS)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.outcome.done():  # given up
                self._over += 1
                continue
            result, error = None, None
            try:
                result = job.work()
            except BaseException as raised:  # noqa: BLE001 - it belongs to the caller
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
                job.outcome.get_loop().call_soon_threadsafe(_settle, job.outcome, result, error)
            self._over += 1
            del job, result, error  # hold nothing while waiting


def _settle(outcome: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
    if outcome.done():  # cancelled or given up
        return
    if error is None:
        outcome.set_result(result)
    else:
        outcome.set_exception(error)


def _give_up(outcome: "asyncio.Future[Any]") -> None:
    if not outcome.done():
        outcome.set_exception(TimeoutError())


def _retrieve(outcome: "asyncio.Future[Any]") -> None:
    """Mark the exception as retrieved: the caller may be gone."""
    if not outcome.cancelled():
        outcome.exception()
