"""Repeats: of equal records of one session the first is logged whole, the others are counted.

A client can make a service fail as fast as it can send: neither the log nor the time for it may grow with that.
"""

import asyncio
from collections.abc import Callable

from antiphon.observe.log import ServerLog

REPEAT_SECONDS = 10.0
"""Time after the first record in which equal ones are counted. Then the count is logged, with `repeated`."""
KINDS_MOST = 8
"""Different records of an event that are logged whole in that time; of the rest, one more is."""


class _Repeat:
    """One record that was logged, and how many equal ones came after it."""

    __slots__ = ("again", "count")

    def __init__(self, again: Callable[[int], None]) -> None:
        self.again = again
        self.count = 0


class Repeats:
    """Logs the faults and refusals of one session."""

    __slots__ = ("_log", "_repeats", "_seconds", "_timer")

    def __init__(self, log: ServerLog, seconds: float = REPEAT_SECONDS) -> None:
        """Start with nothing logged; with 0 `seconds` every record is logged."""
        self._log = log
        self._seconds = seconds
        self._repeats: dict[object, _Repeat] = {}
        self._timer: asyncio.TimerHandle | None = None

    def warning(self, event: str, key: object, /, **fields: object) -> None:
        """Log a refusal, or count it if one with the same event and `key` was logged lately."""
        self._tell(self._log.warning, event, key, fields)

    def error(self, event: str, key: object, /, **fields: object) -> None:
        """Log a fault, likewise; its `exception` is logged only the first time."""
        self._tell(self._log.error, event, key, fields)

    def finish(self) -> None:
        """Log how many were only counted, and begin anew."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        repeats, self._repeats = self._repeats, {}
        for repeat in repeats.values():
            if repeat.count:
                repeat.again(repeat.count)

    def _tell(self, log: Callable[..., None], event: str, key: object, fields: dict[str, object]) -> None:
        if not self._seconds:
            log(event, **fields)
            return
        known = event, key
        if known not in self._repeats and len(self._repeats) >= KINDS_MOST:
            known = event, None  # whatever else happens: it must not fill the log by being different each time
        repeat = self._repeats.get(known)
        if repeat is not None:
            repeat.count += 1
            self._log.shown(fields.get("exception"))
            return
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self.finish)
        kept = {name: value for name, value in fields.items() if name != "exception"}
        self._repeats[known] = _Repeat(lambda count: log(event, **kept, repeated=count))
        log(event, **fields)


def place_of(error: BaseException) -> object:
    """Return what equal faults have in common: the type that was raised, and where."""
    while error.__traceback__ is None and error.__cause__ is not None:  # `server.handler.guard` wraps some
        error = error.__cause__
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return type(error), trace and (trace.tb_frame.f_code, trace.tb_lineno)
