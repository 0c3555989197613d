"""Turn budget: how much one connection may do before the others have their turn.

A turn is what a connection handles before it returns to the event loop. It ends after a share of the loop's time;
before sign-in bytes and frames are bounded as well.
"""

import asyncio

from antiphon.wire.kinds import KIB

ENTRY_READ_LIMIT = 16 * KIB
"""Bytes that are read in one turn before sign-in: more than any honest client sends ahead."""
SESSION_READ_LIMIT = 64 * KIB
"""Bytes that are read in one turn in a session with a proved password; the others keep `ENTRY_READ_LIMIT`. What a
turn leaves of them stays in memory until the next one."""
IDLE_FRAMES_MOST = 64
"""Frames that ask for nothing (HEARTBEAT, optional kinds) before sign-in. A client has 20 s to sign in, and by
default sends one HEARTBEAT in that time."""
ROUND_SECONDS = 0.01
"""Time in which each connection that has more to do gets one turn. An honest client's answer can take several such
rounds: its message is read in one, a handler that waits ends in another."""
TURN_SECONDS = 0.002
"""The longest turn, while few connections have more to do than fits into one."""
TURN_SECONDS_LEAST = 0.0001
"""The shortest turn: several dozen frames, or one slow handler."""


class TurnBudget:
    """Shares the time of the event loop among the connections that wait for their next turn."""

    __slots__ = ("_waiting", "seconds")

    def __init__(self) -> None:
        """Start with no connection waiting."""
        self._waiting = 0
        self.seconds = TURN_SECONDS
        """What one turn may take now."""

    def wait(self) -> None:
        """Count one more that waits for its next turn."""
        self._share(1)

    def go_on(self) -> None:
        """Count one less: its turn has come, or it is gone."""
        self._share(-1)

    async def next_turn(self) -> None:
        """Let the others have their turn first."""
        self.wait()
        try:
            await asyncio.sleep(0)
        finally:
            self.go_on()

    def _share(self, more: int) -> None:
        self._waiting += more
        self.seconds = max(TURN_SECONDS_LEAST, min(TURN_SECONDS, ROUND_SECONDS / (self._waiting + 1)))
