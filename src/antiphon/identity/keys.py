"""The key ring: keys that seal stored credentials, hash tokens and derive mock credentials for unknown names.

It is kept in a file of its own (`secret.key`), apart from the database: a thief needs both.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Meta

from antiphon.errors import Problem, ServerError
from antiphon.language import N_

KEY_SIZE = 32
"""Bytes of each key: AES-256, and the output of SHA-256."""
NONCE_SIZE = 12
"""Bytes of the nonce of AES-GCM (NIST SP 800-38D, 5.2.1.1)."""

NUMBER_SIZE = 4
"""Bytes of the key's number (u32, big-endian), with which all sealed data begins."""

_MARK_LABEL = b"sealing key"
_MARK_SIZE = 8

_NOT_A_RING = Problem(N_("it is not a key ring of this version"))

Key = Annotated[bytes, Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]
KeyNumber = Annotated[int, Meta(ge=1, le=2**32 - 1)]


@dataclass(frozen=True, kw_only=True)
class KeyRing:
    """The keys of one data folder. The newest sealing key seals; all of them open."""

    version: Literal[1] = 1
    sealing_keys: Annotated[dict[KeyNumber, Key], Meta(min_length=1)]
    """by number; the highest number is the newest"""
    token_key: Key
    """for `tokens.fingerprint`"""
    mock_key: Key
    """for `scram.mock_verifier`; it never changes, so that an unknown name always gets the same salt"""

    @classmethod
    def generate(cls, random: Callable[[int], bytes]) -> Self:
        """Return a new ring with one sealing key; `random(n)` returns n bytes from a cryptographic generator."""
        return cls(sealing_keys={1: random(KEY_SIZE)}, token_key=random(KEY_SIZE), mock_key=random(KEY_SIZE))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parse what `dump` wrote.

        Raises:
            ValueError: `data` is not a key ring. Its only argument is a `Problem`, which shows nothing of `data`.
        """
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise ValueError(_NOT_A_RING) from None

    @property
    def newest(self) -> int:
        """The number of the key that seals."""
        return max(self.sealing_keys)

    def with_new_key(self, random: Callable[[int], bytes]) -> Self:
        """Return a copy of this ring with one more sealing key, which becomes the newest."""
        return replace(self, sealing_keys={**self.sealing_keys, self.newest + 1: random(KEY_SIZE)})

    def with_newest_only(self) -> Self:
        """Return a copy of this ring with only the newest sealing key."""
        return self.without_older(self.newest)

    def without_older(self, number: int) -> Self:
        """Return a copy of this ring with the sealing key `number`, which it has, and later ones."""
        return replace(self, sealing_keys={each: key for each, key in self.sealing_keys.items() if each >= number})

    def dump(self) -> bytes:
        """Return the ring as JSON with the keys in base64: a secret, for the server's file only."""
        return msgspec.json.format(msgspec.json.encode(self)) + b"\n"

    def mark(self, number: int) -> str:
        """Return what others know a sealing key by: its number, and a hash that tells nothing of the key.

        Two rings may have been given different keys with the same number.
        """
        digest = hmac.digest(self.sealing_keys[number], _MARK_LABEL, "sha256")
        return f"{number}:{digest[:_MARK_SIZE].hex()}"

    @property
    def marks(self) -> str:
        """The marks of all sealing keys, the oldest first, with spaces between them."""
        return " ".join(self.mark(number) for number in sorted(self.sealing_keys))

    def holds(self, mark: str) -> bool:
        """Return whether this ring has the sealing key with this mark."""
        return mark in self.marks.split()

    def seal(self, plain: bytes, associated: bytes, nonce: bytes, number: int | None = None) -> bytes:
        """Encrypt `plain` by AES-256-GCM; return key number (u32), nonce, ciphertext and tag.

        The key is that with the given `number`, which the ring has, by default the newest. `associated` binds the
        result to its place: `open` needs the same. `nonce` is 12 random bytes, never used
        again; random nonces are safe for 2**32 seals a key (NIST SP 800-38D, 8.3).

        Raises:
            ValueError: `nonce` is of another size.
        """
        if len(nonce) != NONCE_SIZE:
            raise ValueError(f"a nonce has {NONCE_SIZE} bytes, not {len(nonce)}")
        number = number or self.newest
        sealed = AESGCM(self.sealing_keys[number]).encrypt(nonce, plain, associated)
        return number.to_bytes(NUMBER_SIZE, "big") + nonce + sealed

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """Decrypt what `seal` returned for the same `associated`.

        Raises:
            ServerError: the ring lacks the key, or the bytes were altered or sealed for another place. Its
                sentence is generic, because peers see it; the field `problem` is for the log.
        """
        number = key_number(sealed)
        key = self.sealing_keys.get(number)
        if key is None:
            raise ServerError(problem=f"sealed with key {number}, which the key ring does not hold")
        nonce = sealed[NUMBER_SIZE : NUMBER_SIZE + NONCE_SIZE]
        try:
            return AESGCM(key).decrypt(nonce, sealed[NUMBER_SIZE + NONCE_SIZE :], associated)
        except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
            raise ServerError(problem="sealed bytes were altered or moved, or the key ring is another's") from None

    def __repr__(self) -> str:
        """Return the number of the newest key, without the keys."""
        return f"KeyRing(sealing key {self.newest}, hidden)"


def number_of(mark: str) -> int:
    """Return the number of the sealing key with this mark."""
    return int(mark.partition(":")[0])


def key_number(sealed: bytes) -> int:
    """Return the number of the key that sealed `sealed`."""
    return int.from_bytes(sealed[:NUMBER_SIZE], "big")
