"""Certificate of one process for relays between nodes: made when it starts, and gone with it.

It is valid for ever and names nobody: who connects compares its hash with the one in the store. Its key never
stands readable in a file.
"""

import os
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.oid import NameOID

_FROM = datetime(2000, 1, 1, tzinfo=UTC)
_UNTIL = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True)
class NodeCertificate:
    """A certificate with its key, ready to serve."""

    context: ssl.SSLContext
    """TLS 1.3 with this certificate"""
    digest: bytes
    """SHA-256 of the certificate"""


def make_certificate() -> NodeCertificate:
    """Return a new certificate. It blocks for some milliseconds.

    Raises:
        OSError: there is no room for a temporary file.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "antiphon node")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .sign(key, hashes.SHA256())
    )
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    password = os.urandom(32).hex()  # OpenSSL takes a key from a file only: this one opens for nobody else
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode()))
    with tempfile.TemporaryDirectory(prefix="antiphon-") as folder:
        path = Path(folder) / "certificate.pem"
        path.write_bytes(pem + certificate.public_bytes(Encoding.PEM))
        context.load_cert_chain(path, password=password)
    return NodeCertificate(context, sha256(certificate.public_bytes(Encoding.DER)).digest())


def dialing_context() -> ssl.SSLContext:
    """Return TLS 1.3 for who connects, who looks at the certificate afterwards."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
