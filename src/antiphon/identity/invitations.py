"""Invitations: one word that holds where a server is, whose key it has, who is invited, and the right to register.

    antiphon1://ann@school.example:7862/9bX0...

Behind the last slash stand, in base64url, the 32 bytes of the key's fingerprint (over TLS), the 16 of the secret,
and 3 that tell a slip of copying from a wrong secret.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from antiphon import address as addresses
from antiphon.address import Address
from antiphon.errors import AddressInvalid, InvitationInvalid, PortInvalid, Problem
from antiphon.identity.hidden import HiddenBytes
from antiphon.language import N_

SECRET_SIZE = 16
"""Bytes: 128 bits, which nobody guesses."""
CHECK_SIZE = 3
"""Bytes: one slip in 16 million goes unnoticed, and then meets the server's refusal."""

_VERSION = "1"
_KEY_SIZE = 32
_PIN = "sha256:"
_LABEL = b"invitation\0"
_CODE = re.compile(r"antiphon([0-9]+)://([^/]+)/([A-Za-z0-9_-]+)", re.IGNORECASE)
_ALIKE = re.compile(r"antiphon[0-9]+:/|[^/:]/[A-Za-z0-9_-]{20,}", re.IGNORECASE)
"""No address has a number in its scheme, or a path: what looks like this is a code, or was one."""

_SLIP = Problem(N_("a character is missing or wrong"))
_VERSION_UNKNOWN = Problem(N_("it is from another version of this program"))


class Secret(HiddenBytes):
    """The right to register, 16 bytes from the system's generator."""

    SIZE = SECRET_SIZE


def fingerprint(secret: Secret, token_key: bytes) -> bytes:
    """Return the keyed hash that is stored instead of a secret: HMAC-SHA-256 (RFC 2104), 32 bytes.

    `token_key` is the key ring's; the label keeps these hashes apart from those of tokens.
    """
    return hmac.digest(token_key, _LABEL + secret, "sha256")


@dataclass(frozen=True)
class Code:
    """An invitation as it is passed on: `written` gives the word, `read` takes it.

    `address` holds the name of the invited and, over TLS, the fingerprint of the server's key.
    """

    address: Address
    secret: Secret

    @classmethod
    def make(cls, address: Address, random: Callable[[int], bytes]) -> Self:
        """Return a new code; `random` gives as many bytes as asked, fit for keys."""
        return cls(address, Secret(random(SECRET_SIZE)))

    def written(self) -> str:
        """Return the code as one word, to be shown to the invited only."""
        return f"antiphon{_VERSION}://{_place(self.address)}/{_encoded(self._data())}"

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the code that `text` holds; white space in it does not count, as mail may have broken the line.

        Raises:
            InvitationInvalid: it is not whole, or of another version.
        """
        parts = _CODE.fullmatch("".join(text.split()))
        if parts is None:
            raise InvitationInvalid(problem=_SLIP)
        version, place, encoded = parts.groups()
        if version != _VERSION:
            raise InvitationInvalid(problem=_VERSION_UNKNOWN)
        try:
            data = _decoded(encoded)
            key, secret = data[: -SECRET_SIZE - CHECK_SIZE], data[-SECRET_SIZE - CHECK_SIZE : -CHECK_SIZE]
            address = addresses.parse(f"{'tls' if key else 'tcp'}://{place}", default_port=0)
            code = cls(replace(address, fingerprint=_PIN + _encoded(key) if key else None), Secret(secret))
        except (AddressInvalid, PortInvalid, ValueError):  # ValueError: no base64, or too little of it
            raise InvitationInvalid(problem=_SLIP) from None
        if len(key) not in (0, _KEY_SIZE) or not address.name or _encoded(code._data()) != encoded:
            raise InvitationInvalid(problem=_SLIP)
        return code

    def _data(self) -> bytes:
        key = _decoded((self.address.fingerprint or "").removeprefix(_PIN))
        check = hashlib.sha256(str(self.address).encode() + self.secret).digest()[:CHECK_SIZE]
        return key + self.secret + check


def read_place(text: str) -> Address | Code:
    """Return what a person gave for the way to a server: an address, or an invitation.

    Raises:
        InvitationInvalid: it looks like an invitation, and is not a whole one.
        AddressInvalid, PortInvalid: as `address.parse`.
    """
    return Code.read(text) if _ALIKE.search(text) else addresses.parse(text)


def _place(address: Address) -> str:
    """Return name, host and port as the address has them."""
    return str(replace(address, fingerprint=None)).partition("://")[2]


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
