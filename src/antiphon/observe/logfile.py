"""The log file and the thread that writes it: a caller that logs never waits for the disk.

The handlers of `logging` keep records that they could not write and, on a full disk, keep a file open that was
renamed or removed to make room. This writer drops and counts such records, and reopens the file.
"""

import contextlib
import errno
import os
import queue
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

from antiphon.errors import FolderUnsafe, FolderUnusable, Problem
from antiphon.language import N_
from antiphon.streams import write_whole

QUEUE_SIZE = 10_000
"""Records that may wait for the disk, a few MiB; further ones are dropped and counted."""
CLOSE_SECONDS = 2.0
"""Most seconds that `close` waits for the records to be written."""
_BATCH = 256
"""Most records written at once, so that a burst takes few system calls."""
GATHER_SECONDS = 0.02
"""Seconds that the thread waits for more records, to write them together: waking costs more than writing."""
Line = str | Callable[[], str]
"""A line without its end, or a function that renders it in the log's thread."""
TORN_SECONDS = 0.001
"""Seconds after which a line without its end is looked at again: another process may be amid a write."""
TORN_LOOKS = 50
"""Looks at such a line; a busy machine may hold the other process back amid its write for that long."""
_FULL = {errno.ENOSPC, errno.EDQUOT}

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags for `os.open`: do not follow a symbolic link, and do not wait for the reader of a pipe."""


class LogFile:
    """The log file (0600), opened for appending, and created again after it was renamed or removed.

    Several processes may write to one file: each call of `write` is one system call, and the system appends its
    lines together. After a full disk, or the end of a process, cut a line short, the next write begins with a line
    end, whoever writes it.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`; on a full disk, the first `write` tries again.

        Raises:
            FolderUnsafe: it is a symbolic link or belongs to another user.
            FolderUnusable: it cannot be opened for another reason than a full disk.
        """
        self._path = path
        self._descriptor: int | None = None
        self._torn = False
        self._size = 0
        """Size of the file after the last write; another size means that another process has written too."""
        try:
            self._open()
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise FolderUnsafe(path=str(path), problem=Problem(N_("is a symbolic link"))) from None
            if error.errno not in _FULL:
                raise FolderUnusable(path=str(path), problem=error.strerror or str(error)) from error

    def write(self, lines: bytes) -> int:
        """Append `lines`, each with its line end; return how many were lost."""
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
        """Close the file; a later `write` opens it again."""
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
            if found.st_mode & 0o600 != 0o600:  # an odd umask; a mode set by the operator's logrotate is kept
                os.fchmod(descriptor, 0o600)
        self._descriptor = descriptor
        self._torn, self._size = False, 0

    def _follow(self) -> None:
        """Open the file at the path unless it is the one already open (it may have been rotated)."""
        if self._descriptor is not None:
            ours = os.fstat(self._descriptor)
            with contextlib.suppress(FileNotFoundError):
                theirs = self._path.lstat()
                if (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino):
                    self._look_for_torn_line(ours)
                    return
            self.close()
        try:
            self._open()
        except FolderUnsafe as error:
            raise OSError(errno.EPERM, str(error)) from error
        assert self._descriptor is not None, "it was opened"
        self._look_for_torn_line(os.fstat(self._descriptor))

    def _look_for_torn_line(self, found: os.stat_result) -> None:
        """Note whether another process has left a line without its end."""
        if found.st_size == self._size or not found.st_size or not stat.S_ISREG(found.st_mode):
            return
        with contextlib.suppress(OSError):  # it may be renamed in this moment
            reading = os.open(self._path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            try:
                self._torn = not _ends_with_line(reading, found)
            finally:
                os.close(reading)
        self._size = found.st_size

    def _write(self, lines: bytes) -> int:
        assert self._descriptor is not None, "_follow has opened it"
        written = os.write(self._descriptor, lines)
        self._torn = lines[written - 1 : written] != b"\n"
        self._size += written
        return written


def _ends_with_line(reading: int, found: os.stat_result) -> bool:
    """Return whether the file `found` ends with a whole line, or is another one than that open as `reading`."""
    for _ in range(TORN_LOOKS):
        now = os.fstat(reading)
        os.lseek(reading, now.st_size - 1, os.SEEK_SET)
        if not os.path.samestat(now, found) or os.read(reading, 1) == b"\n":
            return True
        time.sleep(TORN_SECONDS)
    return False


class LogConsole:
    """Standard output or standard error of this process as a log, as containers collect it."""

    def __init__(self, descriptor: int) -> None:
        """Write to a copy of `descriptor`."""
        self._descriptor: int | None = os.dup(descriptor)

    def write(self, lines: bytes) -> int:
        """Write `lines`, each with its line end; return how many were lost."""
        if self._descriptor is None:
            return lines.count(b"\n")
        try:
            write_whole(self._descriptor, lines)
        except OSError:
            return lines.count(b"\n")
        return 0

    def close(self) -> None:
        """Close the copy; the stream stays open."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


CONSOLE = {
    "-": 2,
    "/dev/stderr": 2,
    "/dev/fd/2": 2,
    "/proc/self/fd/2": 2,
    "/dev/stdout": 1,
    "/dev/fd/1": 1,
    "/proc/self/fd/1": 1,
}
"""Values of `--log` that mean a stream, and its descriptor; `-` leaves standard output to results."""


def open_file(path: Path) -> LogFile | LogConsole:
    """Open the log at `path`, or the standard stream that it names.

    Raises:
        FolderUnsafe, FolderUnusable: as `LogFile`; or the stream is closed.
    """
    descriptor = CONSOLE.get(str(path))
    if descriptor is None:
        return LogFile(path)
    try:
        return LogConsole(descriptor)
    except OSError as error:
        raise FolderUnusable(path=str(path), problem=error.strerror or str(error)) from error


class LogWriter:
    """A thread that writes lines to a `LogFile`; every thread may `put` lines without waiting."""

    def __init__(self, file: LogFile | LogConsole, lost: Callable[[int], str], size: int = QUEUE_SIZE) -> None:
        """Start the thread.

        Args:
            file: the file or stream to write to.
            lost: returns the line that reports how many lines were dropped.
            size: about how many lines may wait.
        """
        self._file = file
        self._line_of_lost = lost
        self._queue: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        self._size = size
        self.lost = 0
        """Lines that were dropped since the file was told of some."""
        self.dropped = 0
        """Lines that were dropped in all."""
        self._counting = threading.Lock()
        self._closed = False
        self._last = threading.Event()
        """Set by `close`: no more lines come, so the thread need not wait for them."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, line: Line) -> None:
        """Queue `line` to be written; drop and count it if too many wait."""
        if self._closed:
            return
        if self._queue.qsize() < self._size:
            self._queue.put(line)
        else:
            self._count(1)

    def close(self) -> None:
        """Write the lines that wait, for at most 2 s, and close the file; lines put afterwards are dropped."""
        if self._closed:
            return
        self._closed = True
        self._last.set()
        self._queue.put(None)
        self._thread.join(CLOSE_SECONDS)

    def _count(self, lost: int) -> None:
        with self._counting:
            self.lost += lost
            self.dropped += max(0, lost)

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

    def _write(self, lines: list[Line]) -> None:
        rendered = [text for line in lines if (text := _rendered(line)) is not None]
        self._count(len(lines) - len(rendered))
        lost = self.lost
        if lost and not self._file.write(_encoded([self._line_of_lost(lost)])):
            self._count(-lost)
        self._count(self._file.write(_encoded(rendered)))


def _rendered(line: Line) -> str | None:
    """Return the text of `line`; None if it cannot be rendered, which must not end the thread."""
    if isinstance(line, str):
        return line
    try:
        return line()
    except Exception:  # noqa: BLE001 - the line is counted as dropped
        return None


def _encoded(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
