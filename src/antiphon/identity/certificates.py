"""What a certificate is known by: its key's fingerprint, which addresses carry, and the binding of a TLS channel.

Certificates come in as DER; where they come from and whether they are trusted is left to server and client.
cryptography is imported when there is one: a quarter of the client's import, which plain TCP has no use for.
"""

import base64
from hashlib import sha256


def fingerprint_of(der: bytes) -> str:
    """Return `sha256:` and base64url without padding (43 characters) of SHA-256 over the public key.

    The hash covers the DER SubjectPublicKeyInfo (as RFC 7469 pins do), so that a certificate may be renewed for
    the same key.

    Raises:
        ValueError: `der` is not a certificate with a key of a known kind.
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

    That is the hash of the whole certificate by the hash function of its signature; MD5 and SHA-1 give way to
    SHA-256.

    Raises:
        ValueError: `der` is not a certificate, or its signature has no hash function (Ed25519), for which the
            RFC leaves the binding undefined.
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
