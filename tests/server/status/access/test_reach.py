"""Where there is a page: on this machine, and over TLS; and what a connection may cost before it asks."""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from antiphon.data.certificate import CERTIFICATE_FILE, KEY_FILE
from antiphon.server.listen import ports
from antiphon.server.status import endpoint, listener
from support.page_server import PageServer, page_server
from support.processes import PASSWORD


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener that other machines can reach; it is on loopback all the same."""
    monkeypatch.setattr(
        endpoint, "listen", lambda *given, **more: replace(ports.listen(*given, **more), loopback=False)
    )


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    with page_server(tmp_path_factory.mktemp("tls") / "data", "https://127.0.0.1:0") as running:
        running.add("ann", administrator=True)
        yield running


def peer_of(server: PageServer, source: str = "127.0.0.1") -> socket.socket:
    host, port = server.endpoint.place.removeprefix("https://").rsplit(":", 1)
    sock = socket.create_connection((host, int(port)), timeout=60, source_address=(source, 0))
    sock.settimeout(60)
    return sock


def silent_peers(server: PageServer, count: int, stack: contextlib.ExitStack, source: str) -> list[socket.socket]:
    """Connect once the connections of earlier tests are gone, and say nothing."""
    http = server.endpoint._server
    ends = time.monotonic() + 60
    while http._shaking or http.server_state.connections:
        assert time.monotonic() < ends
        time.sleep(0.02)
    return [stack.enter_context(peer_of(server, source)) for _ in range(count)]


def is_open(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True
    finally:
        sock.settimeout(60)


@pytest.mark.usefixtures("everywhere")
def test_without_tls_other_machines_get_one_sentence_and_no_page(tmp_path: Path) -> None:
    with page_server(tmp_path / "data") as server:
        server.add("ann", administrator=True)
        page = server.page()
        for path in ("/", "/sign-in", "/access/sign-in.js", "/events", "/nothing"):
            answer = page.get(path, accept_language="ru")
            assert (answer.status, answer.text.count("\n")) == (403, 1)
            assert "--status https://" in answer.text
        assert page.sign_in("ann", PASSWORD).status == 403
        assert page.get("/healthz").text == "ok\n"
        assert page.get("/metrics").status == 200


def test_over_tls_the_cookie_is_for_this_host_and_for_tls_alone(secure: PageServer) -> None:
    page = secure.page()
    assert page.place.startswith("https://127.0.0.1:")
    assert page.sign_in("ann").status == 200
    value = page.cookies["__Host-antiphon"]
    parts = page.set_cookie.split("; ")
    assert parts[0] == f"__Host-antiphon={value}"
    assert set(parts[1:]) == {"HttpOnly", "Path=/", "SameSite=strict", "Secure"}
    assert page.get("/").status == 200
    assert page.get("/healthz").text == "ok\n"
    assert page.post("/sign-out", {}, origin=page.origin.replace("https", "http")).status == 403


def test_tls_1_2_and_plain_http_get_nothing(secure: PageServer) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with peer_of(secure) as sock, pytest.raises(OSError):
        context.wrap_socket(sock)
    with peer_of(secure) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"HTTP" not in sock.recv(1000)


def test_a_reload_shows_the_new_certificate_and_a_broken_one_leaves_the_old(secure: PageServer) -> None:
    def shown() -> str:
        with peer_of(secure) as sock:
            return ssl.DER_cert_to_PEM_cert(_certificate(sock))

    before = shown()
    path = secure.folder.path
    kept = {name: (path / name).read_bytes() for name in (CERTIFICATE_FILE, KEY_FILE)}
    secure.folder.write_private(CERTIFICATE_FILE, b"broken")
    secure.endpoint.reload()
    assert shown() == before
    assert secure.log.of("reload-failed")[-1].fields["code"] == "certificate-unusable"
    for name in kept:
        (path / name).unlink()
    secure.endpoint.reload()
    assert shown() != before


def _certificate(sock: socket.socket) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(sock) as wrapped:
        der = wrapped.getpeercert(binary_form=True)
        assert der is not None
        return der


def trickle(sock: socket.socket) -> None:
    """Send a line of a head again and again, for ten seconds at most."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        sock.sendall(b"X-More: bytes\r\n")
        time.sleep(0.05)


def test_who_sends_no_whole_head_is_cut_and_bytes_do_not_extend_the_time(
    secure: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "REQUEST_SECONDS", 0.5)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(peer_of(secure)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(OSError):
            trickle(sock)


def test_one_source_does_not_take_all_places(secure: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "PER_SOURCE", 2)
    with contextlib.ExitStack() as stack:
        silent = silent_peers(secure, 2, stack, "127.0.0.7")
        assert stack.enter_context(peer_of(secure, "127.0.0.7")).recv(1) == b""
        assert all(is_open(each) for each in silent)
        assert [secure.page(source).get("/healthz").status for source in ("127.0.0.1", "127.0.0.6")] == [200, 200]


def test_a_silent_connection_is_cut_before_tls_and_too_many_are_closed(
    secure: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HANDSHAKE_SECONDS", 60)
    monkeypatch.setattr(listener, "ACCEPTED_MOST", 3)
    with contextlib.ExitStack() as stack:
        silent = silent_peers(secure, 3, stack, "127.0.0.1")
        assert stack.enter_context(peer_of(secure)).recv(1) == b""
        assert all(is_open(each) for each in silent), "at once"
    monkeypatch.setattr(listener, "HANDSHAKE_SECONDS", 0.2)
    with contextlib.ExitStack() as stack:
        silent = silent_peers(secure, 3, stack, "127.0.0.1")
        assert [each.recv(1) for each in silent] == [b""] * 3
    assert secure.page().get("/healthz").status == 200
