"""`antiphon` for shell scripts of tests: a command that the fork server runs in a fork (`forkserver.py`).

As a script this file stands in for the fork: it hands over its streams, passes signals on, and ends as the fork
ends.
"""

import contextlib
import json
import os
import shlex
import signal
import socket
import struct
import sys
from pathlib import Path

REQUESTS = "TESTS_FORKSERVER"
"""The variable with the number of the socket to the fork server."""
NUMBER = struct.Struct("i")
PASSED_ON = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def install(folder: Path, antiphon: Path) -> None:
    """Write a command into `folder`, which belongs at the front of PATH; it stands in for `antiphon`."""
    folder.mkdir(exist_ok=True)
    command = folder / antiphon.name
    words = [sys.executable, "-IS", __file__, str(antiphon)]
    command.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', "utf-8")
    command.chmod(0o755)


def main() -> int:
    """Have the command run; return its exit code, or the number of the signal that ended it below zero."""
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # until the process to pass them on to is known
    environment = dict(os.environ)
    number = int(environment.pop(REQUESTS))
    request = {"command": sys.argv[1:], "environment": environment, "folder": str(Path.cwd()), "terminal": False}
    status, theirs = os.pipe()
    with socket.socket(fileno=number) as requests:
        socket.send_fds(requests, [json.dumps(request | {"cold": False}).encode()], [theirs, 0, 1, 2])
    os.close(theirs)
    (pid,) = NUMBER.unpack(os.read(status, NUMBER.size))

    def pass_on(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, number)

    for each in PASSED_ON:
        signal.signal(each, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    for stream in range(3):
        os.close(stream)  # so that readers of its output see the end once the fork has closed it
    return os.waitstatus_to_exitcode(*NUMBER.unpack(os.read(status, NUMBER.size)))


if __name__ == "__main__":
    code = main()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)
