"""Blocking work on files: outside the event loop, one at a time, answered within the time of the contracts."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from antiphon.errors import TryLater

ANSWER_SECONDS = 2.5
"""From asking to `TryLater`, waiting for one's turn included: below `contracts.STORE_SECONDS`, with room for
a loop that is busy."""

Result = TypeVar("Result")


class Worker:
    """Runs what blocks, for all files of one store."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._turn = asyncio.Lock()

    async def run(self, work: Callable[[], Result]) -> Result:
        """Return what `work` returns; what it has begun it ends, even if nobody waits for it any more.

        Raises:
            TryLater: it takes too long, or `work` raises it.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._turn.acquire()
                task = asyncio.create_task(asyncio.to_thread(work))
                task.add_done_callback(self._done)
                return await asyncio.shield(task)
        except TimeoutError as error:
            raise TryLater from error

    async def rest(self) -> None:
        """Wait until the work under way has ended; what is frozen is left behind."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS), self._turn:
                pass

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._turn.release()
        if not task.cancelled():
            task.exception()  # it has been seen: the one who asked may have gone


class Part:
    """One contract of a store: it works until it is closed."""

    def __init__(self, worker: Worker) -> None:
        """Work through `worker`."""
        self._worker = worker
        self._closed = False

    async def _run(self, work: Callable[[], Result]) -> Result:
        """Return what `work` returns, as `Worker.run` does."""
        if self._closed:
            raise TryLater
        return await self._worker.run(work)

    async def close(self) -> None:
        """See the contract."""
        self._closed = True
