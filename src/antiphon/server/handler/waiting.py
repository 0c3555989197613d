"""Waiting: the message of a session whose handler waits, from its first step to its answer.

`PythonWaiting` has a twin in C (`_waiting.c`), which is built where there is a compiler.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from antiphon.server.handler.time_limits import TimeLimits
from antiphon.wire.batch import Unanswered
from antiphon.wire.times import Times, add_time

Task = asyncio.Future[Any]
"""A `HandlerTask`, or the task of a generator."""


class PythonWaiting:
    """The handler of one session, while it waits for something; one at a time."""

    __slots__ = ("_ended", "_limits", "_times", "answer", "began", "cancelled", "count", "id", "seconds", "task")

    def __init__(self, limits: TimeLimits, times: Times, ended: Callable[[int, Task], object]) -> None:
        """Begin with none. `ended` is called with a message and its task where `answer` has not answered it."""
        self._limits = limits
        self._times = times
        self._ended = ended
        self.id = 0
        """The message that the handler is working on; 0 where no more may be answered to it."""
        self.task: Task | None = None
        """The handler; None if none waits."""
        self.began = 0.0
        """When it was called (`time.perf_counter`)."""
        self.seconds = 0.0
        """What it has added to the seconds of `times`."""
        self.cancelled = False
        """The client has cancelled the message."""
        self.answer: Callable[[int, object], bool] | None = None
        """Set by the fast path: sends an answer if nothing else is to be done, and returns whether it has."""
        self.count: Callable[[], object] | None = None
        """Set by the fast path: counts a message that is given to `wait`."""

    def begin(self, id: int, task: Task, began: float) -> None:
        """Wait for the end of `task`, which calls this object; its handler was called at `began`."""
        self.id, self.task, self.began, self.cancelled = id, task, began, False

    def wait(self, unanswered: Unanswered, began: float) -> None:
        """Go on with a message of the fast path whose coroutine waits, as `begin`; first count it."""
        id, _, _, waiting = unanswered
        assert waiting is not None
        if self.count is not None:
            self.count()
        task, waits_for = waiting
        task.go_on(waits_for)
        self.limit(id, task, began)

    def limit(self, id: int, task: Any, began: float) -> None:
        """Wait for the end of a `HandlerTask`, as `begin`, as long as handlers may take."""
        task.then = self
        self._limits.add(task)
        self.begin(id, task, began)

    def __call__(self, task: Task) -> None:
        """Answer the message of `task`, which has ended."""
        self.task = None
        self._limits.remove(task)
        seconds = time.perf_counter() - self.began
        self.seconds += seconds
        add_time(self._times, seconds)
        try:
            returned = not task.cancelled() and task.exception() is None
            if not (returned and self.answer is not None and self.answer(self.id, task.result())):
                self._ended(self.id, task)
        finally:
            del task  # the traceback of what was raised refers to this frame: no cycle


__all__ = ["PythonWaiting", "Task", "Waiting"]

try:
    from antiphon.server.handler._handler import Waiting
except ImportError:  # built without a compiler
    Waiting = PythonWaiting  # type: ignore[assignment,misc]
