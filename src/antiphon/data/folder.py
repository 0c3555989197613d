"""The data folder: everything that a server keeps, readable by its user alone.

Files are replaced whole: a file that exists is complete.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

from filelock import FileLock

from antiphon.address import Address, parse
from antiphon.data.empty_folder import UNFINISHED as UNFINISHED_RESTORE
from antiphon.data.given import given_file, read_given
from antiphon.data.keyring import LiveKeyRing
from antiphon.errors import FolderUnusable, KeyRingUnusable, Problem, UsageError
from antiphon.files import make_folder, read_private, reported, user_folder, write_atomically
from antiphon.identity.keys import KeyRing
from antiphon.language import N_
from antiphon.store_address import SQLITE, is_postgresql

KEY_RING_FILE = "secret.key"
PORT_FILE = "port"
ADDRESS_FILE = "address"
LOCK_FILE = "lock"
LOCK_SECONDS = 30.0
"""The lock is held for milliseconds; a process that holds it for so long is stuck."""
_GIVEN = Problem(N_("the service manager has given it, so it can only be changed there"))
_UNFINISHED = Problem(N_("a restore into it was cut short, or is under way; empty it, and restore again"))
_HOMELESS = Problem(N_("This user has no home folder: name a folder with --data."))


def data_folder() -> Path:
    """Return the default data folder of this user.

    Raises:
        UsageError: the user has no home folder.
    """
    folder = user_folder("data")
    if folder is None:
        raise UsageError(problem=_HOMELESS)
    return folder


async def check_before_making(path: Path, store: str) -> None:
    """Check, if the data folder `path` is still to be made, that a database can be used; if not, nothing is made.

    Raises:
        AntiphonError: it cannot, as `store.opening.open_store` says.
    """
    if is_postgresql(store):
        await asyncio.to_thread(_check_unless_made, path, store)


def _check_unless_made(path: Path, store: str) -> None:
    if not path.exists():
        from antiphon.store.opening import check_database  # noqa: PLC0415 - a supervisor needs no SQL

        check_database(store)


class DataFolder:
    """A data folder. Several servers may share one."""

    def __init__(self, path: Path, accounts: Path | None = None) -> None:
        """Use the folder `path`, which exists; `open` makes sure of that. `accounts` is as in `open`."""
        self.path = path
        self.has_accounts: bool | None = None
        """Whether there are accounts sealed with its key ring; None: the file of accounts shows it."""
        self._accounts = accounts
        self._lock = FileLock(path / LOCK_FILE, timeout=LOCK_SECONDS, mode=0o600)

    @classmethod
    def open(cls, path: Path | None = None, accounts: Path | None = None) -> Self:
        """Open the folder at `path`, by default this user's; make it (0700) if it is missing.

        `accounts` is the file that exists once there are accounts (`store.opening.accounts_file`), by default that
        of the SQLite store in the folder.

        Raises:
            FolderUnsafe: it is another user's, or others may write to it.
            FolderUnusable: it cannot be made, or is not a folder.
        """
        path = (path or data_folder()).absolute()
        make_folder(path)
        return cls(path, accounts)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock under which files of the folder are made; it may be taken again inside.

        Raises:
            FolderUnusable: the folder cannot be written to, or another process holds the lock for 30 s.
        """
        with reported(self.path / LOCK_FILE):
            self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    def read_private(self, name: str) -> bytes | None:
        """Return the content of the file `name`, None if there is none. One that was given comes first.

        Raises:
            FolderUnsafe: it is a symbolic link, no plain file, another user's, or others can read or write it.
            FolderUnusable: it cannot be read.
        """
        given = given_file(name)
        return read_given(given) if given else read_private(self.path / name)

    def place(self, name: str) -> Path:
        """Return where the file `name` is read: in the folder, or among those that the service manager gives."""
        return given_file(name) or self.path / name

    def write_private(self, name: str, data: bytes) -> None:
        """Write `data` into the file `name` (0600), all or nothing; once this returns, it survives a crash.

        Raises:
            FolderUnsafe: a symbolic link stands in its place.
            FolderUnusable: it cannot be written.
        """
        write_atomically(self.path / name, data)

    def key_ring(self, random: Callable[[int], bytes]) -> LiveKeyRing:
        """Return the folder's key ring; make it, from `random` bytes, if there are no accounts yet.

        Raises:
            KeyRingUnusable: it is damaged, or missing although there are accounts sealed with it.
            FolderUnsafe: others can read it.
            FolderUnusable: it cannot be read or written; or it is missing because a restore was cut short.
        """
        if self.lacks_key_ring and any(self.path.glob(f"{UNFINISHED_RESTORE}*")):
            raise FolderUnusable(path=str(self.path), problem=_UNFINISHED)
        with self.lock():
            if self.lacks_key_ring and not self._has_accounts():
                self.write_private(KEY_RING_FILE, KeyRing.generate(random).dump())
            return LiveKeyRing(self._read_key_ring(), self._read_key_ring)

    @property
    def lacks_key_ring(self) -> bool:
        """Whether there is no key ring."""
        return not os.path.lexists(self.place(KEY_RING_FILE))

    def _has_accounts(self) -> bool:
        if self.has_accounts is not None:
            return self.has_accounts
        from antiphon.store.opening import accounts_file  # noqa: PLC0415 - a supervisor needs no SQL

        file = self._accounts or accounts_file(SQLITE, self.path)
        return file is not None and os.path.lexists(file)

    def change_key_ring(self, change: Callable[[KeyRing], KeyRing]) -> KeyRing:
        """Replace the folder's key ring by what `change` returns for it; return the new one.

        Raises:
            KeyRingUnusable, FolderUnsafe, FolderUnusable: as `key_ring`, or the service manager has given it; the
                ring is as it was.
        """
        if given := given_file(KEY_RING_FILE):
            raise KeyRingUnusable(path=str(given), problem=_GIVEN)
        with self.lock():
            ring = change(self._read_key_ring())
            self.write_private(KEY_RING_FILE, ring.dump())
            return ring

    def _read_key_ring(self) -> KeyRing:
        path = str(self.place(KEY_RING_FILE))
        data = self.read_private(KEY_RING_FILE)
        if data is None:
            raise KeyRingUnusable(path=path, problem=Problem(N_("it is missing")))
        try:
            return KeyRing.parse(data)
        except ValueError as error:
            raise KeyRingUnusable(path=path, problem=error.args[0]) from None

    @property
    def last_port(self) -> int | None:
        """The port that a server was last told to listen on, None if that is not known."""
        with contextlib.suppress(UsageError, ValueError):
            port = int(self.read_private(PORT_FILE) or b"")
            return port if 0 < port <= 65535 else None
        return None

    @last_port.setter
    def last_port(self, port: int) -> None:
        with contextlib.suppress(UsageError):  # a convenience: not worth failing a start for
            self.write_private(PORT_FILE, b"%d\n" % port)

    @property
    def last_address(self) -> Address | None:
        """The address of the server that listened last, without its fingerprint; None if that is not known."""
        with contextlib.suppress(UsageError, UnicodeDecodeError):
            written = (self.read_private(ADDRESS_FILE) or b"").decode()
            return parse(written) if written else None
        return None

    @last_address.setter
    def last_address(self, address: Address) -> None:
        with contextlib.suppress(UsageError):  # as above
            self.write_private(ADDRESS_FILE, f"{replace(address, fingerprint=None)}\n".encode())
