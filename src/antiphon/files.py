"""Private files: check owner and mode before reading, replace atomically, never follow a symbolic link.

Server and client read and write all their files through this module (promises 20 and 21), except the database of
SQLite and the log.
"""

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from antiphon.errors import FolderUnsafe, FolderUnusable, Problem, UsageError
from antiphon.language import N_

_POSIX = os.name == "posix"
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags for `os.open`: do not follow a symbolic link, and do not wait for the other end of a pipe."""
_WRITTEN_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

_LOCKED = Problem(N_("another process keeps it locked"))
_LINK = Problem(N_("is a symbolic link"))
_NO_FILE = Problem(N_("it is not a plain file"))
_PROBLEMS = {
    errno.ENOENT: Problem(N_("there is no such file")),
    errno.ENOSPC: Problem(N_("the disk is full")),
    errno.EDQUOT: Problem(N_("the disk is full")),
    errno.EACCES: Problem(N_("you have no permission to use it")),
    errno.EPERM: Problem(N_("you have no permission to use it")),
    errno.EROFS: Problem(N_("it is read-only")),
    errno.ENOTDIR: Problem(N_("it is not a folder")),
    errno.EEXIST: Problem(N_("it is not a folder")),
    errno.EISDIR: Problem(N_("it is a folder")),
}


def problem_of(error: OSError) -> str:
    """Return what an error of the system means, for a person; a `Problem` if there is a translation."""
    return _PROBLEMS.get(error.errno or 0, error.strerror or str(error))


@contextlib.contextmanager
def reported(path: Path, unusable: type[UsageError] = FolderUnusable) -> Iterator[None]:
    """Turn an OSError, or the timeout of a lock, into `unusable`, and a symbolic link into `FolderUnsafe`."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FolderUnsafe(path=str(path), problem=_LINK) from None
        locked = isinstance(error, TimeoutError)  # the error of filelock
        raise unusable(path=str(path), problem=_LOCKED if locked else problem_of(error)) from error


def check_file(path: Path, found: os.stat_result) -> None:
    """Check that `found`, the status of `path`, is that of a private file.

    Raises:
        FolderUnsafe: it is not a plain file, belongs to another user, or others can read or write it.
    """
    if stat.S_ISLNK(found.st_mode):
        raise FolderUnsafe(path=str(path), problem=_LINK)
    if not stat.S_ISREG(found.st_mode):
        raise FolderUnsafe(path=str(path), problem=Problem(N_("is not a plain file")))
    _check_owner(path, found)
    if _POSIX and found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise FolderUnsafe(path=str(path), problem=Problem(N_("can be read or written by others")))


def check_folder(path: Path, found: os.stat_result) -> None:
    """Check that `found`, the status of `path`, is that of a folder which only this user can write to.

    Raises:
        FolderUnsafe: it belongs to another user, or others can write to it.
    """
    _check_owner(path, found)
    if _POSIX and found.st_mode & _WRITTEN_BY_OTHERS:
        raise FolderUnsafe(path=str(path), problem=Problem(N_("can be written to by others")))


def make_folder(path: Path, unusable: type[UsageError] = FolderUnusable) -> None:
    """Create the folder at `path` (0700) unless it exists, and check it.

    Raises:
        FolderUnsafe: it belongs to another user, or others can write to it.
        FolderUnusable: it cannot be created, or is not a folder. `unusable` names another error to raise instead.
    """
    with reported(path, unusable):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
            path.chmod(0o700)  # mkdir applies the umask
        found = path.stat()
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    check_folder(path, found)


def _check_owner(path: Path, found: os.stat_result) -> None:
    if _POSIX and found.st_uid != os.geteuid():
        raise FolderUnsafe(path=str(path), problem=Problem(N_("belongs to another user")))


def read_private(path: Path, *, tighten: bool = False) -> bytes | None:
    """Return the contents of a private file, or None if it does not exist.

    With `tighten`, the mode of a file that others can read but not write is set to 0600 first: an editor may have
    left it so.

    Raises:
        FolderUnsafe: it is a symbolic link or not a plain file, belongs to another user, or others can read or
            write it.
        FolderUnusable: it cannot be read.
    """
    with reported(path):
        try:
            file = open(path, "rb", opener=_open_safely)  # noqa: SIM115 - Path has no opener
        except FileNotFoundError:
            return None
        with file:
            found = os.fstat(file.fileno())
            if tighten and _POSIX and found.st_uid == os.geteuid() and not found.st_mode & _WRITTEN_BY_OTHERS:
                os.fchmod(file.fileno(), 0o600)
                found = os.fstat(file.fileno())
            check_file(path, found)
            return file.read()


def check_replaceable(path: Path, unusable: type[UsageError] = FolderUnusable) -> None:
    """Check that a file may be put at `path`: run as root, `write_atomically` could replace even /dev/null.

    Raises:
        FolderUnsafe: `path` is a symbolic link.
        FolderUnusable: `path` is a device or a pipe. `unusable` names another error to raise instead.
    """
    if path.is_symlink():
        raise FolderUnsafe(path=str(path), problem=_LINK)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise unusable(path=str(path), problem=_NO_FILE)


def write_atomically(
    path: Path, data: bytes, unusable: type[UsageError] = FolderUnusable, *, at: int | None = None
) -> None:
    """Replace the file `path` (0600) by `data`: temporary file, fsync, rename, fsync of the folder (promise 20).

    `at` sets the modification time of the file, in nanoseconds since 1970.

    Raises:
        FolderUnsafe: `path` is a symbolic link.
        FolderUnusable: the file cannot be written. `unusable` names another error to raise instead.
    """
    check_replaceable(path, unusable)
    with reported(path, unusable):
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor has no Path
                if _POSIX:
                    os.fchmod(descriptor, 0o600)  # mkstemp applies the umask
                file.write(data)
                file.flush()
                if at is not None:
                    os.utime(temporary, ns=(at, at))
                os.fsync(descriptor)
            os.replace(temporary, path)  # noqa: PTH105 - a name from mkstemp
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108 - a name from mkstemp
            raise
        _sync_folder(path.parent)


def make_private(path: Path) -> None:
    """Create an empty file at `path`, 0600 whatever the umask, unless it exists."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600)
        try:
            if _POSIX:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)


def _open_safely(path: str, flags: int) -> int:
    return os.open(path, flags | _SAFELY)


def _sync_folder(path: Path) -> None:
    if _POSIX:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
