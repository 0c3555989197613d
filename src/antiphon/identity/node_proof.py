"""Node proof: two processes of different nodes prove to each other that they hold the same key ring.

The listener sends a challenge, the dialer answers with its proof, and the listener confirms with its own. Each
proof is an HMAC over everything both have said, over who is who, and over the certificate of the TLS channel: so
it is worth nothing on another channel, in the other direction, or a second time.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from struct import Struct
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from antiphon.identity.keys import KEY_SIZE, KeyRing

PROOF_VERSION: Final = 1
NONCE_SIZE: Final = 32
ID_SIZE: Final = 8
"""Bytes of the id of a process."""
PROOF_SIZE: Final = 32
KEYS_MOST: Final = 16
"""Most keys that a challenge names: the newest. A ring has one or two."""
_LABEL: Final = b"antiphon node proof 1"
_CHALLENGE = Struct(f">BB{ID_SIZE}s{NONCE_SIZE}s")
"""version, how many keys follow, the listener's id, its nonce"""
_NUMBER = Struct(">I")
_ANSWER = Struct(f">B{ID_SIZE}s{NONCE_SIZE}sI{PROOF_SIZE}s")
"""version, the dialer's id, its nonce, number of the key, proof"""
CHALLENGE_MOST: Final = _CHALLENGE.size + KEYS_MOST * _NUMBER.size
ANSWER_SIZE: Final = _ANSWER.size


def proof_keys(ring: KeyRing) -> dict[int, bytes]:
    """Return a key for proofs from each sealing key of a ring, by its number.

    So a ring that a thief has copied proves nothing any more once its keys have been replaced and forgotten.
    """
    return {number: _derived(ring.token_key + key) for number, key in ring.sealing_keys.items()}


def _derived(secret: bytes) -> bytes:
    return HKDF(hashes.SHA256(), KEY_SIZE, salt=None, info=_LABEL).derive(secret)


@dataclass(frozen=True)
class Challenge:
    """First words of the listener."""

    listener: bytes
    nonce: bytes
    numbers: tuple[int, ...]
    """of the keys that may prove, the newest first"""

    @classmethod
    def of(cls, listener: bytes, nonce: bytes, keys: Mapping[int, object]) -> "Challenge":
        """Return a challenge that names the newest of `keys`."""
        return cls(listener, nonce, tuple(sorted(keys, reverse=True)[:KEYS_MOST]))

    def encode(self) -> bytes:
        """Return it as it is sent."""
        head = _CHALLENGE.pack(PROOF_VERSION, len(self.numbers), self.listener, self.nonce)
        return head + b"".join(map(_NUMBER.pack, self.numbers))

    @classmethod
    def decode(cls, data: bytes) -> "tuple[Challenge, int] | None":
        """Return the challenge that `data` begins with, and its size; None if more bytes are needed.

        Raises:
            ValueError: it is none.
        """
        if data and data[0] != PROOF_VERSION:
            raise ValueError("a challenge of another version")
        if len(data) > 1 and not 0 < data[1] <= KEYS_MOST:
            raise ValueError("a challenge for no key, or for too many")
        size = _CHALLENGE.size + (data[1] if len(data) > 1 else 0) * _NUMBER.size
        if len(data) < size:
            return None
        _, _, listener, nonce = _CHALLENGE.unpack_from(data)
        numbers = tuple(number for (number,) in _NUMBER.iter_unpack(data[_CHALLENGE.size : size]))
        return cls(listener, nonce, numbers), size


@dataclass(frozen=True)
class Answer:
    """Words of the dialer to a challenge."""

    dialer: bytes
    nonce: bytes
    number: int
    """of the key that proves"""
    proof: bytes

    def encode(self) -> bytes:
        """Return it as it is sent."""
        return _ANSWER.pack(PROOF_VERSION, self.dialer, self.nonce, self.number, self.proof)

    @classmethod
    def decode(cls, data: bytes) -> "Answer":
        """Return the answer in `data`, which has `ANSWER_SIZE` bytes.

        Raises:
            ValueError: it is none.
        """
        version, dialer, nonce, number, proof = _ANSWER.unpack(data)
        if version != PROOF_VERSION:
            raise ValueError("an answer of another version")
        return cls(dialer, nonce, number, proof)


def answer(
    challenge: Challenge, keys: Mapping[int, bytes], dialer: bytes, nonce: bytes, certificate: bytes
) -> Answer | None:
    """Return the dialer's answer with the newest key that both have; None if there is none.

    `certificate` is the SHA-256 of the one that the listener has shown on this channel.
    """
    number = max((each for each in challenge.numbers if each in keys), default=None)
    if number is None:
        return None
    said = Answer(dialer, nonce, number, b"")
    return replace(said, proof=_proof(b"dialer", challenge, said, keys, certificate))


def is_proved(challenge: Challenge, said: Answer, keys: Mapping[int, bytes], certificate: bytes) -> bool:
    """Return whether an answer proves that the dialer has a key that the challenge names. In constant time."""
    if said.number not in challenge.numbers or said.number not in keys:
        return False
    return hmac.compare_digest(_proof(b"dialer", challenge, said, keys, certificate), said.proof)


def confirmation(challenge: Challenge, said: Answer, keys: Mapping[int, bytes], certificate: bytes) -> bytes:
    """Return the listener's proof, to an answer that has proved."""
    return _proof(b"listener", challenge, said, keys, certificate)


def is_confirmed(
    challenge: Challenge, said: Answer, keys: Mapping[int, bytes], certificate: bytes, proof: bytes
) -> bool:
    """Return whether the listener has the key of the answer, too. In constant time."""
    return hmac.compare_digest(confirmation(challenge, said, keys, certificate), proof)


def _proof(
    role: bytes, challenge: Challenge, said: Answer, keys: Mapping[int, bytes], certificate: bytes
) -> bytes:
    """Return the HMAC; every part but the role, which is the last, has a fixed size or says it."""
    parts = (challenge.encode(), said.dialer, said.nonce, _NUMBER.pack(said.number), certificate, role)
    return hmac.digest(keys[said.number], b"".join(parts), "sha256")
