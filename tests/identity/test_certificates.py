import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from antiphon.address import parse
from antiphon.identity.certificates import binding_of, fingerprint_of

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

RSA_WITH = {"sha256": 0x0B, "sha1": 0x05, "md5": 0x04}
"""Last byte of the object identifiers of RFC 8017, appendix A.2.4: 1.2.840.113549.1.1.x."""


def certificate(key: Key, algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + timedelta(days=1))
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


def signed_by_rsa_with(name: str) -> bytes:
    """Return a certificate that claims a signature with this hash (libraries no longer sign with it)."""
    der = certificate(rsa.generate_private_key(65537, 2048), hashes.SHA256())
    prefix = bytes.fromhex("2a864886f70d0101")
    return der.replace(prefix + bytes([RSA_WITH["sha256"]]), prefix + bytes([RSA_WITH[name]]))


def test_the_fingerprint_is_that_of_the_key_and_fits_an_address() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    expected = "sha256:" + base64.urlsafe_b64encode(hashlib.sha256(spki).digest()).decode().rstrip("=")
    assert fingerprint_of(certificate(key, hashes.SHA256())) == expected
    assert fingerprint_of(certificate(key, hashes.SHA512())) == expected
    assert parse(f"tls://host#{expected}").fingerprint == expected


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [(hashes.SHA256(), "sha256"), (hashes.SHA384(), "sha384"), (hashes.SHA512(), "sha512")],
)
def test_the_binding_uses_the_hash_of_the_signature(
    algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512, name: str
) -> None:
    der = certificate(ec.generate_private_key(ec.SECP256R1()), algorithm)
    assert binding_of(der) == hashlib.new(name, der).digest()


@pytest.mark.parametrize("name", ["md5", "sha1"])
def test_the_binding_of_a_weak_signature_uses_sha_256(name: str) -> None:
    der = signed_by_rsa_with(name)
    signed_with = x509.load_der_x509_certificate(der).signature_hash_algorithm
    assert signed_with is not None
    assert signed_with.name == name
    assert binding_of(der) == hashlib.sha256(der).digest()


def test_a_signature_without_a_hash_has_no_binding() -> None:
    der = certificate(ed25519.Ed25519PrivateKey.generate(), None)
    with pytest.raises(ValueError, match="without a hash"):
        binding_of(der)


@pytest.mark.parametrize("der", [b"", b"\x30", b"no certificate"])
def test_what_is_no_certificate_is_refused(der: bytes) -> None:
    with pytest.raises(ValueError):
        fingerprint_of(der)
    with pytest.raises(ValueError):
        binding_of(der)
