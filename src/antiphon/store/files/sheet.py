"""A file of rows, in memory and on disk: read again after a change, written whole, never over unreadable data.

All of it blocks: a `StoreThread` runs it outside the event loop.
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
from antiphon.store.files.layout import Layout, Row, Seen
from antiphon.wire.kinds import KIB

LOCK_SECONDS = 1.5
"""How long to wait for the lock. Another process holds it for the milliseconds of a write, or while it waits for
an editor, `CHANGING_SECONDS` at most. Below `contracts.STORE_SECONDS`."""
SETTLED_SECONDS = 0.2
"""How long a file that another program wrote must stay unchanged before it is read: many editors first empty or
remove it, and half a file would look like removed accounts."""
CHANGING_SECONDS = 1.0
"""How long to wait for a file that keeps changing."""
FILE_LIMIT = 128 * 1024 * KIB
"""Bytes of a file: 300,000 accounts. A larger one is refused before it is read."""
_OURS = 777
"""Nanoseconds (the last three digits) of the time that Antiphon's processes give a file. Such a file is whole and
read at once. If the file system does not keep the digits, the file is waited for."""

_MISSING = Problem(N_("it is missing"))
_CHANGING = Problem(N_("somebody is writing to it"))

Mark = tuple[int, int, int]
"""State of a file: time, size and inode."""


class WriteLock:
    """Lock held while a file is written, and while a file is read that another program has changed."""

    def __init__(self, path: Path) -> None:
        """Lock with the file `path`, which is made when needed."""
        self._path = path
        self._lock = FileLock(path, timeout=LOCK_SECONDS, mode=0o600)

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the lock; it may be taken again inside.

        Raises:
            StoreUnusable: another process holds it, or the folder cannot be written to.
        """
        with reported(self._path, StoreUnusable):
            self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock while a server runs.

        Raises:
            TryLater: the lock cannot be taken. Errors raised inside come out unchanged.
        """
        with contextlib.ExitStack() as stack:
            with later():
                stack.enter_context(self())
            yield


@contextlib.contextmanager
def later() -> Iterator[None]:
    """Turn an unusable file into `TryLater`, for a running server; the log shows the cause."""
    try:
        yield
    except UsageError as error:
        raise TryLater from error


class Sheet(Generic[Row]):
    """A file of rows. Reading an unchanged file costs one look at its time and size."""

    def __init__(
        self,
        path: Path,
        layout: Layout[Row],
        lock: WriteLock,
        edited: Callable[[list[Row], list[Row]], list[Row]] | None = None,
        seen: Seen[Row] | None = None,
    ) -> None:
        """Use the file `path`; `make` makes it ready.

        `edited` gets the known rows and the rows that another program wrote, and returns the rows as they shall
        be. If those differ, they are written. `seen` is called for each row that is read.
        """
        self.path = path
        self._layout = layout
        self._lock = lock
        self._edited = edited
        self._seen = seen
        self._known: tuple[Mark | None, list[Row]] = (None, [])

    def make(self) -> None:
        """Read the file, or make it if it is missing; delete temporary files left by a crash.

        Raises:
            RowInvalid: a row of it cannot be read.
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
        """Return the rows as they are now. Do not change the list.

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
        """Replace the rows; the caller has held the lock since it read them.

        Raises:
            TryLater: they cannot be written; nothing is changed.
        """
        with later():
            self._write(rows)

    def _reread(self) -> list[Row]:
        mark, found = self._read()
        rows = self._edited(self._known[1], found) if self._edited else found
        if rows == found:
            self._known = mark, rows
        else:
            self._write(rows)  # if this fails, the next read finds the same
        return rows

    def content(self) -> bytes:
        """Return what the file holds, once it no longer changes. Precondition: the caller holds the lock.

        Raises:
            FolderUnsafe: it is a link, another user's, or others can write to it.
            StoreUnusable: it cannot be read.
        """
        return self._settled_content()[1]

    def _read(self) -> tuple[Mark, list[Row]]:
        """Return the file's state and rows, once it no longer changes."""
        mark, data = self._settled_content()
        return mark, self._layout.parse(self.path, data, self._seen)

    def _settled_content(self) -> tuple[Mark, bytes]:
        until = time.monotonic() + CHANGING_SECONDS
        while True:
            mark = self._settled()
            data = read_private(self.path, tighten=True, most=FILE_LIMIT, unusable=StoreUnusable)
            if data is not None and self._look() == mark:
                return mark, data
            if time.monotonic() > until:
                raise StoreUnusable(path=str(self.path), problem=_CHANGING)

    def _settled(self) -> Mark:
        """Wait until the file no longer changes; return its state."""
        until = time.monotonic() + CHANGING_SECONDS
        while True:
            mark = self._look() or self._awaited()
            age = time.time() - mark[0] / 1e9
            if not 0 <= age < SETTLED_SECONDS or mark[0] % 1000 == _OURS:  # a time in the future was set by hand
                return mark
            if time.monotonic() > until:
                raise StoreUnusable(path=str(self.path), problem=_CHANGING)
            time.sleep(SETTLED_SECONDS - age)

    def _awaited(self) -> Mark:
        """Give an editor the time to put back a file that it has removed; return its state."""
        time.sleep(SETTLED_SECONDS)
        mark = self._look()
        if mark is None:
            raise StoreUnusable(path=str(self.path), problem=_MISSING)
        return mark

    def _look(self) -> Mark | None:
        """Return the file's state, None if it is missing."""
        with reported(self.path, StoreUnusable), contextlib.suppress(FileNotFoundError):
            found = self.path.lstat()
            return found.st_mtime_ns, found.st_size, found.st_ino
        return None

    def _write(self, rows: list[Row]) -> None:
        at = time.time_ns() // 1000 * 1000 + _OURS
        write_atomically(self.path, self._layout.dump(rows), StoreUnusable, at=at)
        self._known = self._look(), rows
