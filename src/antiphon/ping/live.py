"""A line of a terminal that is written again and again, and makes way for lines that stay."""

import os
import shutil
from typing import TextIO

PAUSE = 0.25
"""Seconds between two writings; faster is not read."""
_ERASE = "\r\x1b[K"


class LiveLine:
    """One line at the bottom of `stream`; nothing at all where that is no terminal that can erase one."""

    def __init__(self, stream: TextIO, *, wanted: bool = True) -> None:
        """Begin with nothing on the screen."""
        self._stream = stream
        self._shown = False
        self.works = wanted and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def show(self, text: str) -> None:
        """Put `text` into the line, as far as it fits."""
        if self.works:
            columns = shutil.get_terminal_size().columns
            self._stream.write(_ERASE + text[: columns - 1])
            self._stream.flush()
            self._shown = True

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._stream.write(_ERASE)
            self._stream.flush()
            self._shown = False
