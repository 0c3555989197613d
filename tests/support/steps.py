"""A task for the first step of a coroutine, in tests of the fast path without an event loop."""

from collections.abc import Generator
from contextvars import Context, copy_context
from types import coroutine
from typing import Any, ClassVar

from antiphon.wire.batch import Stepping


class Cancelled(Exception):
    """Raised for a coroutine that has cancelled its own task."""


class Task:
    """A task that knows what a task of asyncio knows, as far as a first step goes."""

    current: ClassVar["Task | None"] = None
    coroutine: Any
    variables: Context
    is_cancelled = False
    name = "handler"
    outcome: object = None
    """The result or the error; None until the task has ended."""

    def cancel(self) -> None:
        self.is_cancelled = True

    def returned(self, value: object) -> object:
        self.outcome = Cancelled() if self.is_cancelled else value
        if self.is_cancelled:
            raise Cancelled
        return value

    def raised(self, error: BaseException) -> None:
        self.outcome = error


def stepping(told: list[object] | None = None, variables: Context | None = None) -> Stepping:
    """Return how a first step is taken with `Task`; who becomes the current task, and no longer, is told."""

    def enter(loop: object, task: Task) -> None:
        assert loop == "loop"
        if Task.current is not None:
            raise RuntimeError("a task is running")
        Task.current = task
        if told is not None:
            told.append(("enter", type(task)))

    def leave(loop: object, task: Task) -> None:
        assert (loop, Task.current) == ("loop", task)
        Task.current = None
        if told is not None:
            told.append(("leave", type(task)))

    return Stepping(Task, enter, leave, "loop", variables or copy_context())


@coroutine
def something() -> Generator[str, None, str]:
    """Wait for something that never comes."""
    yield "something"
    return "never"
