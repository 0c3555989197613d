"""What a server waits for, and how long: a locked folder at its start, the store at the entry, a slow end."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from antiphon.data import folder as folder_module
from antiphon.data.certificate import load_or_make
from antiphon.data.folder import DataFolder
from antiphon.server.connection import deadlines
from antiphon.server.connection.connection import Connection
from antiphon.server.connection.deadlines import LINGER_SECONDS
from antiphon.server.connection.state import State
from antiphon.server.connection.write_buffer import ENTRY_QUEUE_LIMIT, QUEUE_LIMIT
from antiphon.server.peer import Peer
from antiphon.server.server import Server
from antiphon.settings import ServerSettings
from antiphon.store.contracts import Account, Accounts
from antiphon.wire.bodies import Identified, Identify, ServerBye
from antiphon.wire.frames import Frame, encode
from antiphon.wire.kinds import ENTRY_LIMIT, MESSAGE_LIMIT_MOST, Kind
from support.inside import connections
from support.serving import ATTACKER, Serving, seed, serving

HELD_SECONDS = 0.2
"""How long another holds the folder's lock: less than a server waits for it here."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return DataFolder.open(tmp_path / "data").path


@pytest.fixture
def lock(data: Path, monkeypatch: pytest.MonkeyPatch) -> FileLock:
    monkeypatch.setattr(folder_module, "LOCK_SECONDS", 10 * HELD_SECONDS)
    return FileLock(data / "lock", thread_local=False)


async def started(data: Path) -> None:
    """Start a server and stop it; one that waits inside the event loop never sees the lock released."""
    async with Server(settings=ServerSettings(data=data, host="127.0.0.1", port=0, drain_seconds=1)):
        pass


async def test_the_loop_goes_on_while_another_holds_the_lock_of_the_key_ring(data: Path, lock: FileLock) -> None:
    lock.acquire()
    asyncio.get_running_loop().call_later(HELD_SECONDS, lock.release)
    await started(data)


async def test_the_loop_goes_on_while_another_holds_the_lock_of_the_certificate(
    data: Path, lock: FileLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()

    def held_by_another(*arguments: Any) -> Any:
        lock.acquire()
        loop.call_soon_threadsafe(lambda: loop.call_later(HELD_SECONDS, lock.release))
        return load_or_make(*arguments)

    monkeypatch.setattr("antiphon.server.server.load_or_make", held_by_another)
    await started(data)


class Slow:
    """Accounts that are found only when it is time."""

    def __init__(self, accounts: Accounts) -> None:
        self._find = accounts.find
        self.time = asyncio.Event()

    async def find(self, key: str) -> Account | None:
        await self.time.wait()
        return await self._find(key)


def wait_for(server: Serving, condition: Callable[[Connection], bool]) -> None:
    """Wait until something holds for a connection; each look is a step of the server's loop."""
    deadline = time.monotonic() + 10
    while not server.read(lambda server: any(map(condition, connections(server)))):
        assert time.monotonic() < deadline


def test_of_one_who_has_not_signed_in_little_is_read_while_the_store_is_asked(data: Path) -> None:
    frame = encode(Kind.IDENTIFY, 1, b'{"name":"ann"}'.ljust(ENTRY_LIMIT))
    count = 2 * ENTRY_QUEUE_LIMIT // len(frame)
    assert count * len(frame) < QUEUE_LIMIT
    with serving(data, plain=True) as server, server.client(ATTACKER) as client:
        client.hello()
        slow = server.read(lambda server: Slow(server._store.accounts))
        server.read(lambda server: setattr(server._store.accounts, "find", slow.find))
        client.send(frame * count)
        wait_for(server, lambda connection: connection._reading.paused)
        server.read(lambda _: slow.time.set())
        assert [client.body() for _ in range(count)] == [Identified(name="ann", free=True)] * count
        assert client.request(Kind.IDENTIFY, Identify(name="bob")) == Identified(name="bob", free=True)


def test_over_tls_who_reads_late_still_gets_what_was_answered_before_the_end(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "LINGER_SECONDS", LINGER_SECONDS / 10)
    (token,) = seed(data)
    with serving(data, message_limit=MESSAGE_LIMIT_MOST) as server, server.session(token) as client:
        id, asked = client.conversation.message(bytes(MESSAGE_LIMIT_MOST))
        client.send(asked)
        wait_for(server, lambda connection: connection._writer.paused)
        with server.session(token):
            wait_for(server, lambda connection: connection.state is State.CLOSING)
            closing_at = time.monotonic()
            wait_for(
                server, lambda _: time.monotonic() - closing_at > LINGER_SECONDS / 2
            )  # some looks at deadlines
            answer = client.next()
            assert isinstance(answer, Frame)
            assert (answer.id, len(answer.payload)) == (id, MESSAGE_LIMIT_MOST)
            assert client.body() == ServerBye(reason="replaced")


class Closing(asyncio.Transport):
    """A transport that does not end, and from which the peer takes nothing more."""

    aborted = False

    def __init__(self, unsent: int) -> None:
        super().__init__()
        self.unsent = unsent

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Take any."""

    def limit_reading(self, size: int) -> None:
        """Take any."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hand it on at once."""

    def close(self) -> None:
        """Begin to end."""

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize("binding", [b"over TLS", None])
@pytest.mark.parametrize(("unsent", "patience"), [(1, 10.0), (0, LINGER_SECONDS)])
async def test_what_waits_at_the_end_has_the_time_of_a_slow_reader(
    data: Path, binding: bytes | None, unsent: int, patience: float
) -> None:
    settings = ServerSettings(data=data, host="127.0.0.1", port=0, plain=True, drain_seconds=1, write_seconds=10)
    async with Server(settings=settings) as server:
        transport = Closing(unsent)
        connection = Connection(server._host, Peer("127.0.0.1:1", "127.0.0.1", binding), 0)
        connection.connection_made(transport)
        connection.close()
        closing_at = asyncio.get_running_loop().time()
        connection.tick(closing_at + patience - 0.1)
        assert not transport.aborted
        connection.tick(closing_at + patience + 0.1)
        assert transport.aborted
        connection.connection_lost(None)


def test_who_is_cut_at_the_end_of_the_drain_is_told_of_in_the_log(data: Path) -> None:
    (token,) = seed(data)
    with serving(data, plain=True, drain_seconds=0.1) as server:
        client = server.session(token)
        log = server.server.log_path
    client.sock.close()
    (record,) = [line for line in log.read_text("utf-8").splitlines() if " drain-cut " in line]
    assert record.endswith("warning drain-cut connections=1")
