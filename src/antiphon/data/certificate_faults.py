"""Faults of a certificate that TLS refuses: which of the two files is at fault, and why."""

import ssl
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from antiphon.errors import CertificateKeyLocked, CertificateTooWeak, CertificateUnusable, Problem
from antiphon.language import N_

DAMAGED = Problem(N_("it or its key is damaged"))
_DAMAGED = Problem(N_("it is damaged"))
_KEY_DAMAGED = Problem(N_("its key is damaged"))
_ANOTHERS = Problem(N_("its key is another one's"))
_NOT_FIRST = Problem(N_("the certificate of its key does not stand first in it"))
_KIND = Problem(N_("TLS 1.3 takes no key of this kind; take ECDSA P-256 or RSA"))
_TOO_WEAK = {
    "EE_KEY_TOO_SMALL": Problem(N_("its key is too short")),
    "CA_KEY_TOO_SMALL": Problem(N_("the key of its issuer is too short")),
    "CA_MD_TOO_WEAK": Problem(N_("its signature uses an old hash function")),
}
"""Reasons of OpenSSL to refuse an intact certificate."""


def fault_of(certificate: Path, key: Path, error: ssl.SSLError) -> CertificateUnusable:
    """Return the error that says why OpenSSL has refused a certificate with its key, as `error`."""
    pem = key.read_bytes()
    if is_locked(pem):
        return CertificateKeyLocked(path=str(key))
    if error.reason in _TOO_WEAK:
        return CertificateTooWeak(path=str(certificate), problem=_TOO_WEAK[error.reason])
    return CertificateUnusable(path=str(certificate), problem=_problem(certificate.read_bytes(), pem))


def is_locked(pem: bytes) -> bool:
    """Return whether a key is encrypted with a password."""
    try:
        load_pem_private_key(pem, None)
    except TypeError:  # what the library raises then
        return True
    except (ValueError, UnsupportedAlgorithm):
        pass
    return False


def _problem(chain_pem: bytes, key_pem: bytes) -> Problem:
    """Look for what is wrong; OpenSSL has one reason for several faults, and for some none."""
    try:
        chain = [each.public_key() for each in x509.load_pem_x509_certificates(chain_pem)]
    except ValueError:
        return _DAMAGED
    except UnsupportedAlgorithm:
        return _KIND
    try:
        own = load_pem_private_key(key_pem, None).public_key()
    except ValueError:
        return _KEY_DAMAGED
    except UnsupportedAlgorithm:
        return _KIND
    if own not in chain:
        return _ANOTHERS
    return _KIND if own == chain[0] else _NOT_FIRST
