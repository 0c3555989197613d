"""One file in memory and on disk: read again once it has changed, written whole, never over what cannot be read.

All of it blocks: `Worker` runs it outside the event loop.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic

from filelock import FileLock

from antiphon.errors import Problem, StoreUnusable, TryLater, UsageError
from antiphon.files import read_private, reported, write_atomically
from antiphon.language import N_
from antiphon.store.files.layout import Layout, Row

LOCK_SECONDS = 1.5
"""How long another process may keep the lock: it writes for milliseconds, and waits for an editor for
`CHANGING_SECONDS` at the most. Below `contracts.STORE_SECONDS`."""
SETTLED_SECONDS = 0.2
"""A file that somebody else wrote is believed once it has been left alone for so long: many editors empty it
first, or take it away, and a half of it would look like accounts that were removed."""
CHANGING_SECONDS = 1.0
"""How long one that is not left alone is waited for."""
_OURS = 777
"""The last digits, nanoseconds, of the time that our own processes give a file: it is whole, and not waited for.
Where the disk does not keep them, it is waited for."""

_MISSING = Problem(N_("it is missing"))
_CHANGING = Problem(N_("somebody is writing to it"))

Mark = tuple[int, int, int]
"""Tells one state of a file from another: time, size and inode."""


class WriteLock:
    """Held while a file is written, and while one is read that somebody else has changed."""

    def __init__(self, path: Path) -> None:
        """Lock by the file `path`, made when it is needed."""
        self._path = path
        self._lock = FileLock(path, timeout=LOCK_SECONDS, mode=0o600)

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the lock; it may be taken again inside.

        Raises:
            StoreUnusable: another process keeps it, or the folder cannot be written to.
        """
        with reported(self._path, StoreUnusable):
            self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Do the same while a server runs.

        Raises:
            TryLater: the lock cannot be had; what is raised inside comes out as it is.
        """
        with contextlib.ExitStack() as stack:
            with later():
                stack.enter_context(self())
            yield


@contextlib.contextmanager
def later() -> Iterator[None]:
    """Turn what is wrong with a file while a server runs into `TryLater`, whose cause the log tells."""
    try:
        yield
    except UsageError as error:
        raise TryLater from error


class Sheet(Generic[Row]):
    """A file of rows. Between two changes of the file reading it costs one look at its time and size."""

    def __init__(
        self,
        path: Path,
        layout: Layout[Row],
        lock: WriteLock,
        edited: Callable[[list[Row], list[Row]], list[Row]] | None = None,
    ) -> None:
        """Stand for the file `path`; `make` makes it ready.

        `edited` gets the rows as they were known and as somebody else has left them, and returns them as they
        shall be; where that is something else, it is written.
        """
        self.path = path
        self._layout = layout
        self._lock = lock
        self._edited = edited
        self._known: tuple[Mark | None, list[Row]] = (None, [])

    def make(self) -> None:
        """Read the file, or make it where there is none; take away what a crash has left beside it.

        Raises:
            RowInvalid: a line of it cannot be read.
            FolderUnsafe: it is a link, another user's, or others can write to it.
            StoreUnusable: it cannot be read or written.
        """
        with self._lock():
            with reported(self.path, StoreUnusable):
                for left in self.path.parent.glob(f".{self.path.name}.*.new"):
                    left.unlink()
            if os.path.lexists(self.path):
                self._known = self._read()
            else:
                self._write([])

    def rows(self) -> list[Row]:
        """Return the rows as they are now; nobody may change the list.

        Raises:
            TryLater: they cannot be read; nothing is lost.
        """
        with later():
            mark, rows = self._known
            if mark is None or self._look() != mark:
                with self._lock():
                    rows = self._reread()
            return rows

    def write(self, rows: list[Row]) -> None:
        """Make these the rows; the caller holds the lock since it has read them.

        Raises:
            TryLater: they cannot be written, and it all is as it was.
        """
        with later():
            self._write(rows)

    def _reread(self) -> list[Row]:
        mark, found = self._read()
        rows = self._edited(self._known[1], found) if self._edited else found
        if rows == found:
            self._known = mark, rows
        else:
            self._write(rows)  # where that fails, the next look finds the same
        return rows

    def _read(self) -> tuple[Mark, list[Row]]:
        """Return the file's state and rows, once it has been left alone."""
        until = time.monotonic() + CHANGING_SECONDS
        while True:
            mark = self._settled()
            data = read_private(self.path, tighten=True)
            if data is not None and self._look() == mark:
                return mark, self._layout.parse(self.path, data)
            if time.monotonic() > until:
                raise StoreUnusable(path=str(self.path), problem=_CHANGING)

    def _settled(self) -> Mark:
        """Wait until the file has been left alone for a while, and return its state."""
        until = time.monotonic() + CHANGING_SECONDS
        while True:
            mark = self._look() or self._awaited()
            age = time.time() - mark[0] / 1e9
            if not 0 <= age < SETTLED_SECONDS or mark[0] % 1000 == _OURS:  # a time to come was set by somebody
                return mark
            if time.monotonic() > until:
                raise StoreUnusable(path=str(self.path), problem=_CHANGING)
            time.sleep(SETTLED_SECONDS - age)

    def _awaited(self) -> Mark:
        """Give an editor the time to put the file back that it has taken away."""
        time.sleep(SETTLED_SECONDS)
        mark = self._look()
        if mark is None:
            raise StoreUnusable(path=str(self.path), problem=_MISSING)
        return mark

    def _look(self) -> Mark | None:
        """Return the file's state, None where there is none."""
        with reported(self.path, StoreUnusable), contextlib.suppress(FileNotFoundError):
            found = self.path.lstat()
            return found.st_mtime_ns, found.st_size, found.st_ino
        return None

    def _write(self, rows: list[Row]) -> None:
        at = time.time_ns() // 1000 * 1000 + _OURS
        write_atomically(self.path, self._layout.dump(rows), StoreUnusable, at=at)
        self._known = self._look(), rows
