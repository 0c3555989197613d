"""Slots: which worker serves at each place, and when the place of one that died is filled again."""

from antiphon.server.workers.process import WorkerProcess

STEADY_SECONDS = 10.0
"""A worker that has lived for less counts as one that keeps dying."""
PAUSE_MOST = 30.0
"""Longest pause until a worker that keeps dying is replaced. The first is 1 s, each is twice the one before."""


class Slots:
    """The places of the workers."""

    def __init__(self, count: int) -> None:
        """Begin with `count` empty places, all but the first due now."""
        self.workers: list[WorkerProcess | None] = [None] * count
        """The worker at each place; None while there is none that takes connections."""
        self._short_lives = [0] * count
        """How many workers in a row have died early."""
        self._due_at = [0.0] * count

    def due(self, now: float) -> list[int]:
        """Return the places that are empty and wait no longer."""
        return [
            number for number, worker in enumerate(self.workers) if worker is None and now >= self._due_at[number]
        ]

    def replace(self, workers: list[WorkerProcess]) -> list[WorkerProcess]:
        """Put new workers into all places; return those that were there."""
        before = self.clear()
        self.workers = list(workers)
        self._short_lives = [0] * len(workers)
        return before

    def clear(self) -> list[WorkerProcess]:
        """Empty all places; return the workers that were there."""
        before = [worker for worker in self.workers if worker is not None]
        self.workers = [None] * len(self.workers)
        return before

    def left(self, worker: WorkerProcess) -> None:
        """Empty the place of a worker that drains."""
        if self.workers[worker.number] is worker:
            self.workers[worker.number] = None

    def ended(self, worker: WorkerProcess, now: float) -> bool:
        """Empty the place of a worker that has ended; return whether it had one."""
        if self.workers[worker.number] is not worker:
            return False
        self.workers[worker.number] = None
        if now - worker.began_at < STEADY_SECONDS:
            self.failed(worker.number, now)
        else:
            self._short_lives[worker.number] = 0
        return True

    def failed(self, number: int, now: float) -> None:
        """Note that a worker has died early or could not be started: the next ones wait longer and longer."""
        pause = 2.0 ** (self._short_lives[number] - 1) if self._short_lives[number] else 0.0
        self._short_lives[number] = min(self._short_lives[number] + 1, 10)
        self._due_at[number] = now + min(pause, PAUSE_MOST)
