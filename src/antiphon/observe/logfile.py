"""The log file behind its own thread: whoever logs waits for no disk.

Standard handlers keep what they could not write and, on a full disk, hold on to a file that was renamed or
removed to make room; this writer drops, counts and lets go.
"""

import contextlib
import errno
import os
import queue
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from antiphon.errors import FolderUnsafe, FolderUnusable, Problem
from antiphon.language import N_

QUEUE_SIZE = 10_000
"""Records that may wait for the disk: some MiB; further ones are dropped and counted."""
CLOSE_SECONDS = 2.0
"""Time that closing gives to what waits."""
_BATCH = 256
"""Records written in one go, so that a storm costs few system calls."""
GATHER_SECONDS = 0.02
"""What the thread waits behind a record for others, to write them together: waking costs more than writing."""
_FULL = {errno.ENOSPC, errno.EDQUOT}

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Never through a symbolic link; never waiting for the reader of a pipe."""


class LogFile:
    """A file (0600) that is appended to, and made again when it has been renamed or removed.

    A line that a full disk cut short is ended before the next one begins.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`.

        Raises:
            FolderUnsafe: it is a symbolic link, or another user's.
            FolderUnusable: it cannot be opened, for another reason than that the disk is full.
        """
        self._path = path
        self._descriptor: int | None = None
        self._torn = False
        try:
            self._open()
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise FolderUnsafe(path=str(path), problem=Problem(N_("is a symbolic link"))) from None
            if error.errno not in _FULL:
                raise FolderUnusable(path=str(path), problem=error.strerror or str(error)) from error

    def write(self, lines: bytes) -> int:
        """Append whole `lines`; return how many of them were lost."""
        try:
            self._follow()
            if self._torn:
                lines = b"\n" + lines
            while lines:
                lines = lines[self._write(lines) :]
        except OSError:
            return lines.removeprefix(b"\n").count(b"\n")
        return 0

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _open(self) -> None:
        descriptor = os.open(self._path, _FLAGS, 0o600)
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and os.name == "posix":
            if found.st_uid != os.geteuid():
                os.close(descriptor)
                raise FolderUnsafe(path=str(self._path), problem=Problem(N_("belongs to another user")))
            if found.st_mode & 0o600 != 0o600:  # an odd umask; what an operator's logrotate has set stays
                os.fchmod(descriptor, 0o600)
        self._descriptor = descriptor
        self._torn = False

    def _follow(self) -> None:
        """Open the file that stands at the path, where that is not the one already open."""
        if self._descriptor is not None:
            ours = os.fstat(self._descriptor)
            with contextlib.suppress(FileNotFoundError):
                theirs = self._path.lstat()
                if (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino):
                    return
            self.close()
        try:
            self._open()
        except FolderUnsafe as error:
            raise OSError(errno.EPERM, str(error)) from error

    def _write(self, lines: bytes) -> int:
        assert self._descriptor is not None, "_follow has opened it"
        written = os.write(self._descriptor, lines)
        self._torn = lines[written - 1 : written] != b"\n"
        return written


class LogWriter:
    """Takes lines from any thread at once and writes them from its own."""

    def __init__(self, file: LogFile, lost: Callable[[int], str], size: int = QUEUE_SIZE) -> None:
        """Write to `file`; `lost` gives the line that says how many were dropped. Some `size` lines may wait."""
        self._file = file
        self._line_of_lost = lost
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._size = size
        self._lost = 0
        self._counting = threading.Lock()
        self._closed = False
        self._last = threading.Event()
        """Nothing comes any more that could be written together with what there is."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Have `line` (without its end) written; drop it when too many wait."""
        if self._closed:
            return
        if self._queue.qsize() < self._size:
            self._queue.put(line)
        else:
            self._count(1)

    def close(self) -> None:
        """Write what waits, within 2 s, and close the file; what is put from here on is dropped."""
        if self._closed:
            return
        self._closed = True
        self._last.set()
        self._queue.put(None)
        self._thread.join(CLOSE_SECONDS)

    def _count(self, lost: int) -> None:
        with self._counting:
            self._lost += lost

    def _run(self) -> None:
        running = True
        while running:
            lines = [self._queue.get()]
            if self._queue.qsize() < _BATCH:
                self._last.wait(GATHER_SECONDS)
            with contextlib.suppress(queue.Empty):
                while len(lines) < _BATCH and lines[-1] is not None:
                    lines.append(self._queue.get_nowait())
            running = lines[-1] is not None
            self._write([line for line in lines if line is not None])
        self._file.close()

    def _write(self, lines: list[str]) -> None:
        lost = self._lost
        if lost and not self._file.write(_encoded([self._line_of_lost(lost)])):
            self._count(-lost)
        self._count(self._file.write(_encoded(lines)))


def _encoded(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
