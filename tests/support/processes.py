"""Real `antiphon` processes: a server that says where it listens, and the path of the installed command."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from antiphon.address import Address, parse

ANTIPHON = Path(sys.executable).with_name("antiphon")
"""The installed command."""
PASSWORD = "correct horse battery"
"""Long enough for every rule."""


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment in which nothing of the developer's own settings counts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANTIPHON_", "XDG_", "LC_"))}
    return kept | {"HOME": str(home), "LANG": "C.UTF-8", "NO_COLOR": "1", "PYTHONWARNINGS": "error"} | more


class ServerProcess:
    """`antiphon serve` as a process of its own, on any free port unless told otherwise."""

    def __init__(self, folder: Path, *options: str, port: str = "0", **environment: str) -> None:
        """Start a server with its data in `folder`; `options` are more of its flags."""
        self.folder = folder
        self.process = subprocess.Popen(
            [ANTIPHON, "serve", "--data", folder, "--port", port, "--json", "--no-input", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(folder.parent, **environment),
            text=True,
            encoding="utf-8",
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, errors = self.process.communicate(timeout=10)
            raise RuntimeError(f"the server did not start: {errors}")
        self.start = json.loads(line)

    @property
    def address(self) -> Address:
        """Where it listens, with its fingerprint."""
        return parse(self.start["addresses"][0])

    @property
    def log(self) -> str:
        """What its log holds."""
        return Path(self.start["log"]).read_text("utf-8")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float = 40) -> int:
        """Wait for its end; return its exit code."""
        return self.process.wait(timeout)

    def kill(self) -> None:
        """Kill it as no program can prevent."""
        self.process.kill()
        self.process.wait()
        self._close()

    def stop(self) -> int:
        """Stop it in order; return its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGTERM)
        code = self.wait()
        self._close()
        return code

    def _close(self) -> None:
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()
        self._close()


def run_antiphon(
    *arguments: str | Path, home: Path, stdin: str | bytes = "", timeout: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the installed command to its end, with `stdin` through a pipe; text is UTF-8."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [ANTIPHON, *arguments],
        input=given,
        capture_output=True,
        timeout=timeout,
        env=clean_environment(home, **environment),
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode("utf-8", "surrogateescape"), done.stderr.decode()
    )


def sockets(pid: int) -> int:
    """Return how many TCP connections a process holds."""
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()]
    all_of_the_machine = {f"socket:[{line.split()[9]}]" for line in lines}
    held = (str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir())
    return len(all_of_the_machine.intersection(held))


@contextlib.contextmanager
def killed_at_end(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Give a process and make sure that it does not outlive the test."""
    try:
        yield process
    finally:
        process.kill()
        process.wait()
