"""Signals of a server process: the first SIGTERM or Ctrl-C stops it in order, a second one at once.

A signal often arrives twice: the terminal sends Ctrl-C to the whole process group, and a wrapper (npm, `uv run`, a
supervisor) passes it on. So a second one counts only `REPEAT_SECONDS` after the first. The process ends
`EXIT_SECONDS` after the first signal, whatever keeps it (promise 24).

A handler of a session may keep the event loop busy. The signal handlers are therefore Python's own, which run
between two steps of any bytecode. Where they do not run either, because a handler computes in C, `_signals.c` ends
the process; without a C compiler only SIGKILL does.

SIGHUP is sent by an operator, or by the system when the terminal of the process is closed. In the second case the
process has no terminal any more, and stops.
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
HANG_UP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""Not on Windows."""

guard: Callable[[tuple[int, ...], float, float], None] | None
try:
    from antiphon.server._signals import guard, release
except ImportError:  # no C compiler when it was installed, or Windows
    guard = None

    def release() -> None:
        """Do nothing: there is no guard."""


class StopSignals:
    """The handlers of SIGTERM, Ctrl-C and SIGHUP, in a block of the main thread."""

    set_by: ClassVar["StopSignals | None"] = None
    """The block whose handlers are set in this process; `forking.py` takes them from children."""

    def __init__(
        self,
        stop: Callable[[int], None],
        reload: Callable[[], None],
        *,
        at_once: Callable[[], None] | None = None,
    ) -> None:
        """Set nothing yet.

        Args:
            stop: called with the number of the first signal that stops, in the running event loop.
            reload: called at SIGHUP, likewise.
            at_once: called before a second signal ends the process. With it there is no time limit, and no guard:
                nothing may block the event loop.
        """
        self._stop = stop
        self._reload = reload
        self._at_once = at_once
        self._had_terminal = _has_terminal()
        self._loop = asyncio.get_running_loop()
        self._came_at: float | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Set the handlers."""
        for number in STOP_SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        if HANG_UP is not None and signal.getsignal(HANG_UP) != signal.SIG_IGN:  # as `nohup` has it
            self._before[HANG_UP] = signal.signal(HANG_UP, self._on_hang_up)
        StopSignals.set_by = self
        if guard is not None and self._at_once is None:
            guard(STOP_SIGNALS, REPEAT_SECONDS, GUARD_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Set the handlers from before. The time limit stays: see `lift_time_limit`."""
        if StopSignals.set_by is not self:  # a child that a service has forked: its handlers are the default ones
            return
        StopSignals.set_by = None
        release()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def numbers(self) -> list[signal.Signals]:
        """The signals whose handlers are set."""
        return list(self._before)

    @property
    def came(self) -> bool:
        """Whether the first signal has come."""
        return self._came_at is not None

    def begin(self, number: int) -> None:
        """Act as if the signal `number` had come; if one has come already, do nothing."""
        if self._came_at is None:
            self._came_at = time.monotonic()
            if self._at_once is None:
                with contextlib.suppress(OSError, RuntimeError, ValueError):  # standard error is closed
                    faulthandler.dump_traceback_later(EXIT_SECONDS, exit=True, file=2)  # a thread in C
            self._loop.call_soon_threadsafe(self._stop, number)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._came_at is None:
            self.begin(number)
        elif time.monotonic() - self._came_at >= REPEAT_SECONDS:
            if self._at_once is not None:
                self._at_once()
            os._exit(128 + number)

    def _on_hang_up(self, number: int, frame: FrameType | None) -> None:
        if self._had_terminal and not _has_terminal():
            self._on_signal(number, frame)
        else:
            self._loop.call_soon_threadsafe(self._reload)


def lift_time_limit() -> None:
    """Let the process go on for as long as it likes. Call it when the event loop is closed.

    Until then a task of the service that cannot be cancelled, or a thread, may keep the process.
    """
    faulthandler.cancel_dump_traceback_later()


def _has_terminal() -> bool:
    """Return whether the process has a controlling terminal: the system takes it away before it sends SIGHUP."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | getattr(os, "O_NOCTTY", 0)))
    except OSError:
        return False
    return True
