"""Background tasks: work that the server runs beside everything else and waits for before it stops."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundTasks:
    """The background tasks of one server."""

    __slots__ = ("_tasks", "stopping")

    def __init__(self) -> None:
        """Begin with none."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self.stopping = False
        """Whether the server is stopping: work that is repeated until it succeeds gives up."""

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` as a task of the current event loop."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def __len__(self) -> int:
        """Return how many tasks are not done."""
        return len(self._tasks)

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        """Iterate over a copy, so that tasks may end meanwhile."""
        return iter(list(self._tasks))
