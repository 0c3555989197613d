"""Invitations: codes that hold the server's address and key fingerprint, the invited name and a secret.

    antiphon1://ann@school.example:7862/9bX0...

The part after the last slash is base64url of the fingerprint of each key that the server may have (32 bytes, over
TLS only), the secret (16 bytes), which is the right to register, and a check sum (3 bytes), which tells a copying
error from a wrong secret.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from antiphon import address as addresses
from antiphon.address import BETWEEN_KEYS, Address
from antiphon.errors import AddressInvalid, InvitationInvalid, PortInvalid, Problem
from antiphon.identity.hidden import HiddenBytes
from antiphon.language import N_

SECRET_SIZE = 16
"""Bytes; 128 bits cannot be guessed."""
CHECK_SIZE = 3
"""Bytes of the check sum; it misses one copying error in 16 million, which the server then refuses."""

_VERSION = "1"
_KEY_SIZE = 32
_PIN = "sha256:"
_LABEL = b"invitation\0"
_CODE = re.compile(r"antiphon([0-9]+)://([^/]+)/([A-Za-z0-9_-]+)", re.IGNORECASE)
_ALIKE = re.compile(r"antiphon[0-9]+:/|[^/:]/[A-Za-z0-9_-]{20,}", re.IGNORECASE)
"""Text that is or was meant to be an invitation: an address has no number in its scheme and no path."""

_SLIP = Problem(N_("a character is missing or wrong"))
_VERSION_UNKNOWN = Problem(N_("it is from another version of this program"))


class Secret(HiddenBytes):
    """The right to register: 16 random bytes from the operating system."""

    SIZE = SECRET_SIZE


def fingerprint(secret: Secret, token_key: bytes) -> bytes:
    """Return the keyed hash that the store holds instead of a secret: HMAC-SHA-256 (RFC 2104), 32 bytes.

    `token_key` is the key ring's. A label in the hash keeps it apart from the hashes of tokens.
    """
    return hmac.digest(token_key, _LABEL + secret, "sha256")


@dataclass(frozen=True)
class Code:
    """An invitation as people pass it on; `written` encodes it, `read` decodes it.

    `address` holds the invited name and, over TLS, the fingerprint of the server's key.
    """

    address: Address
    secret: Secret

    @classmethod
    def make(cls, address: Address, random: Callable[[int], bytes]) -> Self:
        """Return a new code; `random(n)` returns n bytes from a cryptographic generator."""
        return cls(address, Secret(random(SECRET_SIZE)))

    def written(self) -> str:
        """Return the code as one word. It is a secret: show it only to the invited person."""
        return f"antiphon{_VERSION}://{_place(self.address)}/{_encoded(self._data())}"

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse a code; white space in `text` is ignored, because mail programs break long lines.

        Raises:
            InvitationInvalid: the code is incomplete or altered, or from another version of this program.
        """
        parts = _CODE.fullmatch("".join(text.split()))
        if parts is None:
            raise InvitationInvalid(problem=_SLIP)
        version, place, encoded = parts.groups()
        if version != _VERSION:
            raise InvitationInvalid(problem=_VERSION_UNKNOWN)
        try:
            data = _decoded(encoded)
            keys, secret = data[: -SECRET_SIZE - CHECK_SIZE], data[-SECRET_SIZE - CHECK_SIZE : -CHECK_SIZE]
            address = addresses.parse(f"{'tls' if keys else 'tcp'}://{place}", default_port=0)
            each = [_PIN + _encoded(keys[at : at + _KEY_SIZE]) for at in range(0, len(keys), _KEY_SIZE)]
            code = cls(replace(address, fingerprint=BETWEEN_KEYS.join(each) or None), Secret(secret))
        except (AddressInvalid, PortInvalid, ValueError):  # ValueError: not base64, or too short
            raise InvitationInvalid(problem=_SLIP) from None
        if len(keys) % _KEY_SIZE or not address.name or _encoded(code._data()) != encoded:
            raise InvitationInvalid(problem=_SLIP)
        return code

    def _data(self) -> bytes:
        keys = b"".join(_decoded(each.removeprefix(_PIN)) for each in self.address.fingerprints)
        check = hashlib.sha256(str(self.address).encode() + self.secret).digest()[:CHECK_SIZE]
        return keys + self.secret + check


def read_place(text: str) -> Address | Code:
    """Parse what a person gave as the server to connect to: an address or an invitation.

    Raises:
        InvitationInvalid: `text` looks like an invitation and is not a valid one.
        AddressInvalid, PortInvalid: as `address.parse`.
    """
    return Code.read(text) if _ALIKE.search(text) else addresses.parse(text)


def _place(address: Address) -> str:
    """Return `name@host:port` of the address."""
    return str(replace(address, fingerprint=None)).partition("://")[2]


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
