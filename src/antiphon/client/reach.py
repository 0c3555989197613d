"""What both ways of reaching a server hold to: how often, over which TLS, which error for what went wrong.

No I/O here: `dial.py` does it in asyncio, `blocking_dial.py` without.
"""

import errno
import os
import random
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from antiphon.address import Address
from antiphon.client.trust import Standing
from antiphon.errors import (
    AntiphonError,
    ConnectionLost,
    ConnectRefused,
    HostUnknown,
    NotAntiphon,
    Problem,
    ProtocolError,
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

Line = TypeVar("Line")
"""A connection of either client."""


@dataclass(frozen=True)
class Reached(Generic[Line]):
    """A connection whose server has said HELLO, and what speaks for its key; nothing has been sent on it yet."""

    connection: Line
    hello: Hello
    fingerprint: str | None
    """The key's, None on plain TCP."""
    standing: Standing


async def persistently(
    address: Address,
    dial_once: Callable[[], Awaitable[Reached[Line]]],
    sleep: Callable[[float], Awaitable[object]],
) -> Reached[Line]:
    """Reach `address`; a server that drops us without a word is tried again.

    Raises:
        NotAntiphon: it always does.
        AntiphonError: as `dial_once`.
    """
    for pause in (*PAUSES, None):
        began = time.monotonic()
        try:
            return await dial_once()
        except ConnectionLost:
            if pause is None or time.monotonic() - began > DROP_SECONDS:
                break
            await sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads clients, guards nothing
    raise NotAntiphon(address=bare(address))


def unverified_context() -> ssl.SSLContext:
    """Return TLS 1.3 without a word on whom we trust: that is decided by the key, before anything is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def verified_context() -> ssl.SSLContext:
    """Return TLS 1.3 with those whom the system's authorities vouch for."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def bare(address: Address) -> str:
    """Return the address as messages show it: without name and fingerprint."""
    return str(Address(address.scheme, address.host, address.port, None, None))


def key_of(address: Address, certificate: bytes) -> tuple[str, bytes]:
    """Return the fingerprint of a server's key, and the binding of a channel with its certificate.

    Raises:
        TlsFailed: no sign-in could be bound to it.
    """
    try:
        return fingerprint_of(certificate), binding_of(certificate)
    except ValueError:
        raise TlsFailed(address=bare(address), problem=_NO_BINDING) from None


def unreached(address: Address, error: OSError | UnicodeError) -> AntiphonError:
    """Return what the system's `error`, at connecting or in the TLS handshake, means."""
    if isinstance(error, socket.gaierror | UnicodeError):
        return HostUnknown(host=address.host)
    if isinstance(error, ConnectionRefusedError):
        return ConnectRefused(address=bare(address), problem=_NOBODY)
    if isinstance(error, ConnectionError | ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return ConnectionLost(address=bare(address))
    if isinstance(error, ssl.SSLError):
        problem = (error.reason or type(error).__name__).replace("_", " ").lower()
        return TlsFailed(address=bare(address), problem=problem)
    return ConnectRefused(address=bare(address), problem=_problem(error))


def ungreeted(address: Address, error: ProtocolError) -> ProtocolError | NotAntiphon:
    """Return what it means that `error` came in the place of HELLO."""
    if isinstance(error, VersionUnsupported) or error.told is not None:
        return error
    return NotAntiphon(address=bare(address))


def _problem(error: OSError) -> str:
    """Return why nobody answers; where several addresses were tried, asyncio gives no number but a long line."""
    if error.errno in (None, errno.ECONNREFUSED):
        return _NOBODY
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL):
        return _NO_WAY
    return os.strerror(error.errno)
