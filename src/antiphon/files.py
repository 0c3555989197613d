"""Private files: check owner and mode before reading, replace atomically, never follow a symbolic link.

Server and client read and write all their files through this module (promises 20 and 21), except the database of
SQLite and the log.
"""

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import platformdirs

from antiphon.errors import FolderOfAnother, FolderUnsafe, FolderUnusable, Problem, UsageError
from antiphon.language import N_

_POSIX = os.name == "posix"
if _POSIX:
    import grp
    import pwd

_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags for `os.open`: do not follow a symbolic link, and do not wait for the other end of a pipe."""
MIB = 1024 * 1024
_ROOT = 0
_WRITTEN_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

_LOCKED = Problem(N_("another process keeps it locked"))
_NO_HOME = Problem(N_("there is no such home folder"))
_LINK = Problem(N_("is a symbolic link"))
_TOO_LARGE = Problem(N_("it is larger than {most} MiB"))
_ABOVE_WRITTEN = Problem(N_("can be written to by others, so they could replace {below}"))
_ABOVE_ANOTHERS = Problem(N_("belongs to another user, who could replace {below}"))
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


def user_folder(kind: Literal["data", "config"]) -> Path | None:
    """Return this user's folder for Antiphon's files; None for a user without a home folder, as in a container."""
    find = platformdirs.user_data_path if kind == "data" else platformdirs.user_config_path
    try:
        path = find("antiphon", appauthor=False)
    except RuntimeError:  # HOME is not set, and there is no passwd entry
        return None
    return path if path.is_absolute() else None  # what older versions of platformdirs return then


def expanded(path: str) -> str:
    """Return `path` with `~` and `~user` at its beginning replaced by the home folder.

    Raises:
        FolderUnusable: there is no such user or home folder.
    """
    replaced = os.path.expanduser(path)  # noqa: PTH111 - a Path would raise RuntimeError, and change `./x`
    if replaced.startswith("~"):
        raise FolderUnusable(path=path, problem=_NO_HOME)
    return replaced


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
    """Create the folder at `path` unless it exists, as `make_missing` does; check it and the folders above it.

    Raises:
        FolderUnsafe: it belongs to another user, or others can write to it, or could replace it.
        FolderUnusable: it cannot be created, or is not a folder. `unusable` names another error to raise instead.
    """
    with reported(path, unusable):
        path = path.absolute()
        _check_above(path)
        make_missing(path)
        found = path.stat()
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    check_folder(path, found)


def check_makeable(path: Path, unusable: type[UsageError] = FolderUnusable) -> None:
    """Check that `make_folder` could make the folder at `path`, which does not exist; nothing is made.

    Raises:
        FolderUnsafe, FolderUnusable: as `make_folder`; `unusable` is as there.
    """
    with reported(path, unusable):
        path = path.absolute()
        _check_above(path)
        check_writable(next(above for above in path.parents if above.exists()))


def check_writable(folder: Path) -> None:
    """Check that files can be made in a folder.

    Raises:
        OSError: they cannot.
    """
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def make_missing(path: Path) -> None:
    """Create the folder at `path` and those above it that are missing, each 0700 whatever the umask.

    Raises:
        OSError: one of them cannot be created.
    """
    if not path.parent.is_dir():
        make_missing(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        path.chmod(0o700)  # mkdir applies the umask


def _check_above(path: Path) -> None:
    """Check that nobody else can replace `path`, nor a link on the way to it, in a folder above it.

    Folders that do not exist are passed over.

    Raises:
        FolderUnsafe: somebody can.
    """
    if not _POSIX:
        return
    for above in dict.fromkeys([*path.parents, *path.resolve().parents]):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found = above.stat()
            if found.st_uid not in {_ROOT, os.geteuid()}:
                _refuse_as_root(path, found.st_uid)
                raise FolderUnsafe(path=str(above), problem=_ABOVE_ANOTHERS, below=str(path))
            if not found.st_mode & stat.S_ISVTX and _written_by_others(found):  # sticky: each keeps their own
                raise FolderUnsafe(path=str(above), problem=_ABOVE_WRITTEN, below=str(path))


def _written_by_others(found: os.stat_result) -> bool:
    """Return whether a folder can be written to by users other than this one and root."""
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not _is_private(found.st_gid)


def _is_private(group: int) -> bool:
    """Return whether a group is this user's alone (many systems give each user one), or root's."""
    try:
        user, entry = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    own = group == _ROOT or (group == user.pw_gid and entry.gr_name == user.pw_name)
    return own and set(entry.gr_mem) <= {user.pw_name, "root"}


def _check_owner(path: Path, found: os.stat_result) -> None:
    if _POSIX and found.st_uid != os.geteuid():
        _refuse_as_root(path, found.st_uid)
        raise FolderUnsafe(path=str(path), problem=Problem(N_("belongs to another user")))


def _refuse_as_root(path: Path, above: int) -> None:
    """Tell root whose `path` is; one that does not exist belongs to the user `above`, whose folder it would be in.

    Raises:
        FolderOfAnother: this process is root's, and `path` is not.
    """
    if os.geteuid() != _ROOT:
        return
    owner = path.stat().st_uid if path.exists() else above
    if owner != _ROOT:
        try:
            user = pwd.getpwuid(owner).pw_name
        except KeyError:
            user = f"'#{owner}'"  # as sudo takes a number
        raise FolderOfAnother(path=str(path), user=user)


def read_private(
    path: Path,
    *,
    tighten: bool = False,
    most: int | None = None,
    unusable: type[UsageError] = FolderUnusable,
) -> bytes | None:
    """Return the contents of a private file, or None if it does not exist.

    With `tighten`, the mode of a file that others can read but not write is set to 0600 first: an editor may have
    left it so. A file of more than `most` bytes is refused before it is read.

    Raises:
        FolderUnsafe: it is a symbolic link or not a plain file, belongs to another user, or others can read or
            write it.
        FolderUnusable: it cannot be read, or is too large. `unusable` names another error to raise instead.
    """
    with reported(path, unusable):
        try:
            file = open(path, "rb", opener=open_safely)  # noqa: SIM115 - Path has no opener
        except FileNotFoundError:
            return None
        with file:
            found = os.fstat(file.fileno())
            if tighten and _POSIX and found.st_uid == os.geteuid() and not found.st_mode & _WRITTEN_BY_OTHERS:
                os.fchmod(file.fileno(), 0o600)
                found = os.fstat(file.fileno())
            check_file(path, found)
            if most is not None and found.st_size > most:
                raise unusable(path=str(path), problem=_TOO_LARGE, most=most // MIB)
            return file.read(-1 if most is None else most)


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
        sync_folder(path.parent)


def copy_as_it_is(path: Path, copy: Path) -> None:
    """Copy a file with its mode and, as root, its owner; a symbolic link as one, and nothing if there is none.

    Raises:
        FolderUnusable: it cannot be read, or the copy cannot be written.
    """
    with reported(path):
        if os.path.lexists(path):
            shutil.copy2(path, copy, follow_symlinks=False)
            if _POSIX and os.geteuid() == _ROOT:
                found = path.lstat()
                os.chown(copy, found.st_uid, found.st_gid, follow_symlinks=False)


def make_private(path: Path) -> None:
    """Create an empty file at `path`, 0600 whatever the umask, unless it exists."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600)
        try:
            if _POSIX:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)


def open_safely(path: str, flags: int) -> int:
    """Open a file as `os.open` does, but no symbolic link, and without waiting for the other end of a pipe."""
    return os.open(path, flags | _SAFELY)


def sync_folder(path: Path) -> None:
    """Write the names in the folder at `path` to the disk."""
    if _POSIX:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def keep_trace() -> str:
    """Write the traceback of the current exception to a new file and return its path."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="antiphon-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exc(file=file)
    return file.name
