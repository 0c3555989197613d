"""Dialling for asyncio: resolve, connect, TLS, trust and HELLO, all within one time limit.

A busy server drops connections at once; those are tried again, with growing pauses.
"""

import asyncio
import contextlib
import socket
from collections.abc import Sequence

from antiphon.address import Address
from antiphon.client.addresses import Addresses, Keys
from antiphon.client.aio.connection import ClientConnection, Observe
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
from antiphon.client.trust import Standing
from antiphon.errors import ProtocolError, TimedOut
from antiphon.identity.certificates import fingerprint_of

Dialled = DialResult[ClientConnection]


async def dial(
    addresses: Address | Addresses, known: Keys, seconds: float, observe: Observe | None = None
) -> Dialled:
    """Connect to the first of `addresses` that answers; each try takes at most `seconds`.

    `observe` makes an observer for each connection. The caller decides what to do about a key that nothing speaks
    for (`Standing.UNKNOWN`).

    Raises:
        ConnectError: nothing listens there, or it drops the connection, or it speaks another protocol.
        VersionUnsupported: the server speaks later versions only.
        ServerKeyChanged: the key is not the expected one.
        TlsFailed: the TLS handshake failed.
        TimedOut: it took longer than `seconds`.
    """
    addresses = Addresses.of(addresses)
    keys = addresses.keys(known)
    return await dial_persistently(
        addresses, lambda address: dial_once(address, keys, seconds, observe), asyncio.sleep
    )


async def dial_once(address: Address, keys: Keys, seconds: float, observe: Observe | None = None) -> Dialled:
    """Connect to `address` within `seconds`, in one try.

    Raises:
        AntiphonError: as `dial`, and `ConnectionLost` if the server dropped the connection.
    """
    try:
        async with asyncio.timeout(seconds):
            connection = await _connect(address, observe)
            try:
                return await _greeted(address, connection, keys)
            except BaseException:
                connection.abort()
                raise
    except TimeoutError:
        raise TimedOut(address=bare(address), seconds=f"{seconds:g}") from None


async def _connect(address: Address, observe: Observe | None) -> ClientConnection:
    loop = asyncio.get_running_loop()
    tls = unverified_context() if address.scheme == "tls" else None
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        _, connection = await loop.create_connection(
            lambda: ClientConnection(bare(address), observe),
            sock=await connect_first(in_order(found)),
            ssl=tls,
            server_hostname=address.host if tls else None,
        )
    except (OSError, UnicodeError) as error:
        raise unreached(address, error) from None
    return connection


async def connect_first(endpoints: Sequence[Endpoint]) -> socket.socket:
    """Return a socket that is connected to one of `endpoints`, the one that answers first.

    Raises:
        OSError: none of them answers; see `failure_of`.
    """
    waiting, failures = list(endpoints), list[OSError]()
    attempts: list[asyncio.Task[socket.socket]] = []
    try:
        while waiting or attempts:
            if waiting:
                attempts.append(asyncio.create_task(_attempt(waiting.pop(0))))
            pause = DELAY_SECONDS if waiting else None
            done, _ = await asyncio.wait(attempts, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            for attempt in [attempt for attempt in attempts if attempt in done]:
                attempts.remove(attempt)
                try:
                    return attempt.result()
                except OSError as error:
                    failures.append(error)
        raise failure_of(failures)
    finally:
        await _abandon(attempts)


async def _attempt(endpoint: Endpoint) -> socket.socket:
    sock = socket.socket(*endpoint[:3])
    try:
        sock.settimeout(0)
        await asyncio.get_running_loop().sock_connect(sock, endpoint.place)
    except BaseException:
        sock.close()
        raise
    return sock


async def _abandon(attempts: Sequence[asyncio.Task[socket.socket]]) -> None:
    """Cancel the attempts that are left, and close what one of them has connected meanwhile."""
    for attempt in attempts:
        attempt.cancel()
    for attempt in attempts:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            (await attempt).close()


async def _greeted(address: Address, connection: ClientConnection, keys: Keys) -> Dialled:
    fingerprint, standing = None, Standing.PINNED
    if address.scheme == "tls":
        certificate = connection.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        fingerprint, connection.binding = key_of(address, certificate)
        standing = keys.standing(address, fingerprint)
        if standing is Standing.UNKNOWN:
            standing = await _asked_authorities(address, connection, certificate)
    try:
        hello = await connection.hello()
    except ProtocolError as error:
        raise ungreeted(address, error) from None
    return Dialled(connection, hello, fingerprint, standing, address)


async def _asked_authorities(address: Address, connection: ClientConnection, certificate: bytes) -> Standing:
    """Return whether the system's authorities vouch for the host and for the key of `certificate`.

    The same machine is asked again, as another address of the host may lead to another one.
    """
    place = connection.transport.get_extra_info("peername")
    try:
        _, writer = await asyncio.open_connection(
            place[0], place[1], ssl=verified_context(), server_hostname=address.host
        )
    except OSError as error:
        return unvouched(address, certificate, error)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return Standing.VOUCHED if fingerprint_of(shown) == fingerprint_of(certificate) else Standing.UNKNOWN
