"""Launcher script: runs the program of one session and ends all its processes with it.

`program.py` runs it as `python -IS launch.py LEASH MEMORY COMMAND...`. It imports nothing of the package, so that
it starts quickly. LEASH is the reading end of a pipe (a file descriptor); the server holds the writing end. When
that end closes, for whatever reason, or when the program ends, the launcher ends every process that the program
has started.

The launcher is two processes: a keeper, which the server starts, and below it a watcher, which starts the program.
If one of them is killed, the other ends the program. On Linux both are subreapers: a process whose parent has
ended becomes the watcher's child, or the keeper's once there is no watcher, whatever session and group it is in.
Where a control group can be made, the program runs in it, and the system ends all of it at once.
"""

import contextlib
import ctypes
import functools
import os
import select
import signal
import sys
import time
from collections.abc import Callable

GRACE_SECONDS = 1.0
"""Seconds that a program may take to end after the end of its input, and again after SIGTERM."""
KILL_SECONDS = 5.0
"""Seconds in which processes are killed one after another without a pause; then with one."""
PAUSE_SECONDS = 0.02
"""Seconds between two passes after that."""
REAPED_AT_ONCE = 64
"""Ended processes that are reaped in one look: more may end meanwhile, without end."""
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36
"""Operations of `prctl` on Linux."""
_NOT_STARTED = 127
"""Exit code if the program could not be run, the convention of shells."""
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Sent by a service manager to every process of the server. They do not end a launcher: the server does."""


class ControlGroup:
    """A control group (cgroup v2) of one program, below that of the server: the system kills all that is in it."""

    def __init__(self, launcher: int) -> None:
        """Name the group of the program below the keeper with the process id `launcher`."""
        self._path = f"{_own_group()}/antiphon-{launcher}"

    def make(self) -> bool:
        """Make the group; return False if that is not possible or not allowed, or Linux is older than 5.14."""
        try:
            os.mkdir(self._path)  # noqa: PTH102 - pathlib takes time to load
        except OSError:
            return False
        if os.access(f"{self._path}/cgroup.kill", os.W_OK):
            return True
        self.remove()
        return False

    def enter(self) -> None:
        """Put this process into the group, if it may."""
        self._write("cgroup.procs", b"0")

    def kill(self) -> None:
        """Kill every process in the group."""
        self._write("cgroup.kill", b"1")

    def remove(self) -> None:
        """Remove the group, if no process is left in it."""
        with contextlib.suppress(OSError):
            os.rmdir(self._path)  # noqa: PTH106 - pathlib takes time to load

    def _write(self, name: str, data: bytes) -> None:
        with contextlib.suppress(OSError), open(f"{self._path}/{name}", "wb", buffering=0) as file:  # noqa: PTH123
            file.write(data)


@functools.cache
def _own_group() -> str:
    """Return the folder of our own control group (version 2), or one that does not exist."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        with open("/proc/self/mountinfo") as file:  # noqa: PTH123 - pathlib takes time to load
            root, mounted = next(line.split()[3:5] for line in file if " - cgroup2 " in line)
        with open("/proc/self/cgroup") as file:  # noqa: PTH123 - likewise
            own = next(line[3:].strip() for line in file if line.startswith("0::"))
        return mounted + own.removeprefix(root.rstrip("/")).rstrip("/")
    return "/nowhere"


class Children:
    """The child processes of this process, and those that became ours because their parent has ended."""

    def __init__(self, group: ControlGroup) -> None:
        """Become a subreaper; `group` is where they run, if it exists."""
        self.status: dict[int, int] = {}
        """Wait status of each child of `watched` that has ended."""
        self.watched: set[int] = set()
        self._group = group
        _prctl(_SET_CHILD_SUBREAPER, 1)

    def left(self, most: int = REAPED_AT_ONCE) -> bool:
        """Reap children that have ended, `most` of them; return whether any may be left."""
        for _ in range(most):
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid in self.watched:
                self.status[pid] = status
        return True

    def signal(self, number: int) -> bool:
        """Send a signal to every child; return whether any of them could get it."""
        reached = False
        for pid in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):  # setuid: it runs as another user
                os.kill(pid, number)
                reached = True
        return reached

    def kill(self) -> None:
        """Kill until none is left: whoever forks on leaves its child to us. Those of another user are left.

        The system reaps who ends from now on: each pass then signals those that live, and not thousands that have
        ended beside them. The status of those that have not been reaped is lost.
        """
        began = time.monotonic()
        self._group.kill()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        self.left(sys.maxsize)  # those that have ended before
        while self.left():
            reached = self.signal(signal.SIGKILL)
            if time.monotonic() - began > KILL_SECONDS:
                if not reached and self.left():
                    break
                time.sleep(PAUSE_SECONDS)
        self._group.remove()


