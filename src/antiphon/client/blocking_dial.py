"""How a connection comes about without an event loop: resolve, connect, TLS, trust, HELLO, all within one time.

A server that is busy drops connections as soon as they come; that is tried again, with growing pauses.
"""

import contextlib
import socket
import ssl
import time

from antiphon.address import Address
from antiphon.client.blocking_connection import BlockingConnection, Deadline
from antiphon.client.framed import FramedSocket, FramedTlsSocket
from antiphon.client.reach import (
    Reached,
    bare,
    key_of,
    persistently,
    ungreeted,
    unreached,
    unverified_context,
    verified_context,
)
from antiphon.client.steps import at_once
from antiphon.client.trust import KnownServers, Standing
from antiphon.errors import ProtocolError, TimedOut

BlockingDialled = Reached[BlockingConnection]


def dial(address: Address, known: KnownServers, seconds: float) -> BlockingDialled:
    """Connect to `address`, and return once the server has said HELLO; each try may take `seconds`.

    The caller decides what to do about a key that nothing speaks for (`Standing.UNKNOWN`). The system's resolver
    keeps a time of its own.

    Raises:
        ConnectError: nobody is there, or whoever is there drops us or speaks something else.
        VersionUnsupported: the server speaks later versions only.
        ServerKeyChanged: the key is not the one expected.
        TlsFailed: no TLS came about.
        TimedOut: nothing came in time.
    """

    async def once() -> BlockingDialled:
        return dial_once(address, known, seconds)

    async def sleep(pause: float) -> None:
        time.sleep(pause)  # noqa: ASYNC251 - there is no event loop that it could stop

    return at_once(persistently(address, once, sleep))


def dial_once(address: Address, known: KnownServers, seconds: float) -> BlockingDialled:
    """Connect to `address` within `seconds`; a server that drops us is not tried again.

    Raises:
        AntiphonError: as `dial`, and `ConnectionLost` where the server dropped us.
    """
    deadline = Deadline(seconds)
    try:
        sock = _reached(address, deadline)
        try:
            fingerprint, standing = _standing(address, known, sock, deadline)
            connection = _greeted(address, BlockingConnection(sock, bare(address), seconds), deadline)
        except BaseException:
            sock.close()
            raise
    except (TimeoutError, TimedOut):
        raise TimedOut(address=bare(address), seconds=f"{seconds:g}") from None
    return BlockingDialled(connection, connection.hello, fingerprint, standing)


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


def _standing(
    address: Address, known: KnownServers, sock: FramedSocket, deadline: Deadline
) -> tuple[str | None, Standing]:
    """Return the fingerprint of the server's key, and what speaks for it."""
    if not isinstance(sock, FramedTlsSocket):
        return None, Standing.PINNED
    fingerprint, _ = key_of(address, sock.getpeercert(binary_form=True) or b"")
    standing = known.standing(address, fingerprint)
    if standing is Standing.UNKNOWN and _vouched_for(address, fingerprint, deadline):
        standing = Standing.VOUCHED
    return fingerprint, standing


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
