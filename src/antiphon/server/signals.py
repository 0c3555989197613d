"""Signals of a server process: the first SIGTERM or Ctrl-C stops it in order, a second one at once.

A signal often arrives twice: the terminal sends Ctrl-C to the whole process group, and a wrapper (npm, `uv run`, a
supervisor) passes it on. So a second one counts only `REPEAT_SECONDS` after the first. The process ends
`EXIT_SECONDS` after the first signal, whatever keeps it (promise 24).

A handler of a session may keep the event loop busy. The signal handlers are therefore Python's own, which run
between two steps of any bytecode. Where they do not run either, because a handler computes in C, `_signals.c` ends
the process; without a C compiler only SIGKILL does.
"""

import asyncio
import contextlib
import faulthandler
import os
import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, ClassVar, Self

REPEAT_SECONDS = 1.0
"""Seconds from the first signal until a second one ends the process."""
EXIT_SECONDS = 27.0
"""Seconds from the first signal to the end of a process that does not stop: more than the longest drain takes."""
GUARD_SECONDS = 28.5
"""The same for a process that holds the interpreter: later, so that where it can be, the traceback is shown."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

guard: Callable[[tuple[int, ...], float, float], None] | None
try:
    from antiphon.server._signals import guard, release
except ImportError:  # no C compiler when it was installed, or Windows
    guard = None

    def release() -> None:
        """Do nothing: there is no guard."""


class StopSignals:
    """The handlers of SIGTERM and Ctrl-C, in a block of the main thread."""

    set_by: ClassVar["StopSignals | None"] = None
    """The block whose handlers are set in this process; `forking.py` takes them from children."""

    def __init__(self, stop: Callable[[int], None]) -> None:
        """Call `stop` with the number of the first signal, in the running event loop."""
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._came_at: float | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Set the handlers."""
        for number in STOP_SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        StopSignals.set_by = self
        if guard is not None:
            guard(STOP_SIGNALS, REPEAT_SECONDS, GUARD_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Set the handlers from before, and take the time limit away."""
        if StopSignals.set_by is not self:  # a child that a service has forked: its handlers are the default ones
            return
        StopSignals.set_by = None
        release()
        if self._came_at is not None:
            faulthandler.cancel_dump_traceback_later()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if self._came_at is None:
            self._came_at = now
            with contextlib.suppress(OSError, RuntimeError, ValueError):  # standard error is closed
                faulthandler.dump_traceback_later(EXIT_SECONDS, exit=True, file=2)  # a thread in C
            self._loop.call_soon_threadsafe(self._stop, number)
        elif now - self._came_at >= REPEAT_SECONDS:
            os._exit(128 + number)
