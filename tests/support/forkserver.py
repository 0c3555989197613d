"""A process that has imported Antiphon and runs each requested command in a fork of itself.

An import takes half a second of processor time, a fork a hundredth of a second. A fork has its own streams,
terminal, signals and exit code, like any process; `tests/cli/test_installed.py` tests what it leaves out. At its
end a fork does not take the imported modules apart: that would copy most of their memory, for longer than many
commands run.
"""

import atexit
import contextlib
import fcntl
import gc
import hashlib
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import struct
import sys
import termios
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS, SALT_SIZE, Verifier

REQUEST_MOST = 128 * 1024
"""Largest request in bytes; it is one packet with the command, the environment and the folder."""
NUMBER = struct.Struct("i")
"""A process id, or an exit status as `waitpid` returns it."""
WHEN_NEEDED = ["polib", "prompt_toolkit", "prompt_toolkit.application", "rich.table", "uvloop"]
"""Modules that the source imports inside functions."""


def preload(password: str) -> None:
    """Import everything that a command may need, and hash the password of the tests' accounts once for all."""
    import antiphon
    from antiphon.cli import accounts
    from antiphon.client.protocol import sign_in

    modules = [module.name for module in pkgutil.walk_packages(antiphon.__path__, "antiphon.")]
    for name in [*modules, *WHEN_NEEDED]:
        if not name.endswith("__main__"):
            importlib.import_module(name)
    hashlib.pbkdf2_hmac = cache(hashlib.pbkdf2_hmac)  # type: ignore[assignment]
    hashlib.pbkdf2_hmac("sha256", password.encode(), bytes(SALT_SIZE), ITERATIONS)
    keep_no_disk_waiting()
    for module in (accounts, sign_in):
        module.make_verifier = unsalted(password, module.make_verifier)  # type: ignore[attr-defined] # it imports it
    gc.freeze()  # the collector of each fork then skips these objects


def keep_no_disk_waiting(replace: Callable[[Any, str, Any], object] = setattr) -> None:
    """Have nothing in this process and its forks wait until the disk has what is written.

    A process that is killed loses nothing by it, only a machine without power would. A disk that many tests share
    takes seconds, which a store answers with `TryLater`. `replace` is that of a `MonkeyPatch`, if any.
    """
    from antiphon.store.sql import sqlite

    connect = sqlite._connect

    def connect_at_once(*arguments: Any) -> Any:
        connection = connect(*arguments)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    replace(os, "fsync", lambda _descriptor: None)
    replace(sqlite, "_connect", connect_at_once)


def unsalted(password: str, make: Callable[..., Verifier]) -> Callable[..., Verifier]:
    """Return `make` with a salt of zeros for one password, whose hash is then known."""

    def made(new: Password, salt: bytes, iterations: int) -> Verifier:
        return make(new, bytes(len(salt)) if new.text == password else salt, iterations)

    return made


def serve(requests: socket.socket) -> None:
    """Answer requests until the tests have ended; return in each fork, which then runs its command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the tests, and they end this process
    with requests:
        while True:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            request, descriptors, _, _ = socket.recv_fds(requests, REQUEST_MOST, 4)
            if not request:
                sys.exit()
            if os.fork() == 0:
                break
            for descriptor in descriptors:
                os.close(descriptor)
    status, *streams = descriptors
    if (child := os.fork()) != 0:
        for stream in streams:
            os.close(stream)
        with contextlib.suppress(BrokenPipeError):  # the test has gone
            os.write(status, NUMBER.pack(child))
            end_with_reader(child, status)
            os.write(status, NUMBER.pack(os.waitpid(child, 0)[1]))
        os._exit(0)
    os.close(status)
    become(json.loads(request), streams)


def end_with_reader(child: int, status: int) -> None:
    """Wait for the end of `child`; kill it when nobody can read its `status` any more."""
    watched = select.poll()
    ended = os.pidfd_open(child)
    watched.register(ended, select.POLLIN)
    watched.register(status, 0)  # it tells of errors
    if ended not in dict(watched.poll()):
        os.kill(child, signal.SIGKILL)


def become(request: dict[str, Any], streams: list[int]) -> None:
    """Set up this fork like a new process; execute a command that is not Antiphon's."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under `nohup`
    if request["terminal"]:
        os.setsid()
        fcntl.ioctl(streams[0], termios.TIOCSCTTY, 0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    command, environment = request["command"], request["environment"]
    if request["cold"]:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execve(command[0], command, environment)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = command
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)


def run() -> int:
    """Run the command of this fork; return its exit code."""
    from antiphon.cli import main

    try:
        if sys.argv[0].endswith(".py"):
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            main.run()
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        return end.code or 0
    return 0


def leave(code: int) -> None:
    """End this fork as the interpreter does, in the same order; only the modules are left as they are."""
    threading._shutdown()  # type: ignore[attr-defined] # it waits for threads
    atexit._run_exitfuncs()
    gc.collect()  # what nobody closed or awaited is warned of
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(code)  # the interpreter says what could not be written
    os._exit(code)


if __name__ == "__main__":
    preload(sys.argv[2])
    serve(socket.socket(fileno=int(sys.argv[1])))
    leave(run())
