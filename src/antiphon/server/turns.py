"""The handlers that wait for something, and how long each may: one timer for all, as the oldest is due first."""

import asyncio
from collections.abc import Iterator
from typing import Any

from antiphon.server.turn import Turn


class Turns:
    """The turns that are under way, each of which has the same time."""

    __slots__ = ("_begun", "_seconds", "_timer")

    def __init__(self, seconds: float) -> None:
        """Cancel a turn when it has taken `seconds`."""
        self._seconds = seconds
        self._begun: dict[Any, float] = {}
        """When each of them began, in loop time; the oldest stands first."""
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._begun)

    def __iter__(self) -> Iterator[Turn]:
        """Go through them."""
        return iter(self._begun)

    def begin(self, turn: Turn) -> None:
        """Count the time of a turn from now on."""
        loop = turn.get_loop()
        now = self._begun[turn] = loop.time()
        if self._timer is None:
            self._timer = loop.call_at(now + self._seconds, self._look)

    def end(self, turn: asyncio.Future[Any]) -> None:
        """Let go of one that has ended, if it was a turn."""
        self._begun.pop(turn, None)

    def _look(self) -> None:
        """Cancel those whose time is over; look again when that of the next one is."""
        self._timer = None
        for turn, begun in list(self._begun.items()):
            if not turn.late:
                loop = turn.get_loop()
                if begun + self._seconds > loop.time():
                    self._timer = loop.call_at(begun + self._seconds, self._look)
                    break
                turn.late = True
                turn.cancel()
