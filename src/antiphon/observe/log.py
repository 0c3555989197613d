"""The server's log: one record a line, `time level event key=value ...`, with all values escaped.

Callers pass no secrets; as a second defence, fields whose names suggest one are hidden here.
"""

import logging
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ClassVar, get_args

from antiphon.observe import records
from antiphon.observe.logfile import LogWriter, open_file
from antiphon.printable import printable
from antiphon.settings import LogLevel

HIDDEN = frozenset({"password", "token", "secret", "key", "verifier", "data"})
"""The value of a field is hidden if its name contains one of these words."""
VALUE_LIMIT = 1_000
"""Characters of one value: enough for every name, too few for a peer to fill the disk."""
TRACEBACK_LIMIT = 20_000
"""Characters of a traceback. Its beginning is cut off, because the end says what happened."""

_LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)
_BARE = re.compile(r"[A-Za-z0-9_.:\[\]-]+")

Fields = Mapping[str, object]


class ServerLog:
    """An open log. An event is a fixed word with hyphens; variable data goes into fields.

    Logging never raises and never blocks, and is safe from every thread. After `close`, records are dropped.
    """

    show_fault: ClassVar[Callable[[BaseException], None] | None] = None
    """Shows exceptions that are logged as errors to a person too, in the whole process."""

    def __init__(self, writer: LogWriter, level: LogLevel) -> None:
        """Pass records of `level` and above to `writer`; `open_log` creates both."""
        self._writer = writer
        self._levels = _LEVELS[_LEVELS.index(level) :]
        self.debug_on = "debug" in self._levels
        """Whether debug records are written. The hot path checks this before it gathers fields."""
        self.events: Counter[str] = Counter()
        """Records by event, and by event and code with a space between, written or not; threads may lose some."""
        self._records = _Records(self)
        logging.getLogger().addHandler(self._records)
        logging.captureWarnings(capture=True)
        for record in records.take_early():
            self._records.handle(record)

    def debug(self, event: str, /, **fields: object) -> None:
        """Log details that help while searching for a fault."""
        self._write("debug", event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """Log normal operation."""
        self._write("info", event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Log what an operator may want to check: refusals, peers that were cut."""
        self._write("warning", event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """Log what an operator must act on."""
        self._write("error", event, fields)
        self.shown(fields.get("exception"))

    def exception(self, event: str, /, **fields: object) -> None:
        """Log the exception being handled, as an error with its traceback."""
        self.error(event, **fields, exception=sys.exception())

    def logged(self, level: LogLevel, /, **fields: object) -> None:
        """Log a record of `logging`."""
        self._write(level, "logged", fields)

    def shown(self, error: object) -> None:
        """Show an exception to the person who watches, if there is one; it is not logged."""
        show = ServerLog.show_fault
        if show is not None and isinstance(error, BaseException):
            show(error)

    def _write(self, level: LogLevel, event: str, fields: Fields) -> None:
        self.events[event] += 1
        if code := fields.get("code"):
            self.events[f"{event} {code}"] += 1
        if level not in self._levels:
            return
        error = fields.get("exception")
        if isinstance(error, BaseException):  # the log's thread does most of the work on a traceback
            fields = {**fields, "exception": _captured(error)}
            self._writer.put(partial(render, datetime.now(UTC), level, event, fields))
        else:
            self._writer.put(render(datetime.now(UTC), level, event, fields))

    @property
    def unwritten(self) -> int:
        """Number of records that could not be written, of which the file does not tell yet: the disk is full."""
        return self._writer.lost

    @property
    def dropped(self) -> int:
        """Number of records that could not be written, in all."""
        return self._writer.dropped

    def close(self) -> None:
        """Write the records that wait, for at most 2 s, and close the file."""
        logging.getLogger().removeHandler(self._records)
        logging.captureWarnings(capture=False)
        self._writer.close()


def open_log(path: Path, level: LogLevel = "info") -> ServerLog:
    """Open the log at `path` for records of `level` and above; `-` is standard error. Call `close` on the result.

    While the log is open, warnings of Python and records of the `logging` module go to it: from WARNING on; in a
    process of `antiphon serve`, those of the service at the log's level.

    Raises:
        FolderUnsafe: `path` is a symbolic link or belongs to another user.
        FolderUnusable: the file cannot be opened.
    """

    def lost(count: int) -> str:
        return render(datetime.now(UTC), "warning", "records-dropped", {"count": count})

    return ServerLog(LogWriter(open_file(path), lost), level)


def render(at: datetime, level: LogLevel, event: str, fields: Fields) -> str:
    """Return the line of one record; fields that are None are left out.

    Numbers and addresses are not quoted, so that fail2ban finds an address. Other values are in quotes, with
    quotes and backslashes in them escaped by a backslash.
    """
    time = at.isoformat(timespec="microseconds").removesuffix("+00:00")
    shown = [f"{key}={_shown(key, value)}" for key, value in fields.items() if value is not None]
    return " ".join((f"{time}Z", level, printable(event), *shown))


def _shown(key: str, value: object) -> str:
    if not HIDDEN.isdisjoint(key.split("_")):
        return '"***"'
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ",".join(_shown("", item) for item in value) + "]"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, BaseException):
        value = _captured(value)
    if isinstance(value, traceback.TracebackException):
        text = "".join(value.format()).rstrip()[-TRACEBACK_LIMIT:]
    else:
        text = _text(value)
        if key == "address" and _BARE.fullmatch(text):
            return text
        if key == "stacks":
            text = text[-TRACEBACK_LIMIT:]
        elif len(text) > VALUE_LIMIT:
            text = text[:VALUE_LIMIT] + "…"
    return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _captured(error: BaseException) -> traceback.TracebackException:
    """Return what a traceback is rendered from, without its source lines; it refers to no frame."""
    return traceback.TracebackException.from_exception(error, lookup_lines=False, compact=True)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a foreign class may raise here, and logging must not
        return f"<{type(value).__name__}>"


class _Records(logging.Handler):
    """A `logging` handler that writes to the server's log."""

    def __init__(self, log: ServerLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        if not records.is_wanted(record):
            return
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a wrong format string must not break the server
            message = str(record.msg)
        error = record.exc_info[1] if record.exc_info else None
        self._log.logged(records.level_of(record), source=record.name, message=message, exception=error)
