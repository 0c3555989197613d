"""Relay addresses: Unix sockets in the data folder, whose path may be longer than a socket address."""

import contextlib
import os
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Container, Iterator
from pathlib import Path

PATH_MOST = 103
"""Bytes of a path that every system takes; Linux takes 107."""
YOUNG_SECONDS = 60.0
FOLDER = "relay"
"""Folder of the sockets, inside the data folder."""


@contextlib.contextmanager
def reachable(path: str) -> Iterator[str]:
    """Give a name for `path` that fits into a socket address, in the block.

    Raises:
        OSError: there is none.
    """
    if len(os.fsencode(path)) <= PATH_MOST:
        yield path
        return
    parent, name = os.path.split(path)
    folder = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{name}"
    finally:
        os.close(folder)


def listen(folder: Path, name: str) -> tuple[socket.socket, Path]:
    """Return a socket that listens, and its path: `name` in `folder`, which is made, for this user alone.

    Where the file system of `folder` takes no sockets, or the path is too long, it is in a new temporary folder.

    Raises:
        OSError: the system does not let us.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        return bound(folder / name), folder / name
    except OSError:
        elsewhere = Path(tempfile.mkdtemp(prefix="antiphon-"))
        return bound(elsewhere / name), elsewhere / name


def bound(path: Path) -> socket.socket:
    """Return a socket that listens at `path`, which must not exist, and does not block.

    Raises:
        OSError: the system does not let us.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)  # noqa: FBT003 - the socket module's signature
        with reachable(str(path)) as short:
            listener.bind(short)
        listener.listen(socket.SOMAXCONN)
    except BaseException:
        listener.close()
        raise
    return listener


def is_refused(path: str) -> bool:
    """Return whether nobody listens at a path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as near:
        near.setblocking(False)  # noqa: FBT003 - the socket module's signature
        try:
            with reachable(path) as short:
                near.connect(short)
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:
            return False
    return False


def remove(path: Path) -> None:
    """Remove the socket at `path`, and its folder if it was made for it alone."""
    with contextlib.suppress(OSError):
        if not path.is_socket():
            return
        path.unlink()
    if path.parent.name != FOLDER:
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def sweep(folder: Path, alive: Container[str]) -> None:
    """Remove the sockets in `folder` of killed processes which others, who cannot reach it, have found dead.

    `alive` holds the ids of the living. What is younger than `YOUNG_SECONDS` stays: it may be about to listen.
    """
    if sys.platform != "linux":  # elsewhere a full backlog refuses, too
        return
    for path in folder.glob("*.sock"):
        with contextlib.suppress(OSError):
            old = time.time() - path.lstat().st_mtime > YOUNG_SECONDS
            if old and path.stem not in alive and is_refused(str(path)):
                remove(path)


def check_owner(connected: socket.socket, *, or_root: bool = False) -> None:
    """Check that the process at the other end runs as this user; with `or_root`, it may also be root.

    Raises:
        PermissionError: it does not.
    """
    if sys.platform == "linux":
        size = struct.calcsize("3i")
        _, uid, _ = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    else:  # LOCAL_PEERCRED: version, uid, ...
        _, uid = struct.unpack_from("II", connected.getsockopt(0, 1, 76))
    if uid != os.geteuid() and not (or_root and uid == 0):
        raise PermissionError
