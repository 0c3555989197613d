"""`ServerProcess`: `antiphon serve` as a process of its own, with workers, for tests of what only they show."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self

from antiphon.address import Address, parse
from antiphon.errors import Problem, UsageError
from antiphon.language import N_
from antiphon.services import Handler
from antiphon.testing.reachable import Reachable

START_SECONDS = 10.0
"""Seconds that further workers may take once the first one serves; then the test goes on without them."""
LOOK_SECONDS = 0.02
"""Pause between two looks into the log, which names each worker that serves."""
STOP_SECONDS = 20.0
"""Seconds that a server may take to stop before it is killed."""

_NO_NAME = Problem(
    N_("A server process loads its service by name: give a name such as shop.py:answer, or what a module holds.")
)


class ServerProcess(Reachable):
    """A server in processes of its own, on a free port of 127.0.0.1, over TLS, until the end of the block.

    `with ServerProcess("shop.py:answer", workers=2) as server`, then `server.connect("ann")`. The workers share
    nothing but the data folder, as those of `antiphon serve --workers 2`; connections are spread evenly over them.
    """

    def __init__(
        self, service: str | Handler, folder: Path | None = None, *, workers: int = 2, **options: Any
    ) -> None:
        """Prepare to serve; the processes start at the beginning of the block.

        Args:
            service: as `antiphon serve` takes it (`module:attr` or `path/to/file.py:attr`), or the function or
                object itself, if a module holds it by a name. Modules are found where the test finds them.
            folder: the data folder; a temporary one by default.
            workers: how many processes serve.
            options: fields of `ServerSettings`.

        Raises:
            UsageError: no module holds the service.
        """
        super().__init__()
        given = {"port": 0, "host": "127.0.0.1", "drain_seconds": 2} | options
        self._service = service if isinstance(service, str) else _name_of(service)
        self._options = [*_flags(given), f"--workers={workers}"]
        self._shown = workers if given.get("log_level", "info") in ("debug", "info") else 1
        """Workers whose start the log shows."""
        self._folder = folder
        self._address: Address

    def __enter__(self) -> Self:
        """Start the server, and wait until it serves.

        Raises:
            RuntimeError: it does not start; the error says what the server has said.
        """
        with ExitStack() as closing:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="antiphon-"))
                closing.callback(shutil.rmtree, self._folder, ignore_errors=True)
            said = closing.enter_context(tempfile.TemporaryFile())
            process = self._start(self._folder, said)
            closing.callback(_stop, process)
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                process.wait()
                said.seek(0)
                raise RuntimeError("The server did not start:\n" + said.read().decode("utf-8", "replace"))
            start = json.loads(line)
            self._address = parse(start["addresses"][0])
            self._wait_for_workers(Path(start["log"]), process)
            self._closing = closing.pop_all()
        return self

    @property
    def address(self) -> Address:
        """The server's address with the fingerprint of its key; `str(address)` is ready to paste."""
        return self._address

    @property
    def folder(self) -> Path:
        """The data folder; `server.log` in it has the traceback of a handler that raised."""
        assert self._folder is not None, "the server has not started"
        return self._folder

    def _start(self, folder: Path, said: IO[bytes]) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "antiphon", "serve", self._service, "--json", "--no-input"]
        return subprocess.Popen(  # noqa: S603 - our own command
            [*command, f"--data={folder}", *self._options],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
        )

    def _wait_for_workers(self, log: Path, process: "subprocess.Popen[bytes]") -> None:
        """Wait until all workers serve: the address is told when the first one does."""
        until = time.monotonic() + START_SECONDS
        while self._shown > 1 and log.is_file() and process.poll() is None and time.monotonic() < until:
            if log.read_text("utf-8").count(" worker-started ") >= self._shown:
                return
            time.sleep(LOOK_SECONDS)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    with process:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _name_of(handler: Handler) -> str:
    """Return the name by which another process finds `handler`.

    Raises:
        UsageError: no module holds it.
    """
    module = sys.modules.get(getattr(handler, "__module__", ""))
    for name, value in vars(module).items() if module else ():
        if value is handler:
            known = module.__name__ != "__main__"  # type: ignore[union-attr] # as the line above has found
            return f"{module.__name__ if known else module.__file__}:{name}"  # type: ignore[union-attr] # likewise
    raise UsageError(problem=_NO_NAME)


def _flags(options: dict[str, Any]) -> list[str]:
    """Return fields of `ServerSettings` as options of `antiphon serve`."""
    return [
        f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}")
        for name, value in options.items()
        if value is not None and value is not False
    ]
