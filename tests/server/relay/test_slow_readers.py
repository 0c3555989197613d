"""A client that does not read, behind a relay: cut by bytes and by time (promise 12), in bounded memory."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.wire.frames import Frame
from antiphon.wire.kinds import KIB
from support.desk import sent
from support.moving import Two, back, resident, two_servers
from support.raw import RawClient
from support.serving import seed

WRITE = 1.0
LATE = 60.0
"""Seconds after a deadline within which even a busy machine must have acted."""
MEMORY = 4 * 1024 * KIB
"""Bytes that one slow reader may cost each process."""
FLOOD = 1000
"""Pieces of 64 KiB: far more than that."""


@pytest.fixture(params=["tcp", "tls"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Two]:
    with two_servers(
        tmp_path,
        "--write-seconds",
        str(WRITE),
        "--drain-seconds",
        "1",
        *(["--plain"] if request.param == "tcp" else []),
    ) as servers:
        yield servers


@pytest.fixture
def client(tmp_path: Path, two: Two) -> Iterator[RawClient]:
    """A relayed client with a small buffer."""
    (token,) = seed(tmp_path / "data")
    with back(two.home, token)[0] as first:
        assert first.ask("state") == "1"
    with back(two.other, token, 1)[0] as relayed:
        relayed.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
        yield relayed


def test_one_who_takes_no_answers_is_cut_in_time(two: Two, client: RawClient) -> None:
    before = [resident(server) for server in (two.home, two.other)]
    began = time.monotonic()
    sent(client, f"stream {FLOOD}")
    two.wait_for(f"run stream {FLOOD}")
    two.home.logged("peer-too-slow")
    assert WRITE - 0.3 < time.monotonic() - began < WRITE + LATE
    for server, was in zip((two.home, two.other), before, strict=True):
        assert resident(server) - was < MEMORY
    client.closed()


def test_one_who_is_pushed_too_much_is_cut_at_once(two: Two, client: RawClient) -> None:
    before = resident(two.other)
    sent(client, "flood 30")
    two.wait_for("run flood 30")
    two.home.logged("peer-too-slow")
    assert resident(two.other) - before < MEMORY
    client.closed()


def test_one_who_reads_slowly_and_steadily_is_served_to_the_end(two: Two, client: RawClient) -> None:
    (id,) = sent(client, "stream 60")
    for number in range(60):
        event = client.next()
        assert isinstance(event, Frame)
        assert (event.id, event.payload[:1]) == (id, bytes([number]))
        time.sleep(3 * WRITE / 60)  # it takes three times what one who reads nothing has
    assert "peer-too-slow" not in two.home.log
    assert client.next().id == id
    assert client.ask("state") == "3"


def test_a_client_that_sends_without_reading_fills_neither_process(two: Two, client: RawClient) -> None:
    before = [resident(server) for server in (two.home, two.other)]
    client.sock.settimeout(WRITE / 4)
    (_, message) = client.conversation.message(bytes(256 * KIB))
    with contextlib.suppress(OSError):  # its buffers and ours are full, or it is cut
        while True:
            client.send(message)
    two.home.logged("peer-too-slow")
    for server, was in zip((two.home, two.other), before, strict=True):
        assert resident(server) - was < MEMORY
