"""Files that the service manager gives a server (`LoadCredential=` of systemd): they are read, and never copied.

One that is given stands in for the file of the same name in the data folder.
"""

import os
import stat
from pathlib import Path

from antiphon.errors import FolderUnsafe, Problem
from antiphon.files import open_safely, reported
from antiphon.language import N_

VARIABLE = "CREDENTIALS_DIRECTORY"
NAMES = frozenset({"secret.key", "certificate.key", "certificate.pem"})
_OPEN = stat.S_IWGRP | stat.S_IRWXO
"""Bits of a mode that let others in. Those of the group's reading are also set where a list of access names us."""


def given_file(name: str) -> Path | None:
    """Return the path of the file `name` that was given; None if it was not, or is none of `NAMES`."""
    folder = os.environ.get(VARIABLE, "")
    path = Path(folder) / name
    return path if name in NAMES and os.path.isabs(folder) and os.path.lexists(path) else None  # noqa: PTH117 - it may be empty


def read_given(path: Path) -> bytes:
    """Return the content of a file that was given.

    Raises:
        FolderUnsafe: it is a symbolic link or no plain file, belongs to another user (but root), or others can
            read or write it.
        FolderUnusable: it cannot be read.
    """
    with reported(path), open(path, "rb", opener=open_safely) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise FolderUnsafe(path=str(path), problem=Problem(N_("is not a plain file")))
        if os.name == "posix" and found.st_uid not in (0, os.geteuid()):
            raise FolderUnsafe(path=str(path), problem=Problem(N_("belongs to another user")))
        if os.name == "posix" and found.st_mode & _OPEN:
            raise FolderUnsafe(path=str(path), problem=Problem(N_("can be read or written by others")))
        return file.read()
