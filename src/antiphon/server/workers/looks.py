"""Looks at a server with workers: asks them who is connected, and waits for none of them for long."""

import asyncio
from collections import deque
from collections.abc import Iterable

from antiphon.server.control.live import CLOSED_MOST, ClosedSession, Live, LiveQuery, merged
from antiphon.server.workers.process import State, WorkerProcess

LOOK_SECONDS = 1.0
"""Time in which a worker must answer; without its answer the others are shown."""


class WorkerLooks:
    """Puts together what the workers answer."""

    def __init__(self) -> None:
        """Begin without anything that was seen."""
        self._closed: deque[ClosedSession] = deque(maxlen=CLOSED_MOST)
        """Of workers that have ended, until their last heartbeat."""

    def ended(self, worker: WorkerProcess) -> None:
        """Keep what has closed at a worker that has ended."""
        self._closed.extend(reversed(worker.closed))

    async def look(self, workers: Iterable[WorkerProcess], query: LiveQuery) -> Live:
        """Return who is connected to `workers`, as far as they answer in time."""
        asked: dict[asyncio.Future[Live], WorkerProcess] = {}
        silent = []
        for worker in workers:
            if worker.state not in (State.SERVING, State.LEAVING):
                continue
            future = worker.look(query)
            if future is None:
                silent.append(worker.pid)
            else:
                asked[future] = worker
        done: set[asyncio.Future[Live]] = set()
        if asked:
            done, late = await asyncio.wait(asked, timeout=LOOK_SECONDS)
            for future in late:
                future.cancel()
                if asked[future].state is not State.ENDED:
                    silent.append(asked[future].pid)
        answers = [future.result() for future in done if not future.cancelled()]
        return merged(answers, query, sorted(silent), self._closed)
