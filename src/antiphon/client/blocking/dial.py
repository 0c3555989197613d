"""Blocking dialling: resolve, connect, TLS, trust and HELLO, all within one time limit.

A busy server drops connections at once; those are tried again, with growing pauses.
"""

import contextlib
import socket
import ssl
import time

from antiphon.address import Address
from antiphon.client.blocking.connection import BlockingConnection, Deadline
from antiphon.client.dialling import (
    DialResult,
    bare,
    dial_persistently,
    key_of,
    ungreeted,
    unreached,
    unverified_context,
    verified_context,
)
from antiphon.client.protocol.sign_in import at_once
from antiphon.client.trust import KnownServers, Standing
from antiphon.errors import ProtocolError, TimedOut
from antiphon.identity.certificates import fingerprint_of

BlockingDialled = DialResult[BlockingConnection]


def dial(address: Address, known: KnownServers, seconds: float) -> BlockingDialled:
    """Connect to `address`; each try takes at most `seconds`, but for the system's resolver.

    The caller decides what to do about a key that nothing speaks for (`Standing.UNKNOWN`).

    Raises:
        ConnectError: nothing listens there, or it drops the connection, or it speaks another protocol.
        VersionUnsupported: the server speaks later versions only.
        ServerKeyChanged: the key is not the expected one.
        TlsFailed: the TLS handshake failed.
        TimedOut: it took longer than `seconds`.
    """

    async def once() -> BlockingDialled:
        return dial_once(address, known, seconds)

    async def sleep(pause: float) -> None:
        time.sleep(pause)  # noqa: ASYNC251 - there is no event loop to stop

    return at_once(dial_persistently(address, once, sleep))


def dial_once(address: Address, known: KnownServers, seconds: float) -> BlockingDialled:
    """Connect to `address` within `seconds`, in one try.

    Raises:
        AntiphonError: as `dial`, and `ConnectionLost` if the server dropped the connection.
    """
    deadline = Deadline(seconds)
    try:
        sock = _open(address, deadline)
        try:
            fingerprint, binding, standing = _standing(address, known, sock, deadline)
            connection = _greeted(address, BlockingConnection(sock, bare(address), binding, seconds), deadline)
        except BaseException:
            sock.close()
            raise
    except (TimeoutError, TimedOut):
        raise TimedOut(address=bare(address), seconds=f"{seconds:g}") from None
    return BlockingDialled(connection, connection.hello, fingerprint, standing)


def _open(address: Address, deadline: Deadline) -> socket.socket:
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


def _connect(address: Address, tls: ssl.SSLContext | None, deadline: Deadline) -> socket.socket:
    """Try each of the host's addresses, each with its share of the time; then set up TLS, if wanted."""
    places = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    failure: OSError = OSError("no address")
    for number, (family, kind, protocol, _, place) in enumerate(places):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(deadline.left() / (len(places) - number))
            sock.connect(place)
        except OSError as error:
            sock.close()
            failure = error
            continue
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a message must not wait for the next one
        return sock if tls is None else _secured(sock, tls, address.host, deadline)
    raise failure


def _secured(sock: socket.socket, tls: ssl.SSLContext, host: str, deadline: Deadline) -> ssl.SSLSocket:
    with contextlib.closing(sock):  # a socket that TLS takes over is detached
        sock.settimeout(deadline.left())
        return tls.wrap_socket(sock, server_hostname=host)


def _standing(
    address: Address, known: KnownServers, sock: socket.socket, deadline: Deadline
) -> tuple[str | None, bytes | None, Standing]:
    """Return the fingerprint of the server's key, the channel's binding, and what speaks for the key."""
    if not isinstance(sock, ssl.SSLSocket):
        return None, None, Standing.PINNED
    fingerprint, binding = key_of(address, sock.getpeercert(binary_form=True) or b"")
    standing = known.standing(address, fingerprint)
    if standing is Standing.UNKNOWN and _vouched_for(address, fingerprint, deadline):
        standing = Standing.VOUCHED
    return fingerprint, binding, standing


def _vouched_for(address: Address, fingerprint: str, deadline: Deadline) -> bool:
    """Return whether the system's authorities vouch for the host and for this very key."""
    try:
        with _connect(address, verified_context(), deadline) as sock:
            assert isinstance(sock, ssl.SSLSocket)
            return fingerprint_of(sock.getpeercert(binary_form=True) or b"") == fingerprint
    except TimeoutError:
        raise
    except OSError:
        return False
