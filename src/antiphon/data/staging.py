"""Hidden folders in which something is made until it is whole. One that a killed process has left is removed."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

if os.name == "posix":
    import fcntl

YOUNG_SECONDS = 60.0
"""Age below which a folder is not looked at: its process may not have locked it yet."""


@contextlib.contextmanager
def staging(folder: Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder in `folder`, private to this user, whose name begins with `prefix`; remove it in the end.

    Raises:
        OSError: it cannot be made.
    """
    remove_left(folder, prefix)
    stage = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    try:
        stage.chmod(0o700)  # mkdtemp applies the umask
        with folder_locked(stage):
            yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextlib.contextmanager
def folder_locked(path: Path) -> Iterator[None]:
    """Hold a lock on a folder itself: a file for it would not leave the folder empty.

    Raises:
        BlockingIOError: another process holds it.
        OSError: the folder cannot be opened.
    """
    if os.name != "posix":
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def remove_left(folder: Path, prefix: str) -> None:
    """Remove the folders in `folder` that killed processes of this user have left."""
    for left in folder.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            found = left.lstat()
            own = os.name != "posix" or found.st_uid == os.geteuid()
            if own and time.time() - found.st_mtime > YOUNG_SECONDS:
                with folder_locked(left):
                    shutil.rmtree(left)
