"""Records of `logging` in a process of `antiphon serve`: what a service logs goes to the server's log.

In a process of its own only: in a program that uses `Server`, the levels of `logging` are the program's. Handlers
and levels that the service sets while it is loaded stay; to that end the root logger has no handler until then.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Iterator

from antiphon.settings import LogLevel

EARLY_MOST = 1_000
"""Most records that are kept until the log is open; older ones are dropped."""
LEVELS: dict[LogLevel, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_OURS = frozenset({"antiphon", "asyncio", "concurrent", "cryptography", "filelock", "sqlalchemy", "uvloop"})
"""Loggers of libraries that a server runs on: below WARNING they speak of the server, and may show its data."""


def level_of(record: logging.LogRecord) -> LogLevel:
    """Return the level of the server's log that a record has."""
    number = record.levelno
    for level in ("error", "warning", "info"):
        if number >= LEVELS[level]:
            return level
    return "debug"


class _Process:
    """What this process takes of `logging`, and what was logged before its log was open."""

    def __init__(self) -> None:
        self.least = logging.WARNING
        self.early: deque[logging.LogRecord] = deque(maxlen=EARLY_MOST)


_process = _Process()


class _Early(logging.Handler):
    """The handler of last resort until the log is open."""

    def emit(self, record: logging.LogRecord) -> None:
        _process.early.append(record)


def is_wanted(record: logging.LogRecord) -> bool:
    """Return whether a record is the service's, or a warning of a library."""
    least = logging.WARNING if record.name.partition(".")[0] in _OURS else _process.least
    return record.levelno >= least


def take_early() -> list[logging.LogRecord]:
    """Return the records from before the log was open, once."""
    records = list(_process.early)
    _process.early.clear()
    return records


def keep_off_console() -> None:
    """Have `logging` print nothing by itself. Handlers that somebody adds do as they do."""
    logging.lastResort = logging.NullHandler()


@contextlib.contextmanager
def taken(level: LogLevel) -> Iterator[None]:
    """Take records of `level` and above from now on. In the block the service is loaded."""
    _process.least = LEVELS[level]
    root = logging.getLogger()
    ours = LEVELS[level] - 1  # one less, to see whether the service sets that level itself
    if root.level == logging.WARNING and not root.handlers:
        root.setLevel(ours)
    logging.lastResort = _Early()
    try:
        yield
    finally:
        if (
            root.level == ours and root.handlers
        ):  # the service has handlers of its own, which expect the usual level
            root.setLevel(logging.WARNING)
