"""Time limits of waiting handlers: one timer for all, since the oldest is due first."""

import asyncio
from collections.abc import Iterator
from typing import Any

from antiphon.server.handler.task import HandlerTask


class TimeLimits:
    """Handler tasks that are waiting, in the order in which they began."""

    __slots__ = ("_seconds", "begun", "timer")

    def __init__(self, seconds: float) -> None:
        """Cancel a task `seconds` after it was added."""
        self._seconds = seconds
        self.begun: dict[Any, float] = {}
        """Start of each task in loop time, oldest first."""
        self.timer: asyncio.TimerHandle | None = None
        """Set for the oldest task, if it is not late."""

    def __len__(self) -> int:
        """Return the number of waiting tasks."""
        return len(self.begun)

    def __iter__(self) -> Iterator[HandlerTask]:
        """Iterate over the waiting tasks, oldest first."""
        return iter(self.begun)

    def add(self, task: HandlerTask) -> None:
        """Start the time of `task` now."""
        loop = task.get_loop()
        now = self.begun[task] = loop.time()
        if self.timer is None:
            self.timer = loop.call_at(now + self._seconds, self._cancel_late)

    def remove(self, task: asyncio.Future[Any]) -> None:
        """Stop the time of a task that has ended; other futures are ignored."""
        self.begun.pop(task, None)

    def _cancel_late(self) -> None:
        """Cancel the tasks whose time is over, and set the timer for the next one."""
        self.timer = None
        for task, begun in list(self.begun.items()):
            if not task.late:
                loop = task.get_loop()
                if begun + self._seconds > loop.time():
                    self.timer = loop.call_at(begun + self._seconds, self._cancel_late)
                    break
                task.late = True
                task.cancel()
