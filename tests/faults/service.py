"""Service of the servers under test: it counts the messages of a session, and measures the lag of its loop."""

import asyncio
import contextlib
import json
import threading
import time
from pathlib import Path
from typing import Any

from antiphon import Session

TICK_SECONDS = 0.05


def _delays() -> dict[str, float]:
    """Return for how many seconds each thread of this process had to wait for a processor."""
    delays = {}
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it has just ended
            delays[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
    return delays


class Room:
    """Answers each message with itself and its number in the session, and `lag` with the largest lag."""

    def __init__(self) -> None:
        """Begin without lag."""
        self._lag = self._excess = 0.0

    def started(self, server: Any) -> None:
        """Measure from now on."""
        server.start_task(self._watch(), name="lag")

    def opened(self, session: Session) -> None:
        """Count from 0."""
        session.state = 0

    def received(self, message: str, session: Session) -> str:
        """Answer at once."""
        if message == "lag":
            said = json.dumps([self._lag, self._excess])
            self._lag = self._excess = 0.0
            return said
        session.state += 1
        return f"{message}={session.state}"

    async def _watch(self) -> None:
        """Measure the lag, and what of it the machine cannot have made, however busy it is with others."""
        before = _delays()
        while True:
            due = time.monotonic() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            lag = time.monotonic() - due
            now = _delays()
            grown = {task: delay - before.get(task, 0) for task, delay in now.items()}
            # This thread has waited for a processor; or for another one that held the interpreter and waited.
            machine = grown.pop(str(threading.get_native_id()), 0) + max(grown.values(), default=0)
            self._lag = max(self._lag, lag)
            self._excess = max(self._excess, lag - machine)
            before = now


ROOM = Room()
