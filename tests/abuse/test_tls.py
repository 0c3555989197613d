"""The TLS port against anything but TLS 1.3 with the server itself (promises 6, 7 and 9)."""

import contextlib
import secrets
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from antiphon.address import Address
from antiphon.data.certificate import load_or_make
from antiphon.data.folder import DataFolder
from antiphon.errors import ExposureRefused
from antiphon.server.listen import reception
from antiphon.transport.handshake import PHRASES
from antiphon.wire.bodies import Authenticate, Error, Identify, encode
from antiphon.wire.frames import encode as frame
from antiphon.wire.kinds import Kind
from support.documents import read, table
from support.log_records import banned
from support.processes import PASSWORD
from support.raw import RawClient, dial, tls_context
from support.serving import ATTACKER, Honest, Serving, in_session, seed, serving

HANDSHAKE = 1.0
LATE = 60.0
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
    took: list[float] = []
    while not took or (took[-1] >= HANDSHAKE and len(took) < 4):  # a busy machine spoils some tries
        with contextlib.ExitStack() as silent:
            for _ in range(30):
                silent.enter_context(dial(server.address, source=ATTACKER))
            began = time.monotonic()
            with server.client() as client:
                client.hello()
            took.append(time.monotonic() - began)
    assert took[-1] < HANDSHAKE


def failures(server: Serving) -> list[str]:
    return server.records("tls-failed")


def logged_why(server: Serving, address: str, before: int) -> str:
    """Return why the handshake with the client at `address` failed, as soon as the log says it.

    `before` is the number of failures before it: an earlier client may have had the same port.
    """
    deadline = time.monotonic() + HANDSHAKE + LATE
    while True:
        for line in failures(server)[before:]:
            if f" address={address} " in line:
                return line.partition(' why="')[2].removesuffix('"')
        assert time.monotonic() < deadline


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def ends(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)
    rest_of(connection)


ALERT = bytes.fromhex("15 0303 0002 02 28")
"""A fatal alert, `handshake_failure`."""


@pytest.mark.parametrize(
    ("sent", "then", "why"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", rest_of, "plain HTTP"),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", rest_of, "plain HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", rest_of, "plain HTTP"),
        (frame(Kind.IDENTIFY, 1, encode(Identify(name="ann"))), rest_of, "plain Antiphon"),
        (frame(Kind.HEARTBEAT, 0), rest_of, "plain Antiphon"),
        (bytes(64), rest_of, "no TLS"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", rest_of, "no TLS"),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", rest_of, "broken handshake"),
        (client_hello()[:20], rest_of, "took too long"),
        (b"", rest_of, "client sent nothing"),
        (b"", ends, "connection closed"),
        (client_hello()[:20], ends, "connection closed"),
        (b"", reset, "connection reset"),
        (client_hello()[:20], reset, "connection reset"),
        (client_hello(), reset, "connection reset"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_handshake_that_fails_is_told_of_in_the_log_and_gives_its_place_back(
    server: Serving, sent: bytes, then: Callable[[socket.socket], object], why: str
) -> None:
    before = len(failures(server))
    with dial(server.address, source=ATTACKER) as connection:
        address = f"{ATTACKER}:{connection.getsockname()[1]}"
        connection.sendall(sent)
        then(connection)
        assert logged_why(server, address, before) == why
    assert server.read(lambda server: server._host.limits.count) == 0


def test_a_request_in_http_is_known_for_one_however_it_arrives(server: Serving) -> None:
    before = len(failures(server))
    with dial(server.address, source=ATTACKER) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = f"{ATTACKER}:{connection.getsockname()[1]}"
        with contextlib.suppress(ConnectionError):
            for byte in b"GET / HTTP/1.1\r\n\r\n":
                connection.sendall(bytes([byte]))
        assert logged_why(server, address, before) == "plain HTTP"


OPENSSL = shutil.which("openssl")


def openssl(server: Serving, *options: str) -> str:
    """Connect with OpenSSL's own client, and return what it prints."""
    assert OPENSSL
    host = f"127.0.0.1:{server.address.port}"
    done = subprocess.run(
        [OPENSSL, "s_client", "-connect", host, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return (done.stdout + done.stderr).decode("utf-8", "replace")


@pytest.mark.skipif(not OPENSSL, reason="openssl is not installed")
@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["-tls1_2"], "client speaks TLS 1.2 at most"),
        (["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"], "no cipher suite or group in common"),
        (["-verify_return_error", "-no-CApath", "-no-CAfile", "-no-CAstore"], "client refused the certificate"),
    ],
)
def test_the_log_says_why_the_handshake_with_another_tls_client_fails(
    server: Serving, options: list[str], why: str
) -> None:
    before = len(server.records("tls-failed"))
    openssl(server, *options)
    deadline = time.monotonic() + HANDSHAKE + LATE
    while len(server.records("tls-failed")) == before:
        assert time.monotonic() < deadline
    assert server.records("tls-failed")[-1].endswith(f'why="{why}"')


@pytest.mark.skipif(not OPENSSL, reason="openssl is not installed")
@pytest.mark.parametrize("name", ["localhost", "another.example", ""])
@pytest.mark.parametrize(
    "suite", ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"]
)
def test_any_name_and_any_protocol_may_be_asked_for_and_each_suite_is_spoken(
    server: Serving, suite: str, name: str
) -> None:
    asked = ["-servername", name] if name else ["-noservername"]
    told = openssl(server, *asked, "-alpn", "h2,http/1.1", "-ciphersuites", suite)
    assert f"New, TLSv1.3, Cipher is {suite}" in told
    assert "No ALPN negotiated" in told


def test_every_phrase_is_documented() -> None:
    rows = table(read("docs/monitoring.md"), "why", "what the client did")
    assert [row[0] for row in rows] == list(PHRASES)


def test_where_tls_cannot_be_begun_the_place_is_given_back(
    server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise ssl.SSLError("no memory")

    monkeypatch.setattr(reception, "TlsTransport", none)
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
        line = server.records("refused")[-1]
        assert line.endswith(f'code="{body.code}" why="channel-binding-missing"')
        assert banned(line) == {line: ATTACKER}


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
    (line,) = (line for line in server.records("refused") if "channel-binding-wrong" in line)
    assert f' name="ann" address={ATTACKER}:' in line
    assert banned(line) == {line: ATTACKER}


def test_the_same_sign_in_without_the_relay_succeeds(server: Serving) -> None:
    with server.client() as client:
        assert client.sign_in("ann", PASSWORD).name == "ann"


def test_the_relay_passes_everything_on(server: Serving, relay: Address) -> None:
    """Check that the relay itself works, so that the refusal above is that of the sign-in."""
    with RawClient(relay) as client:
        client.hello()
        assert not isinstance(client.request(Kind.IDENTIFY, Identify(name="ann")), Error)
