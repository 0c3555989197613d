"""The live line: a line of the terminal that is rewritten in place while messages are sent."""

import os
import shutil

from antiphon.streams import Output

PAUSE = 0.25
"""Seconds between two updates; nobody reads faster."""
_ERASE = "\r\x1b[K"


class LiveLine:
    """A line at the bottom of `stream`; it does nothing if `stream` is not a terminal that can erase a line."""

    def __init__(self, stream: Output, *, wanted: bool = True) -> None:
        """Show nothing yet; with `wanted` False, never show anything."""
        self._stream = stream
        self._shown = False
        self.works = wanted and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def show(self, text: str) -> None:
        """Replace the line by `text`, cut to the width of the terminal."""
        if self.works:
            columns = shutil.get_terminal_size().columns
            self._stream.write(_ERASE + text[: columns - 1])
            self._shown = True

    def clear(self) -> None:
        """Erase the line, so that other lines can be printed."""
        if self._shown:
            self._shown = False
            self._stream.write(_ERASE)
