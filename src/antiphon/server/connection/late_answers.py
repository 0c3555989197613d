"""Late answers: those of handlers that wait only briefly are written together."""

import asyncio
import time
from functools import partial

from antiphon.server.connection.write_buffer import WriteBuffer
from antiphon.server.home.fence import fence
from antiphon.server.turn_budget import TURN_SECONDS

IDLE_ITERATIONS = 2
"""Iterations of the event loop without a new answer after which those that wait are written: a handler that is
woken through a queue takes two."""
ALONE_MOST = 16
"""Answers that do not wait for others of their connection after one that has waited in vain."""


class LateAnswers:
    """Answers of one connection that wait for the next ones. Whatever else is written calls `write` first."""

    __slots__ = ("_alone", "_flushing", "_until", "_writer", "frames")

    def __init__(self, writer: WriteBuffer) -> None:
        """Write to `writer`."""
        self._writer = writer
        self._until = 0.0
        self._alone = 0
        """Answers that are still not to wait: none comes soon after them."""
        self._flushing = False
        """`_flush` is due."""
        self.frames: list[bytes] = []
        """The answers, in order; always the same list. Clear it to write none of them."""

    def add(self, frame: bytes, *, last: bool) -> None:
        """Write an answer together with those of the next iterations, and at the latest when a turn is over.

        With `last`, none follows: write all of them now. While there are `frames`, others may be appended to them.
        """
        frames, now = self.frames, time.monotonic()
        frames.append(frame)
        if len(frames) == 1:
            self._until = now + TURN_SECONDS
        if last or self._alone or now >= self._until:
            self._alone = max(0, self._alone - 1)
            self.write()
        elif not self._flushing:
            self._flush_after(len(frames), IDLE_ITERATIONS)

    def take(self, frame: bytes) -> int:
        """Add an answer that others follow; return how many of the next ones the caller writes itself."""
        self.add(frame, last=False)
        alone, self._alone = self._alone, 0
        return alone

    def write(self) -> None:
        """Write all of them now."""
        if self.frames:
            frames = self.frames[:]
            self.frames.clear()  # before the write, which may come here again
            self._writer.put(frames[0] if len(frames) == 1 else b"".join(frames))

    def write_in_turn(self) -> None:
        """Write all of them, as soon as the fence is open."""
        if fence.check():
            self.write()
        else:
            fence.wait(self.write_in_turn)

    def _flush_after(self, count: int, iterations: int) -> None:
        self._flushing = True
        asyncio.get_running_loop().call_soon(self._flush, count, iterations)

    def _flush(self, count: int, iterations: int) -> None:
        """Write them if there are still `count`, once that has been so for some more `iterations`."""
        self._flushing = False
        present = len(self.frames)
        if not present:
            return
        if not fence.check():
            self._flushing = True
            fence.wait(partial(self._flush, present, 0))
        elif (present == count and not iterations) or time.monotonic() >= self._until:
            if present == 1:
                self._alone = ALONE_MOST
            self.write()
        else:
            self._flush_after(present, iterations - 1 if present == count else IDLE_ITERATIONS)
