"""Both sides of SCRAM joined in memory, with 4096 iterations instead of 600,000 to save time."""

import random
from base64 import b64encode
from typing import NamedTuple

from antiphon.identity.passwords import Password
from antiphon.identity.scram import (
    LEAST_ITERATIONS,
    SALT_SIZE,
    ClientExchange,
    ServerExchange,
    Verifier,
    make_verifier,
    mechanism_for,
)

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
