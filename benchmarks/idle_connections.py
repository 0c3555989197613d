"""Many open, idle connections, to measure what one costs the server."""

import socket
import ssl
from collections.abc import Callable, Iterator

from workloads import Shape, antiphon

TOGETHER = 32
"""Connections opened at once: the server's limit for one source that has not signed in."""
A_SOURCE = 5000
"""Connections from one loopback address, for which the system has some 28,000 ports."""
SECONDS = 20.0
Greet = Callable[[socket.socket], None]


def resumed_connections(port: int, tokens: list[bytes], *, secure: bool) -> list[socket.socket]:
    """Return one connection for each token, with its session resumed."""
    frames = [antiphon(Shape(1, 1, 64), [token]).prologues for token in tokens]

    def welcomed(sock: socket.socket) -> None:
        for _ in range(2):  # HELLO and WELCOME
            _exactly(sock, int.from_bytes(_exactly(sock, 4), "big"))

    return list(_opened(port, frames, welcomed, secure=secure))


def echo_connections(port: int, count: int, *, secure: bool) -> list[socket.socket]:
    """Return connections to a blind echo, after one echo on each."""
    said = b"x" * 64
    return list(_opened(port, [said] * count, lambda sock: _exactly(sock, len(said)), secure=secure))


def _opened(
    port: int, firsts: list[bytes], answered: Callable[[socket.socket], object], *, secure: bool
) -> Iterator[socket.socket]:
    """Open a connection for each of `firsts`, send that, and wait until `answered` has read the answer."""
    context = _trusting() if secure else None
    for start in range(0, len(firsts), TOGETHER):
        part = firsts[start : start + TOGETHER]
        socks = [_connected(port, start + number, context) for number in range(len(part))]
        for sock, first in zip(socks, part, strict=True):
            sock.sendall(first)
        for sock in socks:
            answered(sock)
        yield from socks


def _connected(port: int, number: int, context: ssl.SSLContext | None) -> socket.socket:
    source = f"127.0.0.{2 + number // A_SOURCE}"
    sock = socket.create_connection(("127.0.0.1", port), SECONDS, (source, 0))
    return context.wrap_socket(sock) if context else sock


def _trusting() -> ssl.SSLContext:
    """Return a context that checks no certificate: the server is one that this program has started."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise SystemExit("bench: the server closed a connection that was to be held.")
        data += more
    return data
