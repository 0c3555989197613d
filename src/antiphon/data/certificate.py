"""The server's certificate: read from the data folder, or made there at the first start.

Clients check its fingerprint and channel binding, which are computed from the certificate that is really served.
"""

import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from antiphon.data.certificate_faults import DAMAGED, fault_of, is_locked
from antiphon.data.folder import DataFolder
from antiphon.errors import CertificateKeyLocked, CertificateUnusable, Problem
from antiphon.identity.certificates import binding_of, fingerprint_of
from antiphon.language import N_

CERTIFICATE_FILE = "certificate.pem"
KEY_FILE = "certificate.key"
_EVER = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)
VALIDITY = timedelta(days=3652)
"""Ten years: clients trust the key, and nobody renews it."""
CLOCK_SLACK = timedelta(days=1)
"""Time by which a client's clock may be behind when the certificate is new."""


@dataclass(frozen=True)
class Certificate:
    """A certificate as connections use it. Each keeps this object, so that a reload cannot mix two of them."""

    context: ssl.SSLContext
    """TLS 1.3 with this certificate"""
    fingerprint: str
    """of its key, as addresses carry it"""
    binding: bytes
    """its `tls-server-end-point` (RFC 5929)"""
    valid_from: datetime = _EVER
    """when it begins to be valid; clients that know the key do not look at it"""
    expires_at: datetime = _NEVER
    """when it stops being valid; likewise"""
    names: tuple[str, ...] = ()
    """host names in it, for browsers"""


def load_or_make(folder: DataFolder, hosts: Iterable[str]) -> Certificate:
    """Return the certificate of `folder`; at the first start make a self-signed one that also names `hosts`.

    A key without a certificate gets a new certificate and stays, because clients trust it.

    Raises:
        FolderUnsafe: another user can read the certificate or its key.
        FolderUnusable: they cannot be read or written.
        CertificateUnusable: they are damaged, do not belong together, or have no channel binding.
        CertificateKeyLocked, CertificateTooWeak: the key has a password; TLS takes no key this short.
    """
    with folder.lock():
        key, certificate = folder.read_private(KEY_FILE), folder.read_private(CERTIFICATE_FILE)
        if certificate is None:
            if key is None:
                key = _new_key()
                folder.write_private(KEY_FILE, key)
            folder.write_private(CERTIFICATE_FILE, _self_signed(key, hosts, folder.place(KEY_FILE)))
        elif key is None:
            raise CertificateUnusable(
                path=str(folder.place(CERTIFICATE_FILE)), problem=Problem(N_("its key is missing"))
            )
        return _load(folder.place(CERTIFICATE_FILE), folder.place(KEY_FILE))


def _load(certificate: Path, key: Path) -> Certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # a session taken up again by RESUME is ours; one by TLS would show no certificate
    try:
        # An empty password, so that an encrypted key is an error and never a question on the terminal.
        context.load_cert_chain(certificate, key, password="")
        der = _served(context)
        parsed = x509.load_der_x509_certificate(der)
        return Certificate(
            context,
            fingerprint_of(der),
            binding_of(der),
            parsed.not_valid_before_utc,
            parsed.not_valid_after_utc,
            _names_in(parsed),
        )
    except ssl.SSLError as error:
        raise fault_of(certificate, key, error) from error
    except ValueError as error:
        problem = Problem(N_("no channel binding is defined for it; one with an ECDSA or RSA signature is needed"))
        raise CertificateUnusable(path=str(certificate), problem=problem) from error


def _names_in(certificate: x509.Certificate) -> tuple[str, ...]:
    with contextlib.suppress(x509.ExtensionNotFound):
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return tuple(found.value.get_values_for_type(x509.DNSName))
    return ()


def _served(context: ssl.SSLContext) -> bytes:
    """Return, as DER, the certificate that `context` serves in a handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False
    asking.verify_mode = ssl.CERT_NONE
    client = asking.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):  # hello; the server's whole flight; finished
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    der = client.getpeercert(binary_form=True)
    assert der is not None, "a TLS server has a certificate"
    return der


def _new_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _self_signed(pem: bytes, hosts: Iterable[str], path: Path) -> bytes:
    if is_locked(pem):
        raise CertificateKeyLocked(path=str(path))
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateUnusable(path=str(path), problem=DAMAGED) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateUnusable(
            path=str(path), problem=Problem(N_("it is missing, and its key is not of our making"))
        )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "antiphon")])
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SLACK)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.SubjectAlternativeName(_alternative_names(hosts)), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


def _alternative_names(hosts: Iterable[str]) -> list[x509.GeneralName]:
    """Return the names of this machine and `hosts`, each once, without what no certificate can name (`*`)."""
    names = ("localhost", socket.gethostname(), "127.0.0.1", "::1", *hosts)
    return list(dict.fromkeys(filter(None, map(_alternative_name, names))))


def _alternative_name(host: str) -> x509.GeneralName | None:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host))
    with contextlib.suppress(ValueError):  # UnicodeError among them: no name that the DNS can hold
        if host and "*" not in host:
            return x509.DNSName(host.encode("idna").decode("ascii"))
    return None
