"""Attacks before the sign-in (promises 9 and 10), while an honest client talks on."""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.server.server import Server
from antiphon.wire.bodies import Authenticate, Error, Identify
from antiphon.wire.frames import HEADER, encode
from antiphon.wire.kinds import ENTRY_LIMIT, KIB, Kind
from support.inside import connections
from support.processes import ServerProcess
from support.raw import RawClient, dial
from support.serving import ATTACKER, Honest, Serving, seed, serving

FIRST_FRAME = 1.0
ENTRY = 2.0
LATE = 60.0
"""Seconds after a deadline within which even a busy machine must have acted."""


@pytest.fixture(scope="module", params=["tcp", "tls"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    yield from served(tmp_path_factory, plain=request.param == "tcp", entry_seconds=ENTRY, handshake_seconds=1.0)


@pytest.fixture(scope="module", params=["tcp", "tls"])
def impatient(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server on which only the deadline of the first frame can close a connection."""
    yield from served(tmp_path_factory, plain=request.param == "tcp", first_frame_seconds=FIRST_FRAME)


def served(tmp_path_factory: pytest.TempPathFactory, **options: Any) -> Iterator[Serving]:
    """Run a server with an honest client in session."""
    folder = tmp_path_factory.mktemp("entry") / "data"
    tokens = seed(folder)
    with serving(folder, **options) as running, Honest(running.address, tokens[0]):
        yield running


@pytest.fixture
def client(server: Serving) -> Iterator[RawClient]:
    yield from greeted(server)


@pytest.fixture
def silent(impatient: Serving) -> Iterator[RawClient]:
    yield from greeted(impatient)


def greeted(server: Serving) -> Iterator[RawClient]:
    """Connect; the deadlines of the connection begin after `connected_at`."""
    connected_at[0] = time.monotonic()
    with server.client(ATTACKER) as client:
        client.hello()
        yield client


connected_at = [0.0]


def test_silence_after_connecting_is_cut_at_the_first_frame_deadline(silent: RawClient) -> None:
    assert silent.ended_with() == "sign-in-timed-out"
    assert FIRST_FRAME - 0.5 < time.monotonic() - connected_at[0] < FIRST_FRAME + LATE


def test_silence_after_the_first_frame_is_cut_at_the_entry_deadline(client: RawClient) -> None:
    client.request(Kind.IDENTIFY, Identify(name="ann"))
    assert client.ended_with() == "sign-in-timed-out"
    assert ENTRY - 0.5 < time.monotonic() - connected_at[0] < ENTRY + LATE


def test_a_frame_that_trickles_in_does_not_extend_the_first_frame_deadline(silent: RawClient) -> None:
    frame = encode(Kind.IDENTIFY, 1, bytes(ENTRY_LIMIT))
    trickle(silent, [frame[at : at + 1] for at in range(len(frame))], FIRST_FRAME)


def test_whole_frames_do_not_extend_the_entry_deadline(client: RawClient) -> None:
    trickle(client, [encode(Kind.HEARTBEAT, 0)] * 1000, ENTRY)


def trickle(client: RawClient, pieces: list[bytes], seconds: float) -> None:
    """Send the pieces one by one; check that the server closes the connection after so many seconds."""
    client.sock.settimeout(0.05)
    for piece in pieces:
        assert time.monotonic() - connected_at[0] < seconds + LATE
        try:
            client.send(piece)
            body = client.body()
        except TimeoutError:
            continue
        assert isinstance(body, Error)
        assert body.code == "sign-in-timed-out"
        assert time.monotonic() - connected_at[0] > seconds - 0.5
        return
    pytest.fail("the server took everything")


@pytest.mark.parametrize("kind", [Kind.IDENTIFY, Kind.RESUME, Kind.BYE, 0x80])
def test_a_header_that_claims_4_gib_is_refused_at_once(client: RawClient, kind: int) -> None:
    client.send(HEADER.pack(0xFFFF_FFFF, kind, 0, 0, 1))
    assert client.ended_with() == "frame-too-large"


@pytest.mark.parametrize("kind", [Kind.IDENTIFY, Kind.REGISTER, Kind.AUTHENTICATE, Kind.CHALLENGE])
def test_a_frame_over_4_kib_is_refused_from_its_header(client: RawClient, kind: Kind) -> None:
    client.send(encode(kind, 1, bytes(ENTRY_LIMIT + 1))[:12])
    assert client.ended_with() == "frame-too-large"


def test_a_frame_of_4_kib_is_read_to_its_end(client: RawClient) -> None:
    client.send(encode(Kind.IDENTIFY, 1, b'{"name":"ann"}'.ljust(ENTRY_LIMIT)))
    assert not isinstance(client.body(), Error)


@pytest.mark.parametrize("size", [KIB + 1, 2 * KIB])
def test_sasl_data_over_1_kib_is_refused(client: RawClient, size: int) -> None:
    mechanism = "SCRAM-SHA-256" if client.binding is None else "SCRAM-SHA-256-PLUS"
    body = client.request(Kind.AUTHENTICATE, Authenticate(mechanism=mechanism, data=bytes(size)))
    assert isinstance(body, Error)
    assert body.code == "body-invalid"
    client.closed()


def test_a_message_before_sign_in_is_refused_from_its_header(client: RawClient) -> None:
    client.send(encode(Kind.MESSAGE, 1, bytes(1000))[:12])
    assert client.ended_with() == "frame-unexpected"


@pytest.mark.parametrize(
    "rubbish", [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"SSH-2.0-OpenSSH_9.9\r\n", bytes(64)]
)
def test_another_protocol_inside_the_connection_is_refused(client: RawClient, rubbish: bytes) -> None:
    client.send(rubbish)
    assert client.ended_with() == "frame-invalid"


def test_a_goodbye_before_sign_in_is_answered(client: RawClient) -> None:
    client.leave()


def test_nothing_is_left_of_1000_that_connect_and_close(server: Serving) -> None:
    for number in range(1000):
        connection = dial(server.address, source=ATTACKER)
        if number % 3 == 0:
            connection.sendall(b"half a frame")
        if number % 2:  # half of them by a reset
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    with server.client(ATTACKER) as after:
        after.hello()  # so all before it were accepted
    wait_for(lambda: server.read(left) == (0, 1))  # the honest one


def left(server: Server) -> tuple[int, int]:
    return server._host.limits.count, len(connections(server))


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until `condition()` holds; each check is an iteration of the server's event loop."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline


def test_of_one_who_never_reads_no_more_than_a_bounded_amount_is_taken(server: Serving) -> None:
    questions = encode(Kind.IDENTIFY, 1, b'{"name":"ann"}') * 1000
    with server.client(ATTACKER) as client:
        client.sock.settimeout(ENTRY / 4)
        with pytest.raises(
            OSError
        ):  # TimeoutError, as the buffers of the system are full; or it was cut meanwhile
            client.send(questions * (64 * 1024 * KIB // len(questions)))


def test_a_claimed_4_gib_takes_no_memory(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("memory") / "data"
    tokens = seed(folder)
    with ServerProcess(folder, "--plain") as process, Honest(process.address, tokens[0]):
        before = resident(process.process.pid)
        for _ in range(30):
            with RawClient(process.address, source=ATTACKER) as client:
                client.hello()
                client.send(HEADER.pack(0xFFFF_FFFF, Kind.IDENTIFY, 0, 0, 1) + bytes(64 * KIB))
                assert client.ended_with() == "frame-too-large"
        assert resident(process.process.pid) - before < 8 * 1024 * KIB


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * 4 * KIB
