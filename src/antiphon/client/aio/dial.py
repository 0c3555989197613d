"""Dialling for asyncio: resolve, connect, TLS, trust and HELLO, all within one time limit.

A busy server drops connections at once; those are tried again, with growing pauses.
"""

import asyncio

from antiphon.address import Address
from antiphon.client.aio.connection import ClientConnection, Observe
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
from antiphon.client.trust import KnownServers, Standing
from antiphon.errors import ProtocolError, TimedOut
from antiphon.identity.certificates import fingerprint_of

Dialled = DialResult[ClientConnection]


async def dial(address: Address, known: KnownServers, seconds: float, observe: Observe | None = None) -> Dialled:
    """Connect to `address`; each try takes at most `seconds`. `observe` makes an observer for each connection.

    The caller decides what to do about a key that nothing speaks for (`Standing.UNKNOWN`).

    Raises:
        ConnectError: nothing listens there, or it drops the connection, or it speaks another protocol.
        VersionUnsupported: the server speaks later versions only.
        ServerKeyChanged: the key is not the expected one.
        TlsFailed: the TLS handshake failed.
        TimedOut: it took longer than `seconds`.
    """
    return await dial_persistently(address, lambda: dial_once(address, known, seconds, observe), asyncio.sleep)


async def dial_once(
    address: Address, known: KnownServers, seconds: float, observe: Observe | None = None
) -> Dialled:
    """Connect to `address` within `seconds`, in one try.

    Raises:
        AntiphonError: as `dial`, and `ConnectionLost` if the server dropped the connection.
    """
    try:
        async with asyncio.timeout(seconds):
            connection = await _connect(address, observe)
            try:
                return await _greeted(address, connection, known)
            except BaseException:
                connection.abort()
                raise
    except TimeoutError:
        raise TimedOut(address=bare(address), seconds=f"{seconds:g}") from None


async def _connect(address: Address, observe: Observe | None) -> ClientConnection:
    loop = asyncio.get_running_loop()
    tls = unverified_context() if address.scheme == "tls" else None
    try:
        _, connection = await loop.create_connection(
            lambda: ClientConnection(bare(address), observe),
            address.host,
            address.port,
            ssl=tls,
            server_hostname=address.host if tls else None,
        )
    except (OSError, UnicodeError) as error:
        raise unreached(address, error) from None
    return connection


async def _greeted(address: Address, connection: ClientConnection, known: KnownServers) -> Dialled:
    fingerprint, standing = None, Standing.PINNED
    if address.scheme == "tls":
        certificate = connection.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        fingerprint, connection.binding = key_of(address, certificate)
        standing = known.standing(address, fingerprint)
        if standing is Standing.UNKNOWN and await _vouched_for(address, fingerprint):
            standing = Standing.VOUCHED
    try:
        hello = await connection.hello()
    except ProtocolError as error:
        raise ungreeted(address, error) from None
    return Dialled(connection, hello, fingerprint, standing)


async def _vouched_for(address: Address, fingerprint: str) -> bool:
    """Return whether the system's authorities vouch for the host and for this very key."""
    try:
        _, writer = await asyncio.open_connection(address.host, address.port, ssl=verified_context())
    except OSError:
        return False
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return fingerprint_of(certificate) == fingerprint
