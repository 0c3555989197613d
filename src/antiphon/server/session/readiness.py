"""Back-pressure for handlers that send much: `services.Session.ready`."""

import asyncio
import time
from collections.abc import Callable

from antiphon.server.turn_budget import TurnBudget


class Readiness:
    """Waits until a session may send more."""

    __slots__ = ("_room", "_turn_ends", "_turns")

    def __init__(self, turns: TurnBudget) -> None:
        """Start ready; a handler that never waits sends for a turn of `turns` before other sessions run."""
        self._turns = turns
        self._room: asyncio.Event | None = None
        """Set when there is room; there is one while somebody waits for it."""
        self._turn_ends = 0.0
        """Monotonic time."""

    async def wait(self, blocked: Callable[[], bool]) -> None:
        """Wait while `blocked()`; after each turn let other sessions run first."""
        if time.monotonic() >= self._turn_ends:  # loop time stands still within a step
            await self._turns.next_turn()
            self._turn_ends = time.monotonic() + self._turns.seconds
        while blocked():
            self._room = self._room or asyncio.Event()
            await self._room.wait()

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for room."""
        return self._room is not None

    def wake(self) -> None:
        """Let those who wait look again."""
        if self._room is not None:
            self._room.set()
            self._room = None
