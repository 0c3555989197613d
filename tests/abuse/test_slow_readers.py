"""Peers that do not read their answers (promise 12): cut off by bytes and by time, without cost to others."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.wire.bodies import Error
from antiphon.wire.conversation import Control
from antiphon.wire.kinds import KIB, MESSAGE_LIMIT_MOST
from support.inside import connections
from support.processes import ServerProcess
from support.raw import RawClient
from support.serving import ATTACKER, Honest, in_session, seed, serving

WRITE = 1.0
LATE = 30.0
"""Seconds after a deadline within which even a busy machine must have acted."""
ATTACKERS = 10
MESSAGE = 256 * KIB
A_SESSION = 4 * 1024 * KIB
"""Bytes that one attacker may cost: the buffers in both directions, and the overhead of the allocator."""


@pytest.fixture(scope="module", params=["tcp", "tls"])
def process(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, list[bytes]]]:
    folder = tmp_path_factory.mktemp("slow") / "data"
    tokens = seed(folder, sessions=ATTACKERS + 3)
    options = ["--plain"] if request.param == "tcp" else []
    with ServerProcess(folder, "--write-seconds", str(WRITE), *options) as process:
        yield process, tokens


def resident(process: ServerProcess) -> int:
    """Return the resident memory of a process in bytes."""
    fields = Path(f"/proc/{process.process.pid}/statm").read_text("ascii").split()
    return int(fields[1]) * 4 * KIB


class NeverReads(threading.Thread):
    """Sends as long as the server reads, reads almost nothing itself, and records when it is cut off."""

    def __init__(self, client: RawClient, *, sips: bool = False) -> None:
        super().__init__()
        self._client = client
        self._sips = sips
        self.seconds = 0.0
        """Seconds from the moment the server stopped reading to the end of the connection."""

    def run(self) -> None:
        with self._client as client:
            client.sock.settimeout(WRITE / 4)
            question = memoryview(client.conversation.message(bytes(MESSAGE))[1])
            sent, blocked_at = 0, time.monotonic()
            while not self._is_cut() and time.monotonic() - blocked_at < WRITE + 2 * LATE:
                with contextlib.suppress(OSError):  # TimeoutError: the buffers of both ends are full
                    while True:
                        sent = (sent + client.sock.send(question[sent:])) % len(question)
                        blocked_at = time.monotonic()
                if self._sips:
                    with contextlib.suppress(OSError):
                        client.sock.recv(1)
            self.seconds = time.monotonic() - blocked_at

    def _is_cut(self) -> bool:
        """Detect the end of the connection without reading the data before it."""
        poller = select.poll()
        poller.register(self._client.sock, 0)
        return bool(poller.poll(50))


def test_those_who_never_read_are_cut_in_time_in_bounded_memory_and_disturb_nobody(
    process: tuple[ServerProcess, list[bytes]],
) -> None:
    server, tokens = process
    with Honest(server.address, tokens.pop()):
        before = most = resident(server)
        attackers = [NeverReads(in_session(server.address, tokens.pop(), ATTACKER)) for _ in range(ATTACKERS)]
        for attacker in attackers:
            attacker.start()
        while any(attacker.is_alive() for attacker in attackers):
            attackers[0].join(0.05)
            most = max(most, resident(server))
    assert most - before < ATTACKERS * A_SESSION
    assert max(attacker.seconds for attacker in attackers) < WRITE + LATE
    server.logged("peer-too-slow", ATTACKERS)


def test_one_who_reads_a_byte_now_and_then_gains_no_time(process: tuple[ServerProcess, list[bytes]]) -> None:
    server, tokens = process
    attacker = NeverReads(in_session(server.address, tokens.pop(), ATTACKER), sips=True)
    attacker.start()
    attacker.join()
    assert attacker.seconds < WRITE + LATE


def test_one_who_reads_slowly_and_steadily_is_served_to_the_end(
    process: tuple[ServerProcess, list[bytes]],
) -> None:
    server, tokens = process
    with in_session(server.address, tokens.pop()) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
        began = time.monotonic()
        while time.monotonic() - began < 2 * WRITE:
            id, data = client.conversation.message(bytes(MESSAGE))
            client.send(data)
            event = client.next()
            assert not (isinstance(event, Control) and isinstance(event.body, Error)), event
            assert event.id == id


@pytest.mark.parametrize("plain", [True, False], ids=["tcp", "tls"])
def test_one_who_asks_once_for_much_and_reads_nothing_is_cut(tmp_path: Path, plain: bool) -> None:
    honest, token = seed(tmp_path / "data", sessions=2)
    with (
        serving(tmp_path / "data", plain=plain, message_limit=MESSAGE_LIMIT_MOST, write_seconds=WRITE) as server,
        Honest(server.address, honest),
    ):
        client = server.session(token)
        client.send(client.conversation.message(bytes(MESSAGE_LIMIT_MOST))[1])
        until = time.monotonic() + WRITE + LATE
        while server.read(lambda server: len(connections(server))) > 1:
            assert time.monotonic() < until, "it holds its connection, and our memory with it"
        client.sock.close()
    assert "peer-too-slow" in server.log()
