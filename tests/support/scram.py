"""Both sides of SCRAM joined in memory, with 4096 iterations instead of 600,000 to save time."""

import hashlib
import hmac
import random
from base64 import b64encode
from typing import NamedTuple

from antiphon.identity.passwords import Password
from antiphon.identity.scram import (
    LEAST_ITERATIONS,
    SALT_SIZE,
    ClientExchange,
    Verifier,
    make_verifier,
    mechanism_for,
)
from antiphon.identity.scram_server import ServerExchange

PASSWORD = Password("open sesame, please")
SALT = bytes(range(SALT_SIZE))
BINDING = b"hash of the certificate, 32 byte"
ADDRESS = "localhost:7862"
CLIENT_NONCE = b64encode(b"c" * 24).decode()
SERVER_NONCE = b64encode(b"s" * 24).decode()
VERIFIER = make_verifier(PASSWORD, SALT, LEAST_ITERATIONS)


def server(binding: bytes | None = BINDING, nonce: str = SERVER_NONCE) -> ServerExchange:
    return ServerExchange(mechanism_for(binding), binding, nonce)


def client(
    binding: bytes | None = BINDING, *, name: str = "ann", password: Password = PASSWORD, nonce: str = CLIENT_NONCE
) -> ClientExchange:
    return ClientExchange(mechanism_for(binding), name, password, binding, nonce)


class Messages(NamedTuple):
    first: bytes
    challenge: bytes
    proof: bytes
    final: bytes


def exchange(asking: ClientExchange, answering: ServerExchange, verifier: Verifier = VERIFIER) -> Messages:
    first = asking.first()
    answering.name_in(first)
    challenge = answering.challenge(verifier)
    proof = asking.answer(challenge)
    final = answering.verify(proof)
    asking.verify(final, ADDRESS)
    return Messages(first, challenge, proof, final)


MESSAGES = exchange(client(), server())


def challenged(binding: bytes | None = BINDING, nonce: str = SERVER_NONCE) -> ServerExchange:
    """Return a server exchange that waits for the proof."""
    answering = server(binding, nonce)
    answering.name_in(client(binding).first())
    answering.challenge(VERIFIER)
    return answering


SALTED = hashlib.pbkdf2_hmac("sha256", PASSWORD.text.encode(), SALT, LEAST_ITERATIONS)


def signed_by_hand(first_bare: str, challenge: str, without_proof: str) -> str:
    """Return a client's final message with the right proof, over parts that no honest client may have sent."""
    client_key = hmac.digest(SALTED, b"Client Key", "sha256")
    message = f"{first_bare},{challenge},{without_proof}".encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
    proof = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
    return f"{without_proof},p={b64encode(proof).decode()}"


def mutated(first: bytes, proof: bytes, chance: random.Random) -> tuple[bytes, bytes]:
    """Return the messages of a client with one to three bytes of one of them, or of both, changed."""
    which = chance.randrange(3)
    return (
        first if which == 0 else _altered(first, chance),
        proof if which == 1 else _altered(proof, chance),
    )


def _altered(message: bytes, chance: random.Random) -> bytes:
    altered = message
    while altered == message:
        start, cut = chance.randrange(len(message) + 1), chance.randrange(4)
        put_in = chance.choice([b"", chance.randbytes(chance.randrange(1, 4)), b",", b"=", b"A", b",m=1", b",x=y"])
        altered = message[:start] + put_in + message[start + cut :]
    return altered
