"""Blocking dialling: resolve, connect, TLS, trust and HELLO, all within one time limit.

A busy server drops connections at once; those are tried again, with growing pauses.
"""

import contextlib
import os
import selectors
import socket
import ssl
import time
from collections.abc import Sequence

from antiphon.address import Address
from antiphon.client.addresses import Addresses, Keys
from antiphon.client.blocking.connection import BlockingConnection, Deadline
from antiphon.client.dialling import (
    DialResult,
    bare,
    dial_persistently,
    key_of,
    ungreeted,
    unreached,
    unverified_context,
    unvouched,
    verified_context,
)
from antiphon.client.happy_eyeballs import DELAY_SECONDS, Endpoint, failure_of, in_order
from antiphon.client.protocol.sign_in import at_once
from antiphon.client.trust import Standing
from antiphon.errors import ProtocolError, TimedOut
from antiphon.identity.certificates import fingerprint_of

BlockingDialled = DialResult[BlockingConnection]


def dial(addresses: Address | Addresses, known: Keys, seconds: float) -> BlockingDialled:
    """Connect to the first of `addresses` that answers; each try takes at most `seconds`, but for the resolver.

    The caller decides what to do about a key that nothing speaks for (`Standing.UNKNOWN`).

    Raises:
        ConnectError: nothing listens there, or it drops the connection, or it speaks another protocol.
        VersionUnsupported: the server speaks later versions only.
        ServerKeyChanged: the key is not the expected one.
        TlsFailed: the TLS handshake failed.
        TimedOut: it took longer than `seconds`.
    """
    addresses = Addresses.of(addresses)
    keys = addresses.keys(known)

    async def once(address: Address) -> BlockingDialled:
        return dial_once(address, keys, seconds)

    async def sleep(pause: float) -> None:
        time.sleep(pause)  # noqa: ASYNC251 - there is no event loop to stop

    return at_once(dial_persistently(addresses, once, sleep))


def dial_once(address: Address, keys: Keys, seconds: float) -> BlockingDialled:
    """Connect to `address` within `seconds`, in one try.

    Raises:
        AntiphonError: as `dial`, and `ConnectionLost` if the server dropped the connection.
    """
    deadline = Deadline(seconds)
    try:
        sock = _open(address, deadline)
        try:
            fingerprint, binding, standing = _standing(address, keys, sock, deadline)
            connection = _greeted(address, BlockingConnection(sock, bare(address), binding, seconds), deadline)
        except BaseException:
            sock.close()
            raise
    except (TimeoutError, TimedOut):
        raise TimedOut(address=bare(address), seconds=f"{seconds:g}") from None
    return BlockingDialled(connection, connection.hello, fingerprint, standing, address)


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
    """Connect to the address of the host that answers first; then set up TLS, if wanted."""
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    sock = connect_first(in_order(found), deadline)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a message must not wait for the next one
    return sock if tls is None else _secured(sock, tls, address.host, deadline)


def connect_first(endpoints: Sequence[Endpoint], deadline: Deadline) -> socket.socket:
    """Return a socket that is connected to one of `endpoints`, the one that answers first.

    Raises:
        TimeoutError: the time is over.
        OSError: none of them answers; see `failure_of`.
    """
    waiting, failures = list(endpoints), list[OSError]()
    with selectors.DefaultSelector() as attempts, contextlib.ExitStack() as unused:
        while waiting or attempts.get_map():
            if waiting:
                try:
                    attempts.register(_begun(waiting.pop(0), unused), selectors.EVENT_WRITE)
                except OSError as error:
                    failures.append(error)
                    continue
            pause = min(DELAY_SECONDS, deadline.left()) if waiting else deadline.left()
            for key, _ in attempts.select(pause):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                attempts.unregister(sock)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code == 0:
                    return _alone(sock, deadline)
                failures.append(OSError(code, os.strerror(code)))
    raise failure_of(failures)


def _begun(endpoint: Endpoint, unused: contextlib.ExitStack) -> socket.socket:
    """Return a socket that is about to connect to `endpoint`; `unused` closes it."""
    sock = unused.enter_context(socket.socket(*endpoint[:3]))
    sock.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        sock.connect(endpoint.place)
    return sock


def _alone(sock: socket.socket, deadline: Deadline) -> socket.socket:
    """Return `sock` in another object, which closing `sock` leaves open."""
    taken = socket.socket(fileno=sock.detach())
    taken.settimeout(deadline.left())
    return taken


def _secured(sock: socket.socket, tls: ssl.SSLContext, host: str, deadline: Deadline) -> ssl.SSLSocket:
    with contextlib.closing(sock):  # a socket that TLS takes over is detached
        sock.settimeout(deadline.left())
        return tls.wrap_socket(sock, server_hostname=host)


def _standing(
    address: Address, keys: Keys, sock: socket.socket, deadline: Deadline
) -> tuple[str | None, bytes | None, Standing]:
    """Return the fingerprint of the server's key, the channel's binding, and what speaks for the key."""
    if not isinstance(sock, ssl.SSLSocket):
        return None, None, Standing.PINNED
    certificate = sock.getpeercert(binary_form=True) or b""
    fingerprint, binding = key_of(address, certificate)
    standing = keys.standing(address, fingerprint)
    if standing is Standing.UNKNOWN:
        standing = _asked_authorities(address, sock, certificate, deadline)
    return fingerprint, binding, standing


def _asked_authorities(
    address: Address, connected: socket.socket, certificate: bytes, deadline: Deadline
) -> Standing:
    """Return whether the system's authorities vouch for the host and for the key of `certificate`.

    The same machine is asked again, as another address of the host may lead to another one.
    """
    try:
        with socket.socket(connected.family) as plain:
            plain.settimeout(deadline.left())
            plain.connect(connected.getpeername())
            with _secured(plain, verified_context(), address.host, deadline) as sock:
                shown = sock.getpeercert(binary_form=True) or b""
    except TimeoutError:
        raise
    except OSError as error:
        return unvouched(address, certificate, error)
    return Standing.VOUCHED if fingerprint_of(shown) == fingerprint_of(certificate) else Standing.UNKNOWN
