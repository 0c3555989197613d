"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, 5929, 7677), both sides, around scramp.

scramp follows the RFCs but trusts its input: here every message is capped before it is read, accounts are looked
up by the caller between two steps, and whatever goes wrong is one error. Nonces come from the caller.
"""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import msgspec

from antiphon.errors import (
    CredentialRefused,
    MechanismUnsupported,
    Problem,
    ProtocolError,
    ServerError,
    ServerUnproven,
    SignInRefused,
)
from antiphon.identity.names import LONGEST as LONGEST_NAME
from antiphon.identity.names import prepare
from antiphon.identity.passwords import Password, saslprepared
from antiphon.language import N_

SCRAM_SHA_256 = "SCRAM-SHA-256"
"""The mechanism where there is no TLS."""
SCRAM_SHA_256_PLUS = "SCRAM-SHA-256-PLUS"
"""The mechanism over TLS, bound to the server's certificate."""

ITERATIONS = 600_000
"""Of PBKDF2-HMAC-SHA-256 (OWASP Password Storage; promise 3): 0.2 s of the client's time."""
LEAST_ITERATIONS = 4096
"""RFC 7677, 4: a client does not do with less."""
MOST_ITERATIONS = 1_000_000
"""A client does no more, whatever a server asks for."""
SALT_SIZE = 32
"""Bytes of the salt of a password (promise 3)."""
KEY_SIZE = 32
"""Bytes of StoredKey and ServerKey: the output of SHA-256."""
MESSAGE_LIMIT = 1024
"""Bytes of one message (promise 10)."""

_BINDING_TYPE = "tls-server-end-point"  # tls-unique is undefined in TLS 1.3

_TOO_MANY_ITERATIONS = Problem(
    N_("the server asks for {iterations} rounds of hashing; this client does at most {most}")
)
_TOO_FEW_ITERATIONS = Problem(
    N_("the server asks for {iterations} rounds of hashing; this client does at least {least}")
)
_CHALLENGE_UNREADABLE = Problem(N_("the server's challenge cannot be read"))


@dataclass(frozen=True, slots=True)
class Verifier:
    """What a server keeps of a password (RFC 5802, 3): enough to check a proof, too little to make one."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    def encode(self) -> bytes:
        """Return the verifier as bytes, to be sealed."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the verifier that `encode` wrote.

        Raises:
            ServerError: it is not one.
        """
        try:
            return msgspec.msgpack.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeError):
            raise ServerError(problem="a stored verifier cannot be read") from None

    def __repr__(self) -> str:
        """Hide the keys."""
        return "Verifier(hidden)"


class _Step(IntEnum):
    """What is due in a server's exchange."""

    FIRST = 0
    CHALLENGE = 1
    FINAL = 2
    OVER = 3


def mechanism_for(binding: bytes | None) -> str:
    """Return the one mechanism that is used on a connection with this channel binding; None is plain TCP."""
    return SCRAM_SHA_256 if binding is None else SCRAM_SHA_256_PLUS


def make_verifier(password: Password, salt: bytes, iterations: int) -> Verifier:
    """Return the verifier of a new password, as the client makes it; 0.2 s, so keep it out of an event loop.

    `salt` is random (`SALT_SIZE` bytes; RFC 7677 knows none under 12), `iterations` is what the server asks for.

    Raises:
        PasswordInvalid: SCRAM cannot use the password.
        ProtocolError: the server asks for fewer iterations than are safe, or for more than are bearable.
    """
    _check_iterations(iterations)
    from scramp import ScramMechanism  # noqa: PLC0415 - it costs a client a fifth of its import, used or not

    saslprepared(password.text)
    _, stored_key, server_key, _ = ScramMechanism(SCRAM_SHA_256).make_auth_info(
        password.text, iteration_count=iterations, salt=salt
    )
    return Verifier(salt, iterations, stored_key, server_key)


def check_parameters(verifier: Verifier) -> None:
    """Check that a verifier which a client made has this server's parameters (promise 3).

    Raises:
        CredentialRefused: salt, iterations or keys are of another size.
    """
    sizes = (len(verifier.salt), verifier.iterations, len(verifier.stored_key), len(verifier.server_key))
    if sizes != (SALT_SIZE, ITERATIONS, KEY_SIZE, KEY_SIZE):
        raise CredentialRefused


def mock_verifier(name_key: str, mock_key: bytes) -> Verifier:
    """Return the verifier of a name that nobody has: always the same one, and no proof fits it (promise 5).

    `name_key` is a name's key, or what was claimed when it is no name; `mock_key` is the key ring's.
    """
    name = name_key.encode()
    salt, stored_key, server_key = (
        hmac.digest(mock_key, label + b"\0" + name, "sha256") for label in (b"salt", b"stored key", b"server key")
    )
    return Verifier(salt, ITERATIONS, stored_key, server_key)


class ServerExchange:
    """The server's side of one sign-in: `name_in`, then `challenge`, then `verify`, each once.

    After a refusal the exchange is over: every further step is refused.
    """

    def __init__(self, mechanism: str, binding: bytes | None, nonce: str) -> None:
        """Begin with the `mechanism` that the client has chosen.

        `binding` is the hash of the certificate that this connection was served with (RFC 5929, 4), None on plain
        TCP; `nonce` is 18 or more random bytes in base64, never used before.

        Raises:
            MechanismUnsupported: another mechanism belongs to this kind of connection.
        """
        from scramp import ScramMechanism  # noqa: PLC0415 - as in `make_verifier`

        _check_mechanism(mechanism, binding)
        self._mechanism = ScramMechanism(mechanism)
        self._binding = binding
        self._nonce = nonce
        self._next = _Step.FIRST
        self._client_first = ""

    def name_in(self, client_first: bytes) -> str:
        """Return the name that the client's first message claims, as sent; `names.prepare` it.

        Raises:
            SignInRefused: the message cannot be a first one; over 1024 bytes it is not even read.
        """
        with self._step(_Step.FIRST):
            self._client_first = _text(client_first)
            _flag, _authzid, claim, _rest = self._client_first.split(",", 3)
            if not claim.startswith("n="):
                raise ValueError("no name where the name belongs")
            name = claim[2:].replace("=2C", ",").replace("=3D", "=")
            if len(name) > LONGEST_NAME:
                raise ValueError("nobody has such a name, and to prepare it would cost milliseconds")
            return name

    def challenge(self, verifier: Verifier) -> bytes:
        """Return the server's first message, for the account with this `verifier`, or a mock one.

        Raises:
            SignInRefused: the client's first message breaks a rule of RFC 5802, or over TLS it is not bound to
                the channel (`n`, `y`).
        """
        with self._step(_Step.CHALLENGE):
            keys = (verifier.salt, verifier.stored_key, verifier.server_key, verifier.iterations)
            self._server = self._mechanism.make_server(
                lambda _name: keys, channel_binding=_channel(self._binding), s_nonce=self._nonce
            )
            self._server.set_client_first(self._client_first)
            return str(self._server.get_server_first()).encode()

    def verify(self, client_final: bytes) -> bytes:
        """Return the server's final message, which proves to the client that the server knows the account.

        Raises:
            SignInRefused: the proof is not that of the verifier's password, or anything else is wrong.
        """
        with self._step(_Step.FINAL):
            text = _text(client_final)
            self._server.set_client_final(text)
            _check_base64(text.rpartition(",p=")[2])
            return str(self._server.get_server_final()).encode()

    @contextmanager
    def _step(self, step: _Step) -> Iterator[None]:
        due, self._next = self._next, _Step.OVER
        if due != step:
            raise SignInRefused
        try:
            yield
        except Exception:  # noqa: BLE001 - hostile input makes scramp raise what it does not document
            raise SignInRefused from None
        self._next = _Step(step + 1)


class ClientExchange:
    """The client's side of one sign-in: `first`, then `answer`, then `verify`, each once."""

    def __init__(self, mechanism: str, name: str, password: Password, binding: bytes | None, nonce: str) -> None:
        """Begin with a `mechanism` that the server offers.

        `binding` is the hash of the certificate that the server showed (RFC 5929, 4), None on plain TCP;
        `nonce` is 18 or more random bytes in base64, never used before.

        Raises:
            MechanismUnsupported: another mechanism belongs to this kind of connection.
            NameInvalid, PasswordInvalid: nobody can have it.
        """
        from scramp import ScramClient  # noqa: PLC0415 - as in `make_verifier`

        _check_mechanism(mechanism, binding)
        saslprepared(password.text)
        self._client = ScramClient(
            [mechanism],
            prepare(name).display,
            password.text,
            channel_binding=_channel(binding),
            c_nonce=nonce,
        )

    def first(self) -> bytes:
        """Return the client's first message: the name and how the exchange is bound to the channel."""
        return str(self._client.get_client_first()).encode()

    def answer(self, challenge: bytes, least: int = LEAST_ITERATIONS) -> bytes:
        """Return the client's final message, the proof; 0.2 s of PBKDF2, so keep it out of an event loop.

        Below `least` iterations no proof is given: it would be cheap to guess from, and a server that is not
        trusted yet may ask for one.

        Raises:
            ProtocolError: the challenge breaks RFC 5802, or asks for too few or too many iterations.
        """
        try:
            self._client.set_server_first(_text(challenge))
        except Exception:  # noqa: BLE001 - hostile input makes scramp raise what it does not document
            raise ProtocolError(problem=_CHALLENGE_UNREADABLE) from None
        _check_iterations(int(self._client.iterations), least)
        return str(self._client.get_client_final()).encode()

    def verify(self, server_final: bytes, address: str) -> None:
        """Check that the server knows the account too; until then nothing that it says is to be believed.

        `address` is the server's, for the error.

        Raises:
            ServerUnproven: its signature is wrong or missing, or it came before the proof.
        """
        try:
            text = _text(server_final)
            self._client.set_server_final(text)
            _check_base64(text.removeprefix("v="))
        except Exception:  # noqa: BLE001 - hostile input makes scramp raise what it does not document
            raise ServerUnproven(address=address) from None


def _check_mechanism(mechanism: str, binding: bytes | None) -> None:
    if mechanism != mechanism_for(binding):
        raise MechanismUnsupported(mechanism=mechanism, mechanisms=mechanism_for(binding))


def _check_iterations(iterations: int, least: int = LEAST_ITERATIONS) -> None:
    if iterations < least:
        raise ProtocolError(problem=_TOO_FEW_ITERATIONS, iterations=iterations, least=least)
    if iterations > MOST_ITERATIONS:
        raise ProtocolError(problem=_TOO_MANY_ITERATIONS, iterations=iterations, most=MOST_ITERATIONS)


def _channel(binding: bytes | None) -> tuple[str, bytes] | None:
    """Return a channel binding as scramp takes it."""
    return None if binding is None else (_BINDING_TYPE, binding)


def _check_base64(text: str) -> None:
    """Check that nothing but the one right spelling is taken; base64 has bits to spare that decoders pass over."""
    if b64encode(b64decode(text)).decode() != text:
        raise ValueError("not canonical base64")


def _text(message: bytes) -> str:
    if len(message) > MESSAGE_LIMIT:
        raise ValueError("over the limit")
    return message.decode("utf-8")
