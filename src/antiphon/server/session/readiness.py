"""Back-pressure for handlers that send much: `services.Session.ready`."""

import asyncio
import time
from collections.abc import Callable

SLICE_SECONDS = 0.005
"""The longest that a handler which never waits may send before other sessions run."""


class Readiness:
    """Waits until a session may send more."""

    __slots__ = ("_room", "_slice_ends")

    def __init__(self) -> None:
        """Start ready."""
        self._room: asyncio.Event | None = None
        """Set when there is room; there is one while somebody waits for it."""
        self._slice_ends = 0.0
        """Monotonic time."""

    async def wait(self, blocked: Callable[[], bool]) -> None:
        """Wait while `blocked()`; after each time slice let other sessions run first."""
        if time.monotonic() >= self._slice_ends:  # loop time stands still within a step
            await asyncio.sleep(0)
            self._slice_ends = time.monotonic() + SLICE_SECONDS
        while blocked():
            self._room = self._room or asyncio.Event()
            await self._room.wait()

    def wake(self) -> None:
        """Let those who wait look again."""
        if self._room is not None:
            self._room.set()
            self._room = None
