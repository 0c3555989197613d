"""Processes on one core, and the two servers that are measured, each in its own process."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from antiphon.server.certificate import CERTIFICATE_FILE, KEY_FILE

BLIND = Path(__file__).with_name("blind.py")
ANTIPHON = Path(sys.executable).with_name("antiphon")
PIN = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); os.execv(sys.argv[2], sys.argv[2:])"
"""A program that goes to one core and then becomes another program."""
TOPOLOGY = "/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"


def pinned(core: int, program: str | Path, *arguments: str | Path) -> list[str]:
    """Return the command that runs `program` on `core` and nowhere else."""
    return [sys.executable, "-c", PIN, str(core), str(program), *map(str, arguments)]


def cores() -> tuple[int, int]:
    """Return a core for the server and one for the load, not two threads of one where that can be had."""
    usable = sorted(os.sched_getaffinity(0))
    server = usable[-1]
    others = [core for core in usable if core != server] or [server]
    return server, next((core for core in others if _siblings(core) != _siblings(server)), others[0])


def _siblings(core: int) -> str:
    try:
        return Path(TOPOLOGY.format(core=core)).read_text("ascii")
    except OSError:  # some containers do not show it
        return str(core)


@contextlib.contextmanager
def antiphon(folder: Path, core: int, *, secure: bool) -> Iterator[dict[str, Any]]:
    """Run `antiphon serve` with its data in `folder`; give what it says of itself."""
    options = ["--host", "127.0.0.1", "--port", "0", "--no-input", "--json", "--log-level", "warning"]
    plain = [] if secure else ["--plain"]
    with _server(pinned(core, ANTIPHON, "serve", "--data", folder, *options, *plain), folder) as start:
        yield start


@contextlib.contextmanager
def blind(folder: Path, core: int, *, secure: bool) -> Iterator[dict[str, Any]]:
    """Run the blind echo, over TLS with the certificate that Antiphon keeps in `folder`; give its port."""
    certificate_and_key = (folder / CERTIFICATE_FILE, folder / KEY_FILE) if secure else ()
    with _server(pinned(core, sys.executable, BLIND, *certificate_and_key), folder) as start:
        yield start


@contextlib.contextmanager
def _server(command: list[str], folder: Path) -> Iterator[dict[str, Any]]:
    """Start a server that tells of itself in one line of JSON; it is gone at the end."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
    environment = own | {"XDG_CONFIG_HOME": str(folder / "none")}  # nor does a TOML file of the developer's count
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise SystemExit("bench: a server did not start; what it said stands above.")
            yield json.loads(line)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
