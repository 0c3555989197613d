"""Source of what the endpoint shows: the last report, the history, and answers to those who look.

The server runs in another thread, and may not answer.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from antiphon.server.control.live import Live, LiveQuery
from antiphon.server.control.report import ServerReport
from antiphon.server.status.board import Posted, StatusBoard
from antiphon.server.status.history import History

LOOK_SECONDS = 1.5
"""Time in which the server must answer; with workers it waits for each of them a little less."""

Look = Callable[[LiveQuery], Coroutine[Any, Any, Live]]
"""Returns who is connected; it is called in the event loop of the server."""


class Source:
    """What a server says of itself: it posts in its event loop, another thread reads and asks."""

    def __init__(self) -> None:
        """Begin with a server that has said nothing."""
        self._board = StatusBoard()
        self.history = History()
        """Of the reports that were posted."""
        self._asked: tuple[asyncio.AbstractEventLoop, Look] | None = None

    def post(self, report: ServerReport) -> None:
        """Take a report of the server."""
        self._board.post(report)
        self.history.note(report)

    def read(self) -> Posted:
        """Return the last report."""
        return self._board.read()

    def answer_with(self, look: Look | None) -> None:
        """Have `look` answer from now on, in the running event loop; None: nobody does."""
        self._asked = None if look is None else (asyncio.get_running_loop(), look)

    async def look(self, query: LiveQuery) -> Live | None:
        """Return who is connected; None if the server does not answer in time."""
        if self._asked is None:
            return None
        loop, look = self._asked
        answer = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(look(query), loop))
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await answer
        except TimeoutError:
            return None
