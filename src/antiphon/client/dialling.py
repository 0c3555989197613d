"""Dialling: the TLS contexts, the errors and the retries that both clients share when they connect to an address.

`aio/dial.py` and `blocking/dial.py` open the sockets.
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
from antiphon.client.addresses import Addresses
from antiphon.client.trust import Standing
from antiphon.errors import (
    AntiphonError,
    CertificateRefused,
    ConnectError,
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
from antiphon.identity.certificates import binding_of, fingerprint_of, names_its_issuer
from antiphon.language import N_
from antiphon.wire.bodies import Hello

_NOBODY = Problem(N_("nothing listens there"))
_NONE = Problem(N_("none of these servers can be reached"))
_NO_WAY = Problem(N_("there is no way from here to there"))
_EXPIRED = Problem(N_("it has expired"))
_NOT_YET = Problem(N_("it is not valid yet; perhaps the clock of this machine is wrong"))
_OTHER_NAME = Problem(N_("it is for another name"))
_NO_CHAIN = Problem(N_("the certificates between it and an authority that this system knows are missing"))
_BAD_CHAIN = Problem(N_("its chain is not valid: {reason}"))
_NO_BINDING = Problem(N_("its certificate is of a kind that no sign-in can be bound to"))

_X509_PROBLEMS = {
    9: _NOT_YET,
    10: _EXPIRED,
    62: _OTHER_NAME,
    64: _OTHER_NAME,
}
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED, _HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH."""
_X509_SELF_SIGNED = (18, 19)
"""X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT and _SELF_SIGNED_CERT_IN_CHAIN: no authority of this system signed it."""
_X509_NO_ISSUER = (2, 20, 21)
"""X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, _GET_ISSUER_CERT_LOCALLY and _VERIFY_LEAF_SIGNATURE."""

PAUSES = (0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds before each next try, varied by half, after a server has closed the connection without a word."""
DROP_SECONDS = 2.0
"""Seconds within which a busy server drops a connection; one that takes longer waited for another protocol."""

Connection = TypeVar("Connection")
"""A connection of either client."""


@dataclass(frozen=True)
class DialResult(Generic[Connection]):
    """A connection on which HELLO has come, and what speaks for the server's key. Nothing was sent on it yet."""

    connection: Connection
    hello: Hello
    fingerprint: str | None
    """The fingerprint of the server's key, None on plain TCP."""
    standing: Standing
    address: Address
    """The address that was dialled."""


async def dial_persistently(
    addresses: Addresses,
    dial_once: Callable[[Address], Awaitable[DialResult[Connection]]],
    sleep: Callable[[float], Awaitable[object]],
) -> DialResult[Connection]:
    """Dial the first of `addresses` that answers; if a server closes the connection without a word, try again.

    A server whose key is not the right one ends the attempt, so that somebody looks.

    Raises:
        NotAntiphon: the only server closed every connection.
        ConnectRefused: there are several, and none of them can be reached.
        AntiphonError: as `dial_once`.
    """
    for pause in (*PAUSES, None):
        busy, failure = False, AntiphonError()
        for address in addresses:
            began = time.monotonic()
            try:
                return await dial_once(address)
            except ConnectionLost:
                busy |= time.monotonic() - began <= DROP_SECONDS
                failure = NotAntiphon(address=bare(address))
            except (ConnectError, TimedOut) as error:
                failure = error
        if pause is None or not busy:
            break
        await sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads clients, guards nothing
    if len(addresses) == 1:
        raise failure
    raise ConnectRefused(address=", ".join(map(bare, addresses)), problem=_NONE) from failure


def unverified_context() -> ssl.SSLContext:
    """Return a context for TLS 1.3 that trusts any certificate: the key decides, before anything is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def verified_context() -> ssl.SSLContext:
    """Return a context for TLS 1.3 that trusts the system's authorities."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def bare(address: Address) -> str:
    """Return the address as messages show it, without name and fingerprint."""
    return str(Address(address.scheme, address.host, address.port, None, None))


def key_of(address: Address, certificate: bytes) -> tuple[str, bytes]:
    """Return the fingerprint of a server's key, and the binding of a channel with its certificate.

    Raises:
        TlsFailed: no sign-in can be bound to this kind of certificate.
    """
    try:
        return fingerprint_of(certificate), binding_of(certificate)
    except ValueError:
        raise TlsFailed(address=bare(address), problem=_NO_BINDING) from None


def unreached(address: Address, error: OSError | UnicodeError) -> AntiphonError:
    """Return the error for the system's `error` at connecting or in the TLS handshake."""
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


def unvouched(address: Address, certificate: bytes, error: OSError) -> Standing:
    """Return the standing of a key after the system's authorities were asked, and `error` came.

    A certificate of an authority is not taken for one of a person's own making: pinned, it would be refused for
    good once it is renewed with another key.

    Raises:
        CertificateRefused: an authority would vouch for it, but for its dates, its name or its chain.
        ConnectionLost: the server dropped the connection, so nobody could be asked.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _X509_SELF_SIGNED:
            return Standing.UNKNOWN
        missing = error.verify_code in _X509_NO_ISSUER
        if missing and not names_its_issuer(certificate):  # an authority of the operator's own, unknown here
            return Standing.UNKNOWN
        problem = _NO_CHAIN if missing else _X509_PROBLEMS.get(error.verify_code, _BAD_CHAIN)
        raise CertificateRefused(
            host=address.host,
            fingerprint=fingerprint_of(certificate),
            problem=problem,
            reason=error.verify_message,
        )
    if isinstance(error, ConnectionError):
        raise ConnectionLost(address=bare(address)) from None
    return Standing.UNKNOWN


def ungreeted(address: Address, error: ProtocolError) -> ProtocolError | NotAntiphon:
    """Return the error for an `error` that came in the place of HELLO."""
    if isinstance(error, VersionUnsupported) or error.told is not None:
        return error
    return NotAntiphon(address=bare(address))


def _problem(error: OSError) -> str:
    """Return why nobody answers. If several addresses were tried, asyncio gives a long line and no number."""
    if error.errno in (None, errno.ECONNREFUSED):
        return _NOBODY
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL):
        return _NO_WAY
    return os.strerror(error.errno)
