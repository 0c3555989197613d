"""Launcher script: runs the program of one session and ends all its processes with it.

`program.py` runs it as `python -IS launch.py LEASH MEMORY COMMAND...`. It imports nothing of the package, so that
it starts quickly. LEASH is the reading end of a pipe (a file descriptor); the server holds the writing end. When
that end closes, for whatever reason, or when the program ends, the launcher ends every process that the program
has started.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable

GRACE_SECONDS = 1.0
"""Seconds that a program may take to end after the end of its input, and again after SIGTERM."""
KILL_SECONDS = 1.0
"""Seconds to wait for processes to end after SIGKILL."""
_LOOK_SECONDS = 0.02
"""Seconds between two searches for children that a killed process has left."""
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36
"""Operations of `prctl` on Linux."""
_NOT_STARTED = 127
"""Exit code if the program could not be run, the convention of shells."""


class Launched:
    """A program in its own (POSIX) session and process group, with all processes that it starts."""

    def __init__(self, command: list[str], memory: int) -> None:
        """Start `command`; `memory` limits the address space of each process, in bytes, 0 for no limit."""
        woken, self._wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(self._wake, False)
        self._woken = woken
        self._poll = select.poll()
        self._poll.register(woken, select.POLLIN)
        signal.set_wakeup_fd(self._wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        _prctl(_SET_CHILD_SUBREAPER, 1)  # descendants whose parent has ended become our children
        self.status: int | None = None
        """Wait status of the program; None while it runs."""
        us = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            _become(command, memory, us)

    def watch(self, leash: int) -> None:
        """Wait until the program ends or `leash` closes."""
        self._poll.register(leash, select.POLLIN)
        while self._left() and self.status is None:
            if any(ready == leash for ready, _ in self._wait(None)):
                break
        self._poll.unregister(leash)

    def end(self) -> None:
        """End all processes: wait `GRACE_SECONDS`, send SIGTERM, wait again, send SIGKILL."""
        self._wait_for(lambda: self.status is not None, GRACE_SECONDS)
        self._signal(signal.SIGTERM)
        self._wait_for(lambda: False, GRACE_SECONDS)
        deadline = time.monotonic() + KILL_SECONDS
        self._signal(signal.SIGKILL)
        while self._left() and time.monotonic() < deadline:
            self._signal(signal.SIGKILL)  # children that became ours when their parent died
            self._wait_for(lambda: False, _LOOK_SECONDS)

    def _wait_for(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait until `done()` or until no process is left, for at most `seconds`."""
        deadline = time.monotonic() + seconds
        while self._left() and not done() and (rest := deadline - time.monotonic()) > 0:
            self._wait(rest)

    def _wait(self, seconds: float | None) -> list[tuple[int, int]]:
        ready = self._poll.poll(None if seconds is None else seconds * 1000)
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)
        return ready

    def _left(self) -> bool:
        """Reap processes that have ended; return whether any is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._pid:
                self.status = status

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: only zombies are left
            os.killpg(self._pid, number)
        for pid in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):  # setuid: it runs as another user
                os.kill(pid, number)


def _become(command: list[str], memory: int, parent: int) -> None:
    """Become the program, in the child process; never returns."""
    try:
        os.setsid()
        _prctl(_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the launcher ended before PDEATHSIG was set
            os._exit(_NOT_STARTED)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # ignored by Python, which programs do not expect
            signal.signal(number, signal.SIG_DFL)
        if memory:
            _, most = resource.getrlimit(resource.RLIMIT_AS)
            memory = memory if most == resource.RLIM_INFINITY else min(memory, most)
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except (OSError, ValueError) as error:
        os.write(2, f"{command[0]}: {getattr(error, 'strerror', error)}\n".encode(errors="backslashreplace"))
    finally:
        os._exit(_NOT_STARTED)


def _prctl(what: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(what, value, 0, 0, 0)


def _children() -> list[int]:
    """Return the process ids of our children; none on systems without /proc."""
    us, found = os.getpid(), []
    for entry in os.listdir("/proc") if sys.platform == "linux" else ():  # noqa: PTH208 - pathlib takes time to load
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:  # noqa: PTH123 - likewise
                if int(file.read().rpartition(b")")[2].split()[1]) == us:
                    found.append(int(entry))
    return found


def main() -> None:
    """Run the program that the arguments name, and exit with its exit code."""
    leash, memory, *command = sys.argv[1:]
    os.set_inheritable(int(leash), False)  # noqa: FBT003 - its signature
    launched = Launched(command, int(memory))
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):  # the server must see the pipes close when the program ends, not when we do
        os.dup2(nothing, stream)
    launched.watch(int(leash))
    launched.end()
    code = 1 if launched.status is None else os.waitstatus_to_exitcode(launched.status)
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
