"""Lifecycle hooks of a service: `opened` before the first message of a session, `closed` after the last."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from antiphon.server.handler.environment import HandlerEnvironment
from antiphon.server.handler.guard import call, in_time
from antiphon.services import Session

CLOSED_SECONDS = 5.0
"""The longest that a service may take to stop a handler, and to return from `closed`."""


class Lifecycle:
    """The hooks of one session. What a hook raises is logged."""

    __slots__ = ("_environment", "_failed", "_opening", "_session", "opened")

    def __init__(self, environment: HandlerEnvironment, session: Session, failed: Callable[[], None]) -> None:
        """Prepare the hooks for `session`; `failed` is called when `opened` raises or takes too long."""
        self._environment = environment
        self._session = session
        self._failed = failed
        self.opened = False
        """`opened` was called."""
        self._opening: asyncio.Task[None] | None = None

    @property
    def opening(self) -> bool:
        """Whether an asynchronous `opened` is still running."""
        return self._opening is not None and not self._opening.done()

    def open(self) -> asyncio.Task[None] | None:
        """Call `opened` once; return the task if it runs on."""
        if self.opened:
            return None
        self.opened = True
        try:
            running = call(self._environment.service.opened, self._session)
        except Exception as error:  # noqa: BLE001 - the service's own
            self._not_opened(error)
            return None
        if running is not None:
            self._opening = self._environment.tasks.start(self._open(running))
        return self._opening

    async def _open(self, running: Awaitable[None]) -> None:
        try:
            await in_time(running, self._environment.seconds)
        except Exception as error:  # noqa: BLE001 - the service's own
            self._not_opened(error)

    def _not_opened(self, error: Exception) -> None:
        self._log(error)
        self._failed()

    async def close(self) -> None:
        """Stop an `opened` that still runs, then call `closed` if `opened` was called."""
        await stop(self._opening)
        if not self.opened:
            return
        try:
            running = call(self._environment.service.closed, self._session)
            if running is not None:
                await in_time(running, CLOSED_SECONDS)
        except Exception as error:  # noqa: BLE001 - the service's own
            self._log(error)

    def _log(self, error: Exception) -> None:
        session = self._session
        self._environment.log.error("service-failed", name=session.name, address=session.address, exception=error)


async def stop(task: asyncio.Future[Any] | None) -> None:
    """Cancel a task of the service and wait for its end, at most `CLOSED_SECONDS`."""
    if task is not None and not task.done():
        asyncio.get_running_loop().call_soon(task.cancel)  # after its first step, or that would never run
        await asyncio.wait({task}, timeout=CLOSED_SECONDS)
