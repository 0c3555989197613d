"""Fence: holds a process back that has not run for so long that others may have claimed its sessions.

A process that was stopped, or starved of processor time, does not notice: its next step comes as if nothing had
been. So it looks at the monotonic clock before each batch of messages and each step of a handler. After a gap the
fence is closed: no session is touched until its home has read again which sessions are still its own.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from types import coroutine
from typing import Any, Protocol

from antiphon.transport.endpoint import FROZEN_SECONDS

_RAN_AT, _CLOSED = 0, 1


class Recover(Protocol):
    """Recovery of a home behind a closed fence."""

    def __call__(self) -> None:
        """Read the claims again, then call `Fence.recovered`. It is called in the thread of the event loop."""


class Fence:
    """The fence of this process; every home in it takes part. One event loop uses it, and threads may close it."""

    def __init__(self) -> None:
        """Begin open, without homes."""
        self.state = bytearray(16)
        """Two doubles, for the twin in C: the monotonic time of the last look (0: no home), and 1 while closed."""
        self._state = memoryview(self.state).cast("d")
        self._lock = threading.Lock()
        self._homes: dict[Recover, asyncio.AbstractEventLoop] = {}
        self._missing: set[Recover] = set()
        """Homes that have not recovered since the fence was closed."""
        self._waiting: list[Callable[[], object]] = []
        self.closings = 0
        """How often it was closed; a home that recovers names the number that it has begun with."""

    def join(self, recover: Recover) -> None:
        """Take a home of the running event loop in: `recover` is called when the fence has closed."""
        with self._lock:
            self._homes[recover] = asyncio.get_running_loop()
            self._state[_RAN_AT] = time.monotonic()

    def leave(self, recover: Recover) -> None:
        """Let a home go."""
        with self._lock:
            self._homes.pop(recover, None)
            if not self._homes:
                self._state[_RAN_AT] = 0.0
        self._open_without(recover)

    def check(self) -> bool:
        """Return whether sessions may be touched. Called before each batch and each step; from any thread."""
        state = self._state
        ran_at = state[_RAN_AT]
        if ran_at:
            now = time.monotonic()
            if now - ran_at > FROZEN_SECONDS:
                self.close()
            state[_RAN_AT] = now
        return not state[_CLOSED]

    def close(self) -> None:
        """Close it, and have each home read its claims again."""
        with self._lock:
            if not self._homes:
                return
            self.closings += 1
            self._state[_CLOSED] = 1.0
            self._state[_RAN_AT] = time.monotonic()
            if self._missing:  # they recover already, and begin again when they see the number
                return
            self._missing = set(self._homes)
            for recover, loop in self._homes.items():
                loop.call_soon_threadsafe(recover)

    def recovered(self, recover: Recover, closings: int) -> bool:
        """Note that a home has read its claims; return False if the fence was closed again since `closings`."""
        self.check()
        if closings != self.closings:
            return False
        self._open_without(recover)
        return True

    def _open_without(self, recover: Recover) -> None:
        with self._lock:
            was_missing = recover in self._missing
            self._missing.discard(recover)
            if self._missing or not was_missing:
                return
            self._state[_CLOSED] = 0.0
            waiting, self._waiting = self._waiting, []
        for go_on in waiting:
            go_on()

    def wait(self, go_on: Callable[[], object]) -> None:
        """Have the running event loop call `go_on` once the fence is open."""
        call = partial(asyncio.get_running_loop().call_soon_threadsafe, go_on)
        with self._lock:
            if self._state[_CLOSED]:
                self._waiting.append(call)
                return
        call()

    def opened(self) -> "asyncio.Future[None]":
        """Return a future that is done once the fence is open."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.wait(partial(_settle, future))
        return future


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


fence = Fence()
"""The fence of this process."""


@coroutine
def guarded(work: Awaitable[Any]) -> Generator[Any, Any, Any]:
    """Await `work`; each of its steps is taken only while the fence is open."""
    steps = _awaited(work)
    failure: BaseException | None = None
    while True:
        while failure is None and not fence.check():
            try:
                yield from fence.opened()
            except BaseException as error:  # noqa: BLE001 - it is thrown into the coroutine
                failure = error
        try:
            waits_for = steps.send(None) if failure is None else steps.throw(failure)
        except StopIteration as done:
            return done.value
        failure = None
        try:
            yield waits_for
        except BaseException as error:  # noqa: BLE001 - likewise
            failure = error


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work
