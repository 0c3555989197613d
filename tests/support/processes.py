"""Real `antiphon` processes: commands, and servers that report their address.

They are forks of one process that has imported Antiphon already (`forkserver.py`).
"""

import atexit
import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from antiphon.address import Address, parse
from support import forkserver

ANTIPHON = Path(sys.executable).with_name("antiphon")
"""The path of the installed command."""
PASSWORD = "correct horse battery"
"""A password that satisfies every rule."""
PATIENCE_SECONDS = 60.0
"""Longest wait for what another process does: on a busy machine its start alone may take 10 s."""


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment without the developer's own settings."""
    own = ("ANTIPHON_", "XDG_", "LC_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return kept | {"HOME": str(home), "LANG": "C.UTF-8", "NO_COLOR": "1", "PYTHONWARNINGS": "error"} | more


@cache
def fork_requests() -> socket.socket:
    """Return the socket to this test process's fork server; start the server at the first call."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-P", forkserver.__file__, str(theirs.fileno()), PASSWORD],
            stdin=subprocess.DEVNULL,
            env=clean_environment(Path("/")),
            pass_fds=[theirs.fileno()],
        )
    atexit.register(server.wait)
    atexit.register(ours.close)  # ends the fork server
    return ours


class Process:
    """A command as a process, with the methods of `subprocess.Popen`; Antiphon and .py files run in forks."""

    def __init__(
        self,
        command: Sequence[str | Path],
        environment: dict[str, str],
        streams: Sequence[int],
        *,
        terminal: bool = False,
        cold: bool = False,
    ) -> None:
        """Start `command` on three `streams` or a new `terminal`; `cold` does without the fork server."""
        self.args = [str(word) for word in command]
        self.returncode: int | None = None
        self._reading = threading.Lock()
        at_start = any(
            name.startswith(("PYTHON", "LC_", "MALLOC_")) for name in environment.keys() - {"PYTHONWARNINGS"}
        )
        request = {
            "command": self.args,
            "environment": environment,
            "folder": str(Path.cwd()),
            "terminal": terminal,
            "cold": cold or at_start or not (command[0] == ANTIPHON or self.args[0].endswith(".py")),
        }
        self._status, theirs = os.pipe()
        socket.send_fds(fork_requests(), [json.dumps(request).encode()], [theirs, *streams])
        os.close(theirs)
        self.pid = self._number()

    def _number(self) -> int:
        (number,) = forkserver.NUMBER.unpack(os.read(self._status, forkserver.NUMBER.size))
        return int(number)

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit code, or the signal's number below zero."""
        if self.returncode is None:
            ended = select.poll()
            ended.register(self._status, select.POLLIN)
            if not ended.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            with self._reading:  # another thread may wait at the same time
                if self.returncode is None:
                    self.returncode = os.waitstatus_to_exitcode(self._number())
                    os.close(self._status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self.send_signal(signal.SIGKILL)


class PipedProcess(Process):
    """A process whose streams are pipes to the test; the end of the block kills it."""

    def __init__(self, *command: str | Path, environment: dict[str, str], cold: bool = False) -> None:
        """Start `command`."""
        pipes = [os.pipe(), os.pipe(), os.pipe()]
        theirs = pipes[0][0], pipes[1][1], pipes[2][1]
        super().__init__(command, environment, theirs, cold=cold)
        for stream in theirs:
            os.close(stream)
        self.stdin = os.fdopen(pipes[0][1], "wb", buffering=0)
        self.stdout = os.fdopen(pipes[1][0], encoding="utf-8", errors="surrogateescape", newline="")
        self.stderr = os.fdopen(pipes[2][0], encoding="utf-8", newline="")

    def communicate(self, given: bytes = b"", timeout: float = PATIENCE_SECONDS) -> tuple[str, str]:
        """Write the input, wait for the end, and return the content of both output streams."""
        with ThreadPoolExecutor(3) as pool:
            feeding = pool.submit(self._feed, given)
            out, errors = pool.submit(self.stdout.read), pool.submit(self.stderr.read)
            try:
                self.wait(timeout)
            finally:
                self.kill()
        feeding.result()
        return out.result(), errors.result()

    def _feed(self, given: bytes) -> None:
        if self.stdin.closed:
            return
        with contextlib.suppress(BrokenPipeError), self.stdin:
            while given:
                given = given[self.stdin.write(given) :]

    def close(self) -> None:
        """Kill the process if it still runs, and close the pipes."""
        self.kill()
        self.wait()
        for stream in (self.stdin, self.stdout, self.stderr):
            stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ServerProcess:
    """`antiphon serve` as a process, on any free port unless `port` is given."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        port: str = "0",
        program: Sequence[str | Path] = (ANTIPHON,),
        **environment: str,
    ) -> None:
        """Start a server with the data folder `folder`; `options` are further flags of the `program`."""
        self.folder = folder
        self.process = PipedProcess(
            *program, "serve", "--data", folder, "--port", port, "--json", "--no-input", *options,
            environment=clean_environment(folder.parent, **environment),
        )  # fmt: skip
        self.process.stdin.close()
        line = self.process.stdout.readline()
        if not line:
            _, errors = self.process.communicate()
            self.process.close()
            raise RuntimeError(f"the server did not start: {errors}")
        self.start = json.loads(line)

    @property
    def address(self) -> Address:
        """The server's address with its fingerprint."""
        return parse(self.start["addresses"][0])

    @property
    def log(self) -> str:
        """The content of the log."""
        return Path(self.start["log"]).read_text("utf-8")

    def logged(self, pattern: str, times: int = 1) -> None:
        """Wait until the log has `pattern` so many times: a record is written a moment after its event."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while len(re.findall(pattern, self.log)) < times:
            assert time.monotonic() < ends, f"no {pattern} in {self.log}"
            time.sleep(0.01)

    def signal(self, number: int) -> None:
        """Send a signal to the server."""
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE_SECONDS) -> int:
        """Wait for the end of the server; return its exit code."""
        return self.process.wait(timeout)

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self.process.close()

    def stop(self) -> int:
        """Drain the server; return its exit code."""
        self.signal(signal.SIGTERM)
        code = self.wait()
        self.process.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def run_antiphon(
    *arguments: str | Path,
    home: Path,
    stdin: str | bytes = "",
    timeout: float = PATIENCE_SECONDS,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run `antiphon` with `stdin` through a pipe and return its result; text is UTF-8."""
    process = PipedProcess(ANTIPHON, *arguments, environment=clean_environment(home, **environment))
    return _run(process, stdin, timeout)


def run_installed(
    *arguments: str | Path, home: Path, stdin: str | bytes = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a new process, without the fork server."""
    process = PipedProcess(ANTIPHON, *arguments, environment=clean_environment(home, **environment), cold=True)
    return _run(process, stdin, PATIENCE_SECONDS)


def _run(process: PipedProcess, stdin: str | bytes, timeout: float) -> subprocess.CompletedProcess[str]:
    with process:
        out, errors = process.communicate(stdin.encode() if isinstance(stdin, str) else stdin, timeout)
        return subprocess.CompletedProcess(process.args, process.wait(), out, errors)


def sockets(pid: int) -> int:
    """Return how many TCP connections a process holds."""
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()]
    all_of_the_machine = {f"socket:[{line.split()[9]}]" for line in lines}
    held = (str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir())
    return len(all_of_the_machine.intersection(held))


@contextlib.contextmanager
def killed_at_end(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Yield a process, and kill it at the end of the block."""
    try:
        yield process
    finally:
        process.kill()
        process.wait()
