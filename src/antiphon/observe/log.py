"""The server's log: one record a line, `time level event key=value ...`, whatever a value holds.

Secrets are hidden here once more, whoever may have passed them in. structlog is imported when a log is opened, so
that those who only name the type do not pay for it.
"""

import logging
import re
import traceback
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import Any

from antiphon.observe.logfile import LogFile, LogWriter
from antiphon.printable import printable
from antiphon.settings import LogLevel

HIDDEN = frozenset({"password", "token", "secret", "key", "verifier", "data"})
"""A field with one of these words in its name is never shown."""
VALUE_LIMIT = 1_000
"""Characters of one value; enough for every name, too few for a peer to fill the disk."""
TRACEBACK_LIMIT = 20_000
"""Characters of a traceback, which is shortened at its beginning: the end says what happened."""

_HEAD = ("timestamp", "level", "event")
_BARE = re.compile(r"[A-Za-z0-9_.:\[\]-]+")

Fields = MutableMapping[str, Any]


class ServerLog:
    """An open log. Events are fixed words with hyphens; what changes stands in the fields.

    Logging never raises and never waits. After `close`, records are dropped.
    """

    def __init__(self, logger: Any, writer: LogWriter, *, debug_on: bool) -> None:
        """Log through the structlog `logger`, whose lines go to `writer`; see `open_log`."""
        self._logger = logger
        self._writer = writer
        self.debug_on = debug_on
        """Whether debug records are written: the hot path asks before it gathers fields."""
        self._libraries = _Libraries(logger)
        logging.getLogger().addHandler(self._libraries)
        logging.captureWarnings(capture=True)

    def debug(self, event: str, /, **fields: object) -> None:
        """Log what only helps while looking for something."""
        self._logger.debug(event, **fields)

    def info(self, event: str, /, **fields: object) -> None:
        """Log what happens as it should."""
        self._logger.info(event, **fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Log what an operator may want to look at: refusals, peers that were cut."""
        self._logger.warning(event, **fields)

    def error(self, event: str, /, **fields: object) -> None:
        """Log what an operator must look at."""
        self._logger.error(event, **fields)

    def exception(self, event: str, /, **fields: object) -> None:
        """Log the exception that is being handled, as an error with its traceback."""
        self._logger.exception(event, **fields)  # noqa: LOG004 - callers stand in the handler

    def close(self) -> None:
        """Write what waits, within 2 s, and close the file."""
        logging.getLogger().removeHandler(self._libraries)
        logging.captureWarnings(capture=False)
        self._writer.close()


def open_log(path: Path, level: LogLevel = "info") -> ServerLog:
    """Open the log file at `path` for records of `level` and above; close it with `close`.

    While it is open, warnings of Python and of libraries (the `logging` module) go there too, and not to the
    console.

    Raises:
        FolderUnsafe: a symbolic link, or another user's file, stands in its place.
        FolderUnusable: it cannot be written.
    """
    import structlog  # noqa: PLC0415 - costs 0.15 s, which those who only name the type must not pay

    number = logging.getLevelNamesMapping()[level.upper()]
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%S.%fZ", utc=True),
        hide_secrets,
        structlog.processors.ExceptionRenderer(_traceback),
        render,
    ]

    def lost(count: int) -> str:
        fields: Any = {"event": "records-dropped", "count": count}
        for processor in processors:
            fields = processor(None, "warning", fields)
        return str(fields)

    writer = LogWriter(LogFile(path), lost)
    logger = structlog.wrap_logger(
        _Sink(writer),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return ServerLog(logger.bind(), writer, debug_on=number <= logging.DEBUG)


def hide_secrets(_logger: object, _level: str, fields: Fields) -> Fields:
    """Put `***` in the place of each field with a word of `HIDDEN` in its name: a processor of structlog."""
    for key in fields:
        if not HIDDEN.isdisjoint(key.split("_")):
            fields[key] = "***"
    return fields


def render(_logger: object, _level: str, fields: Fields) -> str:
    """Return one line; fields that are None are left out: the last processor of structlog.

    Numbers and addresses stand bare, so that fail2ban finds an address; other values stand in quotes, within
    which quotes and backslashes have a backslash before them.
    """
    head = [str(fields.pop(key)) for key in _HEAD]
    head[-1] = printable(head[-1])
    return " ".join(head + [f"{key}={_shown(key, value)}" for key, value in fields.items() if value is not None])


def _shown(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ",".join(_shown("", item) for item in value) + "]"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    text = _text(value)
    if key == "address" and _BARE.fullmatch(text):
        return text
    if key == "exception":
        text = text[-TRACEBACK_LIMIT:]
    elif len(text) > VALUE_LIMIT:
        text = text[:VALUE_LIMIT] + "…"
    return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a value of a stranger's class must not stop whoever logs
        return f"<{type(value).__name__}>"


def _traceback(exc_info: Iterable[Any]) -> str:
    return "".join(traceback.format_exception(*exc_info)).rstrip()


class _Sink:
    """What structlog calls a logger: it takes lines, whatever their level."""

    def __init__(self, writer: LogWriter) -> None:
        self.debug = self.info = self.warning = self.error = writer.put


class _Libraries(logging.Handler):
    """Takes the records of libraries, from warnings on, into the server's log."""

    def __init__(self, logger: Any) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's wrong format is not worth a fault of ours
            message = str(record.msg)
        write = self._logger.error if record.levelno >= logging.ERROR else self._logger.warning
        write("library", source=record.name, message=message, exc_info=record.exc_info)
