"""Pushes: what the service sends by itself, for an iteration or for a callback of the program."""

import asyncio
import inspect
from collections.abc import Callable

from antiphon.client.aio.answers import Answers
from antiphon.errors import Problem, UsageError
from antiphon.language import N_
from antiphon.wire.frames import Payload

OnPush = Callable[[Payload], object]
"""Takes one message; may be a coroutine function."""

_GIVEN = Problem(N_("The messages go to on_push, so they cannot be iterated over too."))
_ITERATED = Problem(N_("The messages are being iterated over, so they cannot go to on_push too."))


class Pushes(Answers):
    """Payloads that answer nothing.

    While there is a callback, it gets all of them, in order and one at a time, in a task that lasts as long as
    payloads wait. Without one they wait for an iteration.
    """

    _callback: OnPush | None = None
    _task: asyncio.Task[None] | None = None

    @property
    def callback(self) -> OnPush | None:
        """Receiver of the payloads; None: they wait."""
        return self._callback

    def give_to(self, callback: OnPush | None) -> None:
        """Give what waits, and everything that comes, to `callback`; None: let it wait.

        Raises:
            UsageError: an iteration is waiting for the next payload.
        """
        if callback is not None and self._waiter is not None and not self._waiter.done():
            raise UsageError(problem=_ITERATED)
        self._callback = callback
        self._deliver_soon()

    async def next(self) -> Payload | None:
        """Return the next payload, None at the end; see `Answers`.

        Raises:
            UsageError: a callback gets the payloads.
        """
        if self._callback is not None:
            raise UsageError(problem=_GIVEN)
        return await super().next()

    async def delivered(self) -> None:
        """Wait until the callback has had all that came; not from within the callback itself."""
        while (task := self._task) is not None and task is not asyncio.current_task():
            await asyncio.wait({task})
            if self._task is task:  # it was cancelled before its first step
                self._task = None

    async def stop(self) -> None:
        """Cancel the callback, and give it nothing more."""
        self._callback = None
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
            await self.delivered()

    def _wake(self) -> None:
        super()._wake()
        self._deliver_soon()

    def _deliver_soon(self) -> None:
        if self._callback is not None and self._items and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._deliver())

    async def _deliver(self) -> None:
        try:
            while self._items and (callback := self._callback) is not None:
                await self._give(callback, self._items[0])
        finally:
            self._task = None

    async def _give(self, callback: OnPush, payload: Payload) -> None:
        """Call the callback; if it fails, the event loop reports it and the next payload follows."""
        self.take()
        try:
            result = callback(payload)
            if inspect.isawaitable(result):
                await result
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            failure = {"message": f"{callback!r} failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(failure)
