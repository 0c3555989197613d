"""How a connection comes about without an event loop: resolve, connect, TLS, trust, HELLO, all within one time.

A server that is busy drops connections as soon as they come; that is tried again, with growing pauses.
"""

import contextlib
import random
import socket
import ssl
import time

from antiphon.address import Address
from antiphon.client.blocking_connection import BlockingConnection
from antiphon.client.framed import FramedSocket, FramedTlsSocket
from antiphon.client.reach import (
    DROP_SECONDS,
    PAUSES,
    bare,
    key_of,
    ungreeted,
    unreached,
    unverified_context,
    verified_context,
)
from antiphon.client.trust import KnownServers, Standing
from antiphon.errors import ConnectionLost, NotAntiphon, ProtocolError, ServerKeyUnknown, TimedOut


class Deadline:
    """A moment by which something must be done."""

    def __init__(self, seconds: float) -> None:
        """Begin now."""
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left; TimeoutError if there are none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


def dial(address: Address, known: KnownServers, seconds: float) -> BlockingConnection:
    """Connect to `address`, and return once the server is trusted and has said HELLO; each try may take `seconds`.

    The system's resolver keeps a time of its own.

    Raises:
        ConnectError: nobody is there, or whoever is there drops us or speaks something else.
        VersionUnsupported: the server speaks later versions only.
        ServerKeyUnknown: nothing speaks for the server's key; nothing was sent.
        ServerKeyChanged: the key is not the one expected.
        TlsFailed: no TLS came about.
        TimedOut: nothing came in time.
    """
    for pause in (*PAUSES, None):
        began = time.monotonic()
        try:
            return _try(address, known, seconds)
        except ConnectionLost:
            if pause is None or time.monotonic() - began > DROP_SECONDS:
                break
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads clients, guards nothing
    raise NotAntiphon(address=bare(address))


def _try(address: Address, known: KnownServers, seconds: float) -> BlockingConnection:
    deadline = Deadline(seconds)
    try:
        sock = _reached(address, deadline)
        try:
            if isinstance(sock, FramedTlsSocket):
                _check_key(address, known, sock, deadline)
            return _greeted(address, BlockingConnection(sock, bare(address), seconds), deadline)
        except BaseException:
            sock.close()
            raise
    except (TimeoutError, TimedOut):
        raise TimedOut(address=bare(address), seconds=f"{seconds:g}") from None


def _reached(address: Address, deadline: Deadline) -> FramedSocket:
    try:
        return _connect(address, unverified_context() if address.scheme == "tls" else None, deadline)
    except TimeoutError:
        raise
    except (OSError, UnicodeError) as error:
        raise unreached(address, error) from None


def _greeted(address: Address, connection: BlockingConnection, deadline: Deadline) -> BlockingConnection:
    try:
        connection.greet(deadline.left())
    except ProtocolError as error:
        raise ungreeted(address, error) from None
    return connection


def _connect(address: Address, tls: ssl.SSLContext | None, deadline: Deadline) -> FramedSocket:
    """Try each of the host's addresses, each with its share of the time, and then TLS if there is any."""
    places = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    failure: OSError = OSError("no address")
    for number, (family, kind, protocol, _, place) in enumerate(places):
        sock = FramedSocket(family, kind, protocol)
        try:
            sock.settimeout(deadline.left() / (len(places) - number))
            sock.connect(place)
        except OSError as error:
            sock.close()
            failure = error
            continue
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a question must not wait for the next one
        return sock if tls is None else _secured(sock, tls, address.host, deadline)
    raise failure


def _secured(sock: FramedSocket, tls: ssl.SSLContext, host: str, deadline: Deadline) -> FramedSocket:
    tls.sslsocket_class = FramedTlsSocket
    with contextlib.closing(sock):  # what TLS takes over, it has detached
        sock.settimeout(deadline.left())
        secured = tls.wrap_socket(sock, server_hostname=host)
    assert isinstance(secured, FramedTlsSocket)
    return secured


def _check_key(address: Address, known: KnownServers, sock: FramedTlsSocket, deadline: Deadline) -> None:
    """Check that something speaks for the server's key; a library has nobody to ask."""
    fingerprint, _ = key_of(address, sock.getpeercert(binary_form=True) or b"")
    standing = known.standing(address, fingerprint)
    if standing is Standing.UNKNOWN and not _vouched_for(address, fingerprint, deadline):
        raise ServerKeyUnknown(host=address.host, fingerprint=fingerprint)


def _vouched_for(address: Address, fingerprint: str, deadline: Deadline) -> bool:
    """Return whether the system's authorities vouch for the host and for this very key."""
    try:
        with _connect(address, verified_context(), deadline) as sock:
            assert isinstance(sock, FramedTlsSocket)
            return sock.fingerprint == fingerprint
    except TimeoutError:
        raise
    except OSError:
        return False
