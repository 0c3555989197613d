"""How a connection comes about: resolve, connect, TLS, trust, HELLO, each within its time.

A server that is busy drops connections as soon as they come; that is tried again, with growing pauses.
"""

import asyncio
import errno
import os
import random
import socket
import ssl
from dataclasses import dataclass

from antiphon.address import Address
from antiphon.client.connection import ClientConnection
from antiphon.client.trust import KnownServers, Standing
from antiphon.errors import (
    ConnectionLost,
    ConnectRefused,
    HostUnknown,
    NotAntiphon,
    Problem,
    ProtocolError,
    TimedOut,
    TlsFailed,
    VersionUnsupported,
)
from antiphon.identity.certificates import binding_of, fingerprint_of
from antiphon.language import N_
from antiphon.wire.bodies import Hello

_NOBODY = Problem(N_("nothing listens there"))
_NO_WAY = Problem(N_("there is no way from here to there"))
_NO_BINDING = Problem(N_("its certificate is of a kind that no sign-in can be bound to"))

PAUSES = (0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds, each varied by half, before the next try after a server has dropped us without a word."""
DROP_SECONDS = 2.0
"""A busy server drops at once; one that takes longer has waited for another protocol."""


@dataclass(frozen=True)
class Dialled:
    """A connection whose server has said HELLO, and what speaks for its key; nothing has been sent on it yet."""

    connection: ClientConnection
    hello: Hello
    fingerprint: str | None
    """The key's, None on plain TCP."""
    standing: Standing


async def dial(address: Address, known: KnownServers, seconds: float) -> Dialled:
    """Connect to `address`; each try may take `seconds`.

    The caller decides what to do about a key that nothing speaks for (`Standing.UNKNOWN`).

    Raises:
        ConnectError: nobody is there, or whoever is there drops us or speaks something else.
        VersionUnsupported: the server speaks later versions only.
        ServerKeyChanged: the key is not the one expected.
        TlsFailed: no TLS came about.
        TimedOut: nothing came in time.
    """
    loop = asyncio.get_running_loop()
    for pause in (*PAUSES, None):
        began = loop.time()
        try:
            return await _try(address, known, seconds)
        except ConnectionLost:
            if pause is None or loop.time() - began > DROP_SECONDS:
                break
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads clients, guards nothing
    raise NotAntiphon(address=_bare(address))


async def _try(address: Address, known: KnownServers, seconds: float) -> Dialled:
    try:
        async with asyncio.timeout(seconds):
            connection = await _connect(address)
            try:
                return await _greeted(address, connection, known)
            except BaseException:
                connection.abort()
                raise
    except TimeoutError:
        raise TimedOut(address=_bare(address), seconds=f"{seconds:g}") from None


async def _connect(address: Address) -> ClientConnection:
    loop = asyncio.get_running_loop()
    tls = _unverified_context() if address.scheme == "tls" else None
    try:
        _, connection = await loop.create_connection(
            lambda: ClientConnection(_bare(address)),
            address.host,
            address.port,
            ssl=tls,
            server_hostname=address.host if tls else None,
        )
    except (socket.gaierror, UnicodeError):
        raise HostUnknown(host=address.host) from None
    except ConnectionRefusedError:
        raise ConnectRefused(address=_bare(address), problem=_NOBODY) from None
    except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
        raise ConnectionLost(address=_bare(address)) from None
    except ssl.SSLError as error:
        problem = (error.reason or type(error).__name__).replace("_", " ").lower()
        raise TlsFailed(address=_bare(address), problem=problem) from None
    except OSError as error:
        raise ConnectRefused(address=_bare(address), problem=_problem(error)) from None
    return connection


async def _greeted(address: Address, connection: ClientConnection, known: KnownServers) -> Dialled:
    fingerprint, standing = None, Standing.PINNED
    if address.scheme == "tls":
        certificate = connection.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        try:
            fingerprint = fingerprint_of(certificate)
            connection.binding = binding_of(certificate)
        except ValueError:
            raise TlsFailed(address=_bare(address), problem=_NO_BINDING) from None
        standing = known.standing(address, fingerprint)
        if standing is Standing.UNKNOWN and await _vouched_for(address, fingerprint):
            standing = Standing.VOUCHED
    try:
        hello = await connection.hello()
    except VersionUnsupported:
        raise
    except ProtocolError as error:
        if error.told is not None:
            raise
        raise NotAntiphon(address=_bare(address)) from None
    return Dialled(connection, hello, fingerprint, standing)


async def _vouched_for(address: Address, fingerprint: str) -> bool:
    """Return whether the system's authorities vouch for the host and for this very key."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        _, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    except OSError:
        return False
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return fingerprint_of(certificate) == fingerprint


def _unverified_context() -> ssl.SSLContext:
    """Return TLS 1.3 without a word on whom we trust: that is decided by the key, before anything is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _bare(address: Address) -> str:
    """Return the address as messages show it: without name and fingerprint."""
    return str(Address(address.scheme, address.host, address.port, None, None))


def _problem(error: OSError) -> str:
    """Return why nobody answers; where several addresses were tried, asyncio gives no number but a long line."""
    if error.errno in (None, errno.ECONNREFUSED):
        return _NOBODY
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL):
        return _NO_WAY
    return os.strerror(error.errno)
