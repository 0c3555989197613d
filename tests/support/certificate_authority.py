"""Certificates of a certificate authority that only the tests trust."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from antiphon.data.certificate import CERTIFICATE_FILE, KEY_FILE
from antiphon.identity.certificates import fingerprint_of

SIGNS_CERTIFICATES = x509.KeyUsage(
    key_cert_sign=True, crl_sign=True, digital_signature=False, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip


def issue_certificate(
    folder: Path, *, days: float = 1, begins: float = -9, name: str = "localhost", issuer_named: bool = False
) -> tuple[Path, str]:
    """Put a certificate of a new authority into a data folder; return the authority's file and a fingerprint.

    It is for `name`, begins and expires in so many days, in the past if that is negative. With `issuer_named` it
    says where the certificate of its issuer is found, as those of public authorities do.
    """
    now = datetime.now(UTC)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority")])

    def build(subject: x509.Name, public: ec.EllipticCurvePublicKey, days: float) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder(
            issuer_name=authority,
            subject_name=subject,
            public_key=public,
            serial_number=x509.random_serial_number(),
            not_valid_before=now + timedelta(days=begins),
            not_valid_after=now + timedelta(days=days),
        )
        ours = x509.SubjectKeyIdentifier.from_public_key(public)
        theirs = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        return builder.add_extension(ours, False).add_extension(
            theirs, False
        )  # required by RFC 5280, and by Python 3.13

    root = build(authority, authority_key.public_key(), max(days, 1)).add_extension(
        x509.BasicConstraints(True, None), True
    )
    root = root.add_extension(SIGNS_CERTIFICATES, True)
    leaf = build(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key(), days)
    leaf = leaf.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
    if issuer_named:
        issuer = x509.UniformResourceIdentifier("http://authority.test/issuer.der")
        access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, issuer)
        leaf = leaf.add_extension(x509.AuthorityInformationAccess([access]), False)
    signed = leaf.sign(authority_key, hashes.SHA256())
    folder.mkdir(mode=0o700)
    files = {
        CERTIFICATE_FILE: signed.public_bytes(Encoding.PEM),
        KEY_FILE: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "authority.pem": root.sign(authority_key, hashes.SHA256()).public_bytes(Encoding.PEM),
    }
    for file, data in files.items():
        (folder / file).write_bytes(data)
        (folder / file).chmod(0o600)
    return folder / "authority.pem", fingerprint_of(signed.public_bytes(Encoding.DER))
