"""Certificates: the fingerprint of the public key, which addresses carry, and the TLS channel binding.

Functions take a certificate as DER. Server and client decide whether to trust it. cryptography is imported on
first use: it takes a quarter of the client's import time, and plain TCP does not need it.
"""

import base64
from hashlib import sha256


def fingerprint_of(der: bytes) -> str:
    """Return `sha256:` and the SHA-256 of the public key in base64url without padding, 43 characters.

    The hash covers the DER SubjectPublicKeyInfo, like the pins of RFC 7469: a certificate renewed for the same key
    keeps its fingerprint.

    Raises:
        ValueError: `der` is not a certificate, or its key is of an unknown kind.
    """
    from cryptography import x509  # noqa: PLC0415 - see above, and so below
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    try:
        key = x509.load_der_x509_certificate(der).public_key()
    except UnsupportedAlgorithm as error:
        raise ValueError("a key of an unknown kind") from error
    digest = sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return "sha256:" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def binding_of(der: bytes) -> bytes:
    """Return the `tls-server-end-point` channel binding of the certificate (RFC 5929, 4.1).

    The binding is the hash of the whole certificate by the hash function of its signature, with SHA-256 in place
    of MD5 and SHA-1.

    Raises:
        ValueError: `der` is not a certificate, its signature is of an unknown kind, or the signature has no hash
            function (Ed25519): the RFC defines no binding for it.
    """
    from cryptography import x509  # noqa: PLC0415
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415

    try:
        algorithm = x509.load_der_x509_certificate(der).signature_hash_algorithm
    except UnsupportedAlgorithm as error:
        raise ValueError("a signature of an unknown kind") from error
    if algorithm is None:
        raise ValueError("a signature without a hash function, which gives no channel binding")
    weak = isinstance(algorithm, hashes.MD5 | hashes.SHA1)
    digest = hashes.Hash(hashes.SHA256() if weak else algorithm)
    digest.update(der)
    return digest.finalize()


def names_its_issuer(der: bytes) -> bool:
    """Return whether the certificate says where its issuer's certificate is found (RFC 5280, 4.2.2.1).

    Public authorities write it into each certificate; authorities of one's own making do so rarely.
    """
    from cryptography import x509  # noqa: PLC0415
    from cryptography.x509.oid import AuthorityInformationAccessOID  # noqa: PLC0415

    try:
        extensions = x509.load_der_x509_certificate(der).extensions
        access = extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    return any(description.access_method == AuthorityInformationAccessOID.CA_ISSUERS for description in access)