class Watcher:
    """A program in its own (POSIX) session and process group, with all processes that it starts."""

    def __init__(self, command: list[str], memory: int, group: ControlGroup) -> None:
        """Start `command`; `memory` limits the address space of each process, in bytes, 0 for no limit."""
        woken, self._wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(self._wake, False)
        self._woken = woken
        self._poll = select.poll()
        self._poll.register(woken, select.POLLIN)
        signal.set_wakeup_fd(self._wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._children = Children(group)
        us = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            group.enter()
            _become(command, memory, us)
        self._children.watched.add(self._pid)

    @property
    def status(self) -> int | None:
        """Wait status of the program; None while it runs."""
        return self._children.status.get(self._pid)

    def watch(self, *leashes: int) -> None:
        """Wait until the program ends or one of `leashes` closes."""
        for leash in leashes:
            self._poll.register(leash, select.POLLIN)
        while self._children.left() and self.status is None:
            if any(ready in leashes for ready, _ in self._wait(None)):
                break
        for leash in leashes:
            self._poll.unregister(leash)

    def end(self) -> None:
        """End all processes: wait `GRACE_SECONDS`, send SIGTERM, wait again, send SIGKILL."""
        self._wait_for(lambda: self.status is not None, GRACE_SECONDS)
        self._signal(signal.SIGTERM)
        self._wait_for(lambda: False, GRACE_SECONDS)
        self._signal(signal.SIGKILL)
        self._wait_for(lambda: self.status is not None, GRACE_SECONDS)
        self._children.kill()

    def _wait_for(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait until `done()` or until no process is left, for at most `seconds`."""
        deadline = time.monotonic() + seconds
        while self._children.left() and not done() and (rest := deadline - time.monotonic()) > 0:
            self._wait(rest)

    def _wait(self, seconds: float | None) -> list[tuple[int, int]]:
        ready = self._poll.poll(None if seconds is None else seconds * 1000)
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)
        return ready

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: only zombies are left
            os.killpg(self._pid, number)
        self._children.signal(number)


def _become(command: list[str], memory: int, parent: int) -> None:
    """Become the program, in the child process; never returns."""
    try:
        os.setsid()
        _prctl(_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the watcher ended before PDEATHSIG was set
            os._exit(_NOT_STARTED)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, *_ignored):  # programs do not expect them to be ignored
            signal.signal(number, signal.SIG_DFL)
        if memory:
            import resource  # noqa: PLC0415 - not on Windows, where the server reads `ControlGroup` from here

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
    with contextlib.suppress(OSError), open(f"/proc/{us}/task/{us}/children", "rb") as file:  # noqa: PTH123
        return [int(pid) for pid in file.read().split()]
    for entry in os.listdir("/proc") if sys.platform == "linux" else ():  # noqa: PTH208 - pathlib takes time to load
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:  # noqa: PTH123 - likewise
                if int(file.read().rpartition(b")")[2].split()[1]) == us:
                    found.append(int(entry))
    return found


_ignored: list[int] = []
"""Signals that the launcher ignores and the program does not."""


def _ignore_stop_signals() -> None:
    for number in _STOP_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # `nohup` has said so for the program too
            signal.signal(number, signal.SIG_IGN)
            _ignored.append(number)


def _close_streams() -> None:
    """Let go of the pipes to the server: it must see them close when the program ends, not when we do."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)


def _watch(command: list[str], memory: int, group: ControlGroup, *leashes: int) -> int:
    """Run the program and end it; return its exit code. Runs in the watcher."""
    watcher = Watcher(command, memory, group)
    _close_streams()
    watcher.watch(*leashes)
    watcher.end()
    return 1 if watcher.status is None else _exit_code(watcher.status)


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def main() -> None:
    """Run the program that the arguments name, and exit with its exit code."""
    leash, memory, *command = sys.argv[1:]
    os.set_inheritable(int(leash), False)  # noqa: FBT003 - its signature
    _ignore_stop_signals()
    group = ControlGroup(os.getpid())
    group.make()
    children = Children(group)
    keeper_lives, held = os.pipe()
    watcher = os.fork()
    if watcher == 0:
        os.close(held)
        code = 1
        try:
            code = _watch(command, int(memory), group, int(leash), keeper_lives)
        finally:
            os._exit(code)
    _close_streams()
    _, status = os.waitpid(watcher, 0)
    children.kill()  # nobody is left, unless the watcher was killed
    os._exit(_exit_code(status))


if __name__ == "__main__":
    main()
