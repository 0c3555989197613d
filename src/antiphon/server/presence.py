"""What a service is told of a session beside its messages: that it has come, and behind that, that it has gone."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from antiphon.server.context import ServerContext
from antiphon.server.faults import called, in_time
from antiphon.services import Session

CLOSED_SECONDS = 5.0
"""What a service may take to stop, and to be told that a session is over."""


class Presence:
    """One session, as its service is told of it."""

    def __init__(self, context: ServerContext, session: Session, failed: Callable[[], None]) -> None:
        """Call `failed` when the service cannot take the session in; a service's fault is its own."""
        self._context = context
        self._session = session
        self._failed = failed
        self._told = False
        self._opening: asyncio.Task[None] | None = None

    def come(self) -> asyncio.Task[None] | None:
        """Tell the service, unless it knows; return what is under way while it takes that in."""
        if self._told:
            return None
        self._told = True
        try:
            taken_in = called(self._context.service.opened, self._session)
        except Exception as error:  # noqa: BLE001 - as said above
            self._not_opened(error)
            return None
        if taken_in is not None:
            self._opening = self._context.start(self._open(taken_in))
        return self._opening

    async def _open(self, taken_in: Awaitable[None]) -> None:
        try:
            await in_time(taken_in, self._context.settings.service_seconds)
        except Exception as error:  # noqa: BLE001 - as said above
            self._not_opened(error)

    def _not_opened(self, error: Exception) -> None:
        self._log(error)
        self._failed()

    async def go(self) -> None:
        """Tell the service that the session is over, if it knows of it; it does not take it in any more."""
        await stopped(self._opening)
        if not self._told:
            return
        try:
            told = called(self._context.service.closed, self._session)
            if told is not None:
                await in_time(told, CLOSED_SECONDS)
        except Exception as error:  # noqa: BLE001 - as said above
            self._log(error)

    def _log(self, error: Exception) -> None:
        session = self._session
        self._context.log.error("service-failed", name=session.name, address=session.address, exception=error)


async def stopped(task: asyncio.Future[Any] | None) -> None:
    """Have a task of a service end, if it lets itself be cancelled in time."""
    if task is not None and not task.done():
        asyncio.get_running_loop().call_soon(task.cancel)  # not before its own first step
        await asyncio.wait({task}, timeout=CLOSED_SECONDS)
