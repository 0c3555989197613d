"""Service manager of the system (systemd): the sockets that it passes, and what a server tells it.

Its variables are taken out of the environment at once, so that no process of a service acts on them. The protocols
are those of `sd_notify(3)`, `sd_listen_fds(3)` and `sd_watchdog_enabled(3)`.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Self

from antiphon.server.listen.ports import Passed

FIRST_DESCRIPTOR = 3
"""Number of the first passed socket."""
STATUS_SECONDS = 10.0
"""Pause between two lines of status."""
_VARIABLES = (
    "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDNAMES", "WATCHDOG_USEC",
    "WATCHDOG_PID",
)  # fmt: skip


class ServiceManager:
    """What started this process. Without a service manager nothing is told to anybody."""

    def __init__(
        self, notify: str = "", passed: tuple[Passed, ...] = (), watchdog_seconds: float | None = None
    ) -> None:
        """Be told over the socket `notify`, if it is not empty.

        Args:
            notify: the path of a datagram socket; one that begins with `@` is in the abstract namespace.
            passed: sockets on which to listen.
            watchdog_seconds: time without a word after which the service is taken to hang.
        """
        self.passed = passed
        self._address = f"\0{notify[1:]}" if notify.startswith("@") else notify
        self._watched = watchdog_seconds is not None
        self._pause = min(STATUS_SECONDS, watchdog_seconds / 2 if watchdog_seconds else STATUS_SECONDS)
        self._unsent: list[str] = []
        """What the system has not taken."""
        self._status: Callable[[], str] | None = None
        """None before the server serves."""
        self._told = ""
        """The last line of status."""
        self._is_stopping = False
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def taken(cls, environment: MutableMapping[str, str]) -> Self:
        """Return the service manager that `environment` tells of, whose variables are removed there.

        The passed sockets are this process's own from now on. Precondition: no child was started yet.
        """
        found = {name: environment.pop(name, "") for name in _VARIABLES}
        here = str(os.getpid())
        passed: tuple[Passed, ...] = ()
        if found["LISTEN_PID"] == here and os.name == "posix":
            passed = _passed(_number(found["LISTEN_FDS"]), found["LISTEN_FDNAMES"].split(":"))
        watchdog = _number(found["WATCHDOG_USEC"]) if found["WATCHDOG_PID"] in ("", here) else 0
        notify = found["NOTIFY_SOCKET"] if found["NOTIFY_SOCKET"].startswith(("/", "@")) else ""
        return cls(notify, passed, watchdog / 1e6 or None)

    def ready(self, status: Callable[[], str]) -> None:
        """Tell that the server serves, and from now on its `status`, in one line, and that its event loop runs."""
        self._status = status
        if self._address:
            self._tell("READY=1", *self._status_lines())
            self._again()

    def reloading(self) -> None:
        """Tell that a reload begins."""
        if self._status is not None and not self._is_stopping:
            self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """Tell that a reload is over, whether it has worked or not."""
        if self._status is not None and not self._is_stopping:
            self._tell("READY=1")

    def stopping(self) -> None:
        """Tell that the server stops."""
        if not self._is_stopping:
            self._is_stopping = True
            self._tell("STOPPING=1", "STATUS=stopping")

    def close(self) -> None:
        """Tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._tick)

    def _tick(self) -> None:
        self._tell(*(["WATCHDOG=1"] if self._watched else []), *self._status_lines())
        self._again()

    def _status_lines(self) -> list[str]:
        """Return the line of status, unless it is as it was."""
        line = f"STATUS={self._status()}" if self._status and not self._is_stopping else self._told
        self._told, before = line, self._told
        return [] if line == before else [line]

    def _tell(self, *lines: str) -> None:
        """Send lines; what the system does not take now goes with the next ones."""
        self._unsent += lines
        if not self._address or not self._unsent:
            self._unsent.clear()
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)  # noqa: FBT003 - the socket module's signature
                sock.sendto("\n".join(self._unsent).encode(), self._address)
        except BlockingIOError:
            self._unsent = [line for line in self._unsent if not line.startswith(("WATCHDOG", "STATUS"))]
            return
        except OSError:  # nobody is there
            pass
        self._unsent.clear()


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 16 else 0


def _passed(count: int, names: list[str]) -> tuple[Passed, ...]:
    """Return the passed sockets with their names."""
    passed: list[Passed] = []
    for index in range(count):
        with contextlib.suppress(OSError):  # there is no such descriptor, or it is no socket
            sock = socket.socket(fileno=FIRST_DESCRIPTOR + index)
            sock.set_inheritable(False)
            sock.setblocking(False)  # noqa: FBT003 - the socket module's signature
            passed.append(Passed(names[index] if index < len(names) else "", sock))
    return tuple(passed)
