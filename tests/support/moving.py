"""Two server processes of one data folder, and a session that moves between them.

The service is a file, which each server loads: what is asked of it shows in which process it runs.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from antiphon.wire.bodies import Body, Error, Welcome
from support.processes import ServerProcess
from support.raw import RawClient

PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.01
SERVICE = '''
import asyncio, os, time
from pathlib import Path

RUNS = Path(__file__).with_name("runs")

class Moving:
    """Does what the first word of a message says, and notes each run."""

    def opened(self, session):
        session.state = 0
        self.note("opened", session.name)

    def closed(self, session):
        self.note("closed", session.name)

    def received(self, message, session):
        if isinstance(message, bytes):
            return message
        session.state += 1
        self.note("run", message)
        word, _, rest = message.partition(" ")
        return getattr(self, "on_" + word, lambda *_: message)(rest, session)

    def note(self, *what):
        with open(RUNS, "a") as file:
            file.write(" ".join(what) + "\\n")

    def on_pid(self, rest, session):
        return str(os.getpid())

    def on_state(self, rest, session):
        return str(session.state)

    def on_address(self, rest, session):
        return session.address

    def on_push(self, rest, session):
        for number in range(int(rest)):
            session.send(f"push {number}")

    def on_flood(self, rest, session):
        for number in range(int(rest)):
            session.send(bytes([number % 256]) * 65536)

    def on_block(self, rest, session):
        time.sleep(float(rest))
        return "unblocked"

    def on_block_until(self, rest, session):
        while not Path(rest).exists():
            time.sleep(0.01)
        return "unblocked"

    async def on_count(self, rest, session):
        for number in range(int(rest)):
            yield str(number)

    async def on_stream(self, rest, session):
        for number in range(int(rest)):
            yield bytes([number % 256]) * 65536

    async def on_slow(self, rest, session):
        await asyncio.sleep(float(rest))
        self.note("after", rest)
        return "slow"

    async def on_wait(self, rest, session):
        try:
            while not Path(rest).exists():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.note("cancelled", rest)
            raise
        self.note("after", rest)
        return "done"

SERVE = Moving()
'''


class Two:
    """Two servers: the first is the home of the sessions of a test, the second relays."""

    def __init__(self, folder: Path, home: ServerProcess, other: ServerProcess) -> None:
        self.folder = folder
        self.home = home
        self.other = other
        self.sockets = [descriptors(server)["socket"] for server in (home, other)]
        """How many each has open without a client."""

    def ran(self, what: str) -> int:
        """Return how often the service has noted something."""
        runs = self.folder / "runs"
        return runs.read_text().splitlines().count(what) if runs.exists() else 0

    def wait_for(self, what: str, times: int = 1) -> None:
        """Wait until the service has noted something so many times."""
        until(lambda: self.ran(what) >= times)


_clients: list[RawClient] = []
"""All that `knock` has made: a test need not close them."""


def close_clients() -> None:
    """Close them."""
    while _clients:
        _clients.pop().sock.close()


def service_in(folder: Path) -> str:
    """Write the service into a folder; return how `antiphon serve` is told of it."""
    path = folder / "service.py"
    if not path.exists():
        path.write_text(SERVICE, "utf-8")
    return f"{path}:SERVE"


def started(folder: Path, *options: str, **environment: str) -> ServerProcess:
    """Start a server of the service on the data folder `folder / "data"`."""
    return ServerProcess(folder / "data", *options, "--host", "127.0.0.1", service_in(folder), **environment)


@contextmanager
def two_servers(folder: Path, *options: str) -> Iterator[Two]:
    """Run two servers of one data folder."""
    with ExitStack() as closing:
        closing.callback(close_clients)
        servers = [closing.enter_context(started(folder, *options)) for _ in range(2)]
        yield Two(folder, *servers)


def knock(server: ServerProcess, token: bytes, received: int | None, source: str = "") -> tuple[RawClient, Body]:
    """Return a new connection to a server that has asked to resume a session, and the answer."""
    client = RawClient(server.address, source=source)
    _clients.append(client)
    try:
        client.hello()
        return client, client.resume(token, received)
    except BaseException:
        client.sock.close()
        raise


def back(
    server: ServerProcess, token: bytes, received: int | None = None, source: str = ""
) -> tuple[RawClient, Welcome]:
    """Return a new connection to a server that has resumed a session, and its WELCOME."""
    client, welcome = knock(server, token, received, source)
    assert isinstance(welcome, Welcome), welcome
    return client, welcome


def refused(server: ServerProcess, token: bytes, received: int | None = None) -> Error:
    """Return the error with which a server refuses to resume a session."""
    client, error = knock(server, token, received)
    client.sock.close()
    assert isinstance(error, Error), error
    return error


def back_at_last(
    server: ServerProcess, token: bytes, received: int | None, seconds: float = PATIENCE_SECONDS
) -> tuple[RawClient, Welcome]:
    """Resume a session as a client does that is told to try later."""
    ends = time.monotonic() + seconds
    while True:
        client, answer = knock(server, token, received)
        if isinstance(answer, Welcome):
            return client, answer
        client.sock.close()
        assert isinstance(answer, Error), answer
        assert answer.code == "try-later", answer
        assert time.monotonic() < ends
        time.sleep(0.05)


def until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until a condition holds, which another process makes true."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(LOOK_SECONDS)


def descriptors(server: ServerProcess) -> Counter[str]:
    """Count the descriptors of a server by kind, without those of the data folder: SQLite opens some at need."""
    kinds: Counter[str] = Counter()
    for entry in Path(f"/proc/{server.process.pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if not target.startswith(str(server.folder)):
            kinds[target.partition(":")[0]] += 1
    return kinds


def resident(server: ServerProcess) -> int:
    """Return the most memory that a server has had resident, in bytes."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError
