"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, 5929, 7677): verifiers, and the client's side on top of scramp.

scramp follows the RFCs but trusts its input. This module limits the size of every message before it is parsed, and
turns every failure into one error. The caller passes nonces in. The server's side is `scram_server`.
"""

import hmac
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Self

import msgspec

from antiphon.errors import (
    CredentialRefused,
    MechanismUnsupported,
    Problem,
    ProtocolError,
    ServerError,
    ServerUnproven,
)
from antiphon.identity.names import prepare
from antiphon.identity.passwords import Password, saslprepared
from antiphon.language import N_

SCRAM_SHA_256 = "SCRAM-SHA-256"
"""The mechanism on plain TCP."""
SCRAM_SHA_256_PLUS = "SCRAM-SHA-256-PLUS"
"""The mechanism over TLS, bound to the server's certificate."""

ITERATIONS = 600_000
"""Rounds of PBKDF2-HMAC-SHA-256 (OWASP Password Storage; promise 3): 0.2 s of the client's time."""
LEAST_ITERATIONS = 4096
"""A client refuses fewer (RFC 7677, 4)."""
MOST_ITERATIONS = 1_000_000
"""A client refuses more, so that a server cannot keep it busy."""
SALT_SIZE = 32
"""Bytes of the salt of a password (promise 3)."""
KEY_SIZE = 32
"""Bytes of StoredKey and ServerKey: the output of SHA-256."""
MESSAGE_LIMIT = 1024
"""Bytes of one message (promise 10)."""
LEAST_NONCE = 20
"""Characters of each side's part of the nonce, at least: 15 random bytes in base64, as in the example of RFC 7677.
A nonce that can occur twice would let a proof be used again."""

BINDING_TYPE = "tls-server-end-point"  # tls-unique is undefined in TLS 1.3

_TOO_MANY_ITERATIONS = Problem(
    N_("the server asks for {iterations} rounds of hashing; this client does at most {most}")
)
_TOO_FEW_ITERATIONS = Problem(
    N_("the server asks for {iterations} rounds of hashing; this client does at least {least}")
)
_CHALLENGE_UNREADABLE = Problem(N_("the server's challenge cannot be read"))
_NONCE_TOO_SHORT = Problem(N_("the server's nonce has {size} characters; this client takes {least} or more"))


@dataclass(frozen=True, slots=True)
class Verifier:
    """What a server stores of a password (RFC 5802, 3): enough to check a proof, too little to make one."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    def encode(self) -> bytes:
        """Return the verifier as bytes (MessagePack), to be sealed."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the verifier that `encode` wrote.

        Raises:
            ServerError: `data` is not a verifier.
        """
        try:
            return msgspec.msgpack.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeError):
            raise ServerError(problem="a stored verifier cannot be read") from None

    def __repr__(self) -> str:
        """Return the name of the type, without the keys."""
        return "Verifier(hidden)"


def mechanism_for(binding: bytes | None) -> str:
    """Return the mechanism of a connection with this channel binding; None means plain TCP."""
    return SCRAM_SHA_256 if binding is None else SCRAM_SHA_256_PLUS


def make_verifier(password: Password, salt: bytes, iterations: int) -> Verifier:
    """Make the verifier of a new password on the client; it takes 0.2 s, so do not call it in an event loop.

    `salt` is `SALT_SIZE` random bytes (RFC 7677 uses no fewer than 12), `iterations` is what the server asks for.

    Raises:
        PasswordInvalid: SCRAM cannot use the password.
        ProtocolError: `iterations` is below `LEAST_ITERATIONS` or above `MOST_ITERATIONS`.
    """
    _check_iterations(iterations)
    from scramp import ScramMechanism  # noqa: PLC0415 - it takes a fifth of the client's import time

    saslprepared(password.text)
    _, stored_key, server_key, _ = ScramMechanism(SCRAM_SHA_256).make_auth_info(
        password.text, iteration_count=iterations, salt=salt
    )
    return Verifier(salt, iterations, stored_key, server_key)


def check_parameters(verifier: Verifier) -> None:
    """Check that a verifier from a client has this server's parameters (promise 3).

    Raises:
        CredentialRefused: the number of iterations, or the size of the salt or of a key, differs.
    """
    sizes = (len(verifier.salt), verifier.iterations, len(verifier.stored_key), len(verifier.server_key))
    if sizes != (SALT_SIZE, ITERATIONS, KEY_SIZE, KEY_SIZE):
        raise CredentialRefused


def mock_verifier(name_key: str, mock_key: bytes) -> Verifier:
    """Return the verifier for a name without an account: always the same, and no proof matches it (promise 5).

    `name_key` is the key of the name, or the claimed text if it is not a valid name; `mock_key` is the key ring's.
    """
    name = name_key.encode()
    salt, stored_key, server_key = (
        hmac.digest(mock_key, label + b"\0" + name, "sha256") for label in (b"salt", b"stored key", b"server key")
    )
    return Verifier(salt, ITERATIONS, stored_key, server_key)


class ClientExchange:
    """The client's side of one SCRAM exchange. Call `first`, `answer` and `verify` in this order, each once."""

    def __init__(self, mechanism: str, name: str, password: Password, binding: bytes | None, nonce: str) -> None:
        """Begin with a `mechanism` that the server offers.

        `binding` is the channel binding of this connection (RFC 5929, 4), None on plain TCP; `nonce` is 18 or more
        random bytes in base64, never used before.

        Raises:
            MechanismUnsupported: this kind of connection needs the other mechanism.
            NameInvalid: `name` is not a valid name.
            PasswordInvalid: SCRAM cannot use the password.
        """
        from scramp import ScramClient  # noqa: PLC0415 - see `make_verifier`

        check_mechanism(mechanism, binding)
        saslprepared(password.text)
        self._client = ScramClient(
            [mechanism],
            prepare(name).display,
            password.text,
            channel_binding=_channel(binding),
            c_nonce=nonce,
        )

    def first(self) -> bytes:
        """Return the client's first message: the kind of channel binding, the name and the nonce."""
        return str(self._client.get_client_first()).encode()

    def answer(self, challenge: bytes, least: int = LEAST_ITERATIONS) -> bytes:
        """Return the client's final message, the proof; PBKDF2 takes 0.2 s, so do not call it in an event loop.

        A proof of fewer than `least` iterations makes guessing the password cheap, and the server is not trusted
        yet: the client gives none.

        Raises:
            ProtocolError: the challenge breaks RFC 5802, asks for fewer than `least` iterations or more than
                `MOST_ITERATIONS`, or adds fewer than `LEAST_NONCE` characters to the nonce.
        """
        try:
            self._client.set_server_first(text_of(challenge))
        except Exception:  # noqa: BLE001 - on hostile input scramp raises undocumented exceptions
            raise ProtocolError(problem=_CHALLENGE_UNREADABLE) from None
        _check_iterations(int(self._client.iterations), least)
        added = len(self._client.nonce) - len(self._client.c_nonce)
        if added < LEAST_NONCE:
            raise ProtocolError(problem=_NONCE_TOO_SHORT, size=added, least=LEAST_NONCE)
        return str(self._client.get_client_final()).encode()

    def verify(self, server_final: bytes, address: str) -> None:
        """Check the server's proof that it knows the account; do not trust the server before.

        `address` is the server's, for the error.

        Raises:
            ServerUnproven: the server's signature is wrong or missing, or came before the client's proof.
        """
        try:
            text = text_of(server_final)
            self._client.set_server_final(text)
            check_base64(text.removeprefix("v="))
        except Exception:  # noqa: BLE001 - on hostile input scramp raises undocumented exceptions
            raise ServerUnproven(address=address) from None


def check_mechanism(mechanism: str, binding: bytes | None) -> None:
    """Check that a mechanism is the one of a connection with this channel binding.

    Raises:
        MechanismUnsupported: it is the other one, or none of the two.
    """
    if mechanism != mechanism_for(binding):
        raise MechanismUnsupported(mechanism=mechanism, mechanisms=mechanism_for(binding))


def _check_iterations(iterations: int, least: int = LEAST_ITERATIONS) -> None:
    if iterations < least:
        raise ProtocolError(problem=_TOO_FEW_ITERATIONS, iterations=iterations, least=least)
    if iterations > MOST_ITERATIONS:
        raise ProtocolError(problem=_TOO_MANY_ITERATIONS, iterations=iterations, most=MOST_ITERATIONS)


def _channel(binding: bytes | None) -> tuple[str, bytes] | None:
    """Return a channel binding in the form that scramp takes."""
    return None if binding is None else (BINDING_TYPE, binding)


def check_base64(text: str) -> None:
    """Check that `text` is canonical base64: decoders ignore spare bits, so a proof would have several spellings.

    Raises:
        ValueError: it is not.
    """
    if b64encode(b64decode(text)).decode() != text:
        raise ValueError("not canonical base64")


def text_of(message: bytes) -> str:
    """Return the text of a message from the peer.

    Raises:
        ValueError: it is over `MESSAGE_LIMIT`, or not UTF-8.
    """
    if len(message) > MESSAGE_LIMIT:
        raise ValueError("over the limit")
    return message.decode("utf-8")
