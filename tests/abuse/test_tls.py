"""The TLS port against anything but TLS 1.3 with the server itself (promises 6, 7 and 9)."""

import contextlib
import secrets
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from antiphon.address import Address
from antiphon.data.certificate import load_or_make
from antiphon.data.folder import DataFolder
from antiphon.errors import ExposureRefused
from antiphon.server.listen import accept
from antiphon.wire.bodies import Authenticate, Error, Identify, encode
from antiphon.wire.frames import encode as frame
from antiphon.wire.kinds import Kind
from support.processes import PASSWORD
from support.raw import RawClient, dial, tls_context
from support.serving import ATTACKER, Honest, Serving, in_session, seed, serving

HANDSHAKE = 1.0
LATE = 3.0
"""Seconds after a deadline within which even a busy machine must have acted."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("tls") / "data"
    tokens = seed(folder, sessions=2)
    with serving(folder, handshake_seconds=HANDSHAKE) as running, Honest(running.address, tokens[0]):
        yield running


def client_hello() -> bytes:
    """Return a TLS client's first message."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        tls_context().wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


def rest_of(connection: socket.socket) -> bytes:
    """Return all bytes until the server closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(65536):
            received += data
    return received


@pytest.mark.parametrize("sent", [b"", client_hello()[:20]], ids=["nothing", "a part"])
def test_a_handshake_that_does_not_go_on_is_cut_in_time(server: Serving, sent: bytes) -> None:
    began = time.monotonic()
    with dial(server.address, source=ATTACKER) as connection:
        connection.sendall(sent)
        assert rest_of(connection) == b""
    assert time.monotonic() - began < HANDSHAKE + LATE


def test_a_handshake_that_trickles_in_is_cut_in_time(server: Serving) -> None:
    began = time.monotonic()
    hello = client_hello()
    with dial(server.address, source=ATTACKER) as connection:
        connection.settimeout(0.1)
        for at in range(len(hello)):
            try:
                connection.sendall(hello[at : at + 1])
                if not connection.recv(1):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("the server waited for all of it")
    assert time.monotonic() - began < HANDSHAKE + LATE


def test_thirty_silent_handshakes_keep_nobody_waiting(server: Serving) -> None:
    with contextlib.ExitStack() as silent:
        for _ in range(30):
            silent.enter_context(dial(server.address, source=ATTACKER))
        began = time.monotonic()
        with server.client() as client:
            client.hello()
        assert time.monotonic() - began < HANDSHAKE


@pytest.mark.parametrize(
    ("sent", "stays", "why"),
    [(bytes(64), True, "SSLError"), (b"", True, "TimeoutError"), (b"", False, "ConnectionResetError")],
)
def test_a_handshake_that_fails_is_told_of_in_the_log_and_gives_its_place_back(
    server: Serving, sent: bytes, stays: bool, why: str
) -> None:
    with dial(server.address, source=ATTACKER) as connection:
        told = f'tls-failed address={ATTACKER}:{connection.getsockname()[1]} why="{why}"'
        connection.sendall(sent)
        if stays:
            rest_of(connection)
    deadline = time.monotonic() + HANDSHAKE + LATE
    while told not in server.server.log_path.read_text("utf-8"):
        assert time.monotonic() < deadline
    assert server.read(lambda server: server._host.limits.count) == 0


def test_where_tls_cannot_be_begun_the_place_is_given_back(
    server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise ssl.SSLError("no memory")

    monkeypatch.setattr(accept, "TlsTransport", none)
    with dial(server.address, source=ATTACKER) as connection:
        assert rest_of(connection) == b""
    assert server.read(lambda server: server._host.limits.count) == 0


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        frame(Kind.IDENTIFY, 1, encode(Identify(name="ann"))),
        bytes(64),
    ],
    ids=["http", "our own frames", "zeros"],
)
def test_plain_text_is_not_answered(server: Serving, sent: bytes) -> None:
    with dial(server.address, source=ATTACKER) as connection:
        connection.sendall(sent)
        assert b"antiphon" not in rest_of(connection)


@pytest.mark.parametrize(
    "sent", [b"", b"hello", client_hello()], ids=["nothing", "plain text", "a client's hello"]
)
def test_data_and_the_end_before_the_handshake_end_the_connection(server: Serving, sent: bytes) -> None:
    began = time.monotonic()
    with dial(server.address, source=ATTACKER) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert b"antiphon" not in rest_of(connection)
    assert time.monotonic() - began < HANDSHAKE + LATE


def test_plain_bytes_before_the_handshake_do_not_become_the_first_frame(server: Serving) -> None:
    with dial(server.address, source=ATTACKER) as connection:
        connection.sendall(frame(Kind.IDENTIFY, 1, encode(Identify(name="ann"))))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            tls_context().wrap_socket(connection)


def test_tls_1_2_is_refused(server: Serving) -> None:
    context = tls_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with dial(server.address, source=ATTACKER) as connection, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(connection)


def test_tls_1_3_is_spoken_and_leaves_no_ticket_for_early_data(server: Serving) -> None:
    with server.client() as client:
        client.hello()
        assert isinstance(client.sock, ssl.SSLSocket)
        assert client.sock.version() == "TLSv1.3"
        assert client.sock.session is None or not client.sock.session.has_ticket


def test_plain_tcp_on_every_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExposureRefused), serving(tmp_path / "data", host="*", plain=True):
        pass


def test_plain_tcp_on_every_address_by_name_is_served(tmp_path: Path) -> None:
    token = seed(tmp_path / "data")[0]
    with serving(tmp_path / "data", host="*", plain=True, plain_anywhere=True) as server:
        address = replace(server.address, host="127.0.0.1")
        assert address.scheme == "tcp"
        with in_session(address, token) as client:
            assert client.ask("hello") == "hello"


@pytest.mark.parametrize("header", ["n", "y"])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"])
def test_a_sign_in_that_is_not_bound_to_the_channel_is_refused(
    server: Serving, mechanism: str, header: str
) -> None:
    first = f"{header},,n=ann,r={b64encode(secrets.token_bytes(18)).decode()}".encode()
    with server.client(ATTACKER) as client:
        assert client.hello().mechanisms == ["SCRAM-SHA-256-PLUS"]
        body = client.request(Kind.AUTHENTICATE, Authenticate(mechanism=mechanism, data=first))
        assert isinstance(body, Error)
        assert body.code == ("sign-in-refused" if mechanism.endswith("PLUS") else "mechanism-unsupported")


@pytest.fixture
def relay(server: Serving, tmp_path: Path) -> Iterator[Address]:
    """A man in the middle: TLS with its own certificate to the client, and TLS to the server."""
    context = load_or_make(DataFolder.open(tmp_path / "relay"), []).context
    with contextlib.ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0)))

        def run() -> None:
            plain, _ = listener.accept()
            victim = open_sockets.enter_context(context.wrap_socket(plain, server_side=True))
            onward = open_sockets.enter_context(tls_context().wrap_socket(dial(server.address, source=ATTACKER)))
            back = threading.Thread(target=pump, args=(onward, victim))
            back.start()
            pump(victim, onward)
            back.join()

        thread = threading.Thread(target=run)
        thread.start()
        yield Address("tls", "127.0.0.1", listener.getsockname()[1])
        thread.join()


def pump(source: ssl.SSLSocket, target: ssl.SSLSocket) -> None:
    """Forward all bytes, then the end of the stream."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def test_a_sign_in_through_a_relay_with_another_certificate_fails(server: Serving, relay: Address) -> None:
    with RawClient(relay) as client:
        client.hello()
        body = client.authenticate("ann", PASSWORD)
        assert isinstance(body, Error)
        assert body.code == "sign-in-refused"


def test_the_same_sign_in_without_the_relay_succeeds(server: Serving) -> None:
    with server.client() as client:
        assert client.sign_in("ann", PASSWORD).name == "ann"


def test_the_relay_passes_everything_on(server: Serving, relay: Address) -> None:
    """Check that the relay itself works, so that the refusal above is that of the sign-in."""
    with RawClient(relay) as client:
        client.hello()
        assert not isinstance(client.request(Kind.IDENTIFY, Identify(name="ann")), Error)
