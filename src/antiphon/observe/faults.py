"""Faults of a service on the terminal of the person who writes it: tracebacks that show the user's own code.

A traceback goes to the log as one escaped record. With `--reload` it also goes to standard error, to be read.
"""

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Iterator

from antiphon import streams
from antiphon.errors import OutputFailed
from antiphon.language import N_, catalogue
from antiphon.observe.repeats import place_of
from antiphon.printable import printable
from antiphon.user_code import is_antiphon, is_user_code

AGAIN_SECONDS = 1.0
"""Within so many seconds, equal faults are only counted: a client can cause them as fast as it can send."""
LIMIT = 20_000
"""Characters of a traceback. Its beginning is cut off, because the end says what happened."""
INDENT = "    "
"""Stands before further lines of a message, so that they are not taken for lines of the program."""
_RED = "\x1b[31m{}\x1b[0m"
_AGAIN = N_("The last error came {count} more times.")


def readable(error: BaseException, *, colour: bool = False) -> str:
    """Return the traceback of an error, without the frames of Antiphon and what is above the user's own.

    Control characters are escaped. With `colour` the messages are red (ECMA-48).
    """
    trace = traceback.TracebackException.from_exception(error, compact=True)
    for each in _all(trace):
        _shorten(each)
    shown = "".join(_shown(part, colour=colour) for part in trace.format())
    return shown[-LIMIT:].rstrip("\n")


def _all(trace: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    yield trace
    for other in (trace.__cause__, trace.__context__, *(trace.exceptions or ())):
        if other is not None:
            yield from _all(other)


def _shorten(trace: traceback.TracebackException) -> None:
    frames = [frame for frame in trace.stack if not is_antiphon(frame.filename)]
    first = next((index for index, frame in enumerate(frames) if is_user_code(frame.filename)), 0)
    trace.stack = traceback.StackSummary.from_list(frames[first:])
    if not trace.stack:
        trace.stack = None  # type: ignore[assignment] # then the heading is left out too


def _shown(part: str, *, colour: bool) -> str:
    """Return a part of a traceback: a heading, one frame, or the lines of one message."""
    lines = [printable(line, keep="\t") for line in part.rstrip("\n").split("\n")]
    text = part.lstrip(" |+-")
    if part.startswith("\n") or text.startswith(("File ", "Traceback (", "Exception Group Traceback (")):
        return "\n".join(lines) + "\n" * (len(part) - len(part.rstrip("\n")))
    if colour:
        lines = [_RED.format(line) for line in lines]
    return f"\n{INDENT}".join(lines) + "\n"


class FaultPrinter:
    """Prints faults on standard error."""

    def __init__(self, language: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Print sentences in `language`; `clock` is monotonic."""
        self._translate = catalogue(language).gettext
        self._clock = clock
        self._last: object = None
        self._last_at = 0.0
        self._again = 0

    def __call__(self, error: BaseException) -> None:
        """Print a fault, or count it if an equal one was printed just now. Output that fails is left."""
        place, now = place_of(error), self._clock()
        if place == self._last and now - self._last_at < AGAIN_SECONDS:
            self._again += 1
            return
        lines = [self._translate(_AGAIN).format(count=self._again)] if self._again else []
        self._last, self._last_at, self._again = place, now, 0
        colour = streams.stderr.isatty() and not os.environ.get("NO_COLOR")
        lines.append(readable(error, colour=colour))
        with contextlib.suppress(OutputFailed):
            streams.stderr.line("\n".join(lines))
