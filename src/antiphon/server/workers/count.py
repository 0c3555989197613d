"""Number of workers: what `--workers` says, or the processors that this process may use."""

import math
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

from antiphon.data.store_note import store_of
from antiphon.errors import Problem, SettingInvalid
from antiphon.language import N_
from antiphon.settings import ProgramSettings, ServerSettings
from antiphon.store_address import files_folder

WORKERS_MOST = 64
AUTO = "auto"
PROGRAM = "exec:"
"""Prefix of a service that is a program."""
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""The processor time of a container (cgroup v2): microseconds of each period, and the period."""

_NO_COUNT = Problem(N_("must be auto or a whole number from 1 to {most}, not {value}"))
_NO_SOCKETS = Problem(N_("this system cannot pass connections between processes, so there can be only one"))
_NO_RELOAD = Problem(N_("this system cannot pass connections between processes, which a restart needs"))
_NOT_FILES = Problem(N_("a store of files has one worker; use the SQLite store for more"))
_TOO_FEW_PROGRAMS = Problem(
    N_("must be at least the number of workers, {workers}: each has its share of the programs")
)


def worker_count(
    value: str, service: str, settings: ServerSettings, program: ProgramSettings, *, reloads: bool
) -> int:
    """Return how many workers `--workers value` means.

    Args:
        value: a whole number, or `auto`.
        service: what answers, as `load` takes it.
        settings: the server's.
        program: the limits of programs.
        reloads: whether the server restarts when a file changes.

    Raises:
        SettingInvalid: there cannot be so many, with these settings or on this system.
        UsageError: as `store_of`.
    """
    count = processors() if value == AUTO else int(value) if value.isdecimal() and value.isascii() else 0
    if not 1 <= count <= WORKERS_MOST:
        raise SettingInvalid(source="--workers", problem=_NO_COUNT, most=WORKERS_MOST, value=value)
    if count == 1 and not reloads:
        return 1
    if sys.platform == "win32" or not hasattr(socket, "send_fds") or not sys.executable:
        if count == 1:
            raise SettingInvalid(source="--reload", problem=_NO_RELOAD)
        raise SettingInvalid(source="--workers", problem=_NO_SOCKETS)
    if count == 1:
        return 1
    if files_folder(store_of(settings)) is not None:
        raise SettingInvalid(source="--workers", problem=_NOT_FILES)
    if service.startswith(PROGRAM) and program.exec_most < count:
        raise SettingInvalid(source="--exec-most", problem=_TOO_FEW_PROGRAMS, workers=count)
    return count


def processors() -> int:
    """Return how many processors this process may use, 64 at most."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        allowed = os.cpu_count() or 1
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = _QUOTA.read_text("ascii").split()
        if quota != "max":
            allowed = min(allowed, math.ceil(int(quota) / int(period)))
    return max(1, min(allowed, WORKERS_MOST))


def share(most: int, workers: int, number: int) -> int:
    """Return the part of `most` that the worker `number`, from 0, has among `workers`."""
    return most // workers + (number < most % workers)
