"""Failures of the TLS handshake: the reason in one of a few fixed phrases, for the log (docs/monitoring.md)."""

import ssl

FIRST_BYTES = 8
"""Bytes from the client that are kept until the handshake is over: OpenSSL needs five to see that it is no TLS."""

_TLS_1_2 = "client speaks TLS 1.2 at most"
_NO_SUITE = "no cipher suite or group in common"
_NOT_TRUSTED = "client refused the certificate"
_ALERT = "client gave up"
_HTTP = "plain HTTP"
_ANTIPHON = "plain Antiphon"
_BALANCER = "PROXY header"
_NO_TLS = "no TLS"
_SILENT = "client sent nothing"
_SLOW = "took too long"
_CLOSED = "connection closed"
_RESET = "connection reset"
_BROKEN = "broken handshake"

PHRASES = (
    _TLS_1_2, _HTTP, _ANTIPHON, _BALANCER, _NO_TLS, _NOT_TRUSTED, _ALERT, _NO_SUITE, _SILENT, _SLOW, _CLOSED,
    _RESET, _BROKEN,
)  # fmt: skip
"""All phrases."""

_BY_REASON = {
    "UNSUPPORTED_PROTOCOL": _TLS_1_2,
    "VERSION_TOO_LOW": _TLS_1_2,
    "NO_SHARED_CIPHER": _NO_SUITE,
    "NO_SUITABLE_KEY_SHARE": _NO_SUITE,
    "NO_SUITABLE_GROUPS": _NO_SUITE,
    "NO_SUITABLE_SIGNATURE_ALGORITHM": _NO_SUITE,
}
"""Reasons of OpenSSL."""
_OF_CERTIFICATES = ("CERTIFICATE", "UNKNOWN_CA")
"""Parts of OpenSSL's names for the alerts of a client that does not trust the certificate."""
_METHODS = (b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"CONN", b"OPTI", b"TRAC", b"PATC", b"PRI ")
"""The first four bytes of a request in HTTP, the preface of HTTP/2 among them."""
_PROXY = (b"PROXY ", b"\r\n\r\n\0\r\n")
"""The first bytes of a header of the PROXY protocol, versions 1 and 2."""
_FRAME_START = b"\0\0"
"""The first two bytes of every frame that a client may send before it has signed in: a length below 64 KiB."""
_RECORD_TYPES = range(20, 25)
"""First bytes of a TLS record (RFC 8446, 5.1)."""


class ClosedEarly(ConnectionError):
    """The client has closed the connection in the handshake, without a reset."""


def why_failed(error: OSError, first: bytes) -> str:
    """Return why a handshake failed, one of `PHRASES`.

    Args:
        error: what ended it: of OpenSSL, of the socket, or a `TimeoutError`.
        first: the first bytes that the client has sent, up to `FIRST_BYTES`.
    """
    if isinstance(error, TimeoutError):
        return _SLOW if first else _SILENT
    if isinstance(error, ClosedEarly):
        return _CLOSED
    if not isinstance(error, ssl.SSLError):
        return _RESET
    if first and first[0] not in _RECORD_TYPES:
        return _plain(first)
    reason = error.reason or ""
    if "_ALERT_" in reason:
        return _NOT_TRUSTED if any(part in reason for part in _OF_CERTIFICATES) else _ALERT
    return _BY_REASON.get(reason, _BROKEN)


def _plain(first: bytes) -> str:
    """Return what a client speaks instead of TLS."""
    if first.startswith(_METHODS):
        return _HTTP
    if first.startswith(_PROXY):
        return _BALANCER
    # The fifth byte is the kind: every kind of a client before sign-in is above 0, unlike that of a row of zeros.
    return _ANTIPHON if first.startswith(_FRAME_START) and first[4:5] > b"\0" else _NO_TLS
