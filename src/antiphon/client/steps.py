"""The steps of the client's way in, without I/O: what is sent, what may answer it, what must be true of that.

`signin.py` takes them in asyncio, `blocking.py` without. What costs time (PBKDF2, a fifth of a second) says so.
"""

import secrets
from base64 import b64encode
from typing import TypeVar

from antiphon.errors import MechanismUnsupported, ProtocolError
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS, ClientExchange, make_verifier, mechanism_for
from antiphon.wire.bodies import Authenticate, Body, Challenge, ChallengeAnswer, Credential, Hello, Scram, Welcome

NONCE_SIZE = 24
"""Bytes of the client's nonce: 192 bits."""
LEAST_SALT, MOST_SALT = 16, 64
"""Bytes of salt that an honest server may ask for."""

Expected = TypeVar("Expected", bound=Body)


def expect(body: Body, kind: type[Expected]) -> Expected:
    """Return `body`, which must be of this kind.

    Raises:
        ProtocolError: it is of another.
    """
    if not isinstance(body, kind):
        raise ProtocolError(problem=f"{type(body).__name__} came where {kind.__name__} was due")
    return body


def check_parameters(scram: Scram) -> None:
    """Check what a server's HELLO asks of new credentials.

    Raises:
        ProtocolError: no honest server asks for that.
    """
    if not (LEAST_SALT <= scram.salt_length <= MOST_SALT and scram.iterations >= ITERATIONS):
        problem = f"a salt of {scram.salt_length} bytes and {scram.iterations} rounds of hashing"
        raise ProtocolError(problem=problem)


def make_credential(password: Password, scram: Scram) -> Credential:
    """Return what a server is to keep instead of the password; takes time.

    Raises:
        ProtocolError: as `check_parameters`, or more rounds of hashing than are bearable.
        PasswordInvalid: nobody can have this password.
    """
    check_parameters(scram)
    verifier = make_verifier(password, secrets.token_bytes(scram.salt_length), scram.iterations)
    return Credential(
        salt=verifier.salt,
        iterations=verifier.iterations,
        stored_key=verifier.stored_key,
        server_key=verifier.server_key,
    )


def begin_exchange(
    hello: Hello, binding: bytes | None, name: str, password: Password
) -> tuple[str, ClientExchange]:
    """Return the mechanism that belongs to a channel with this `binding`, and a fresh exchange that proves by it.

    Raises:
        MechanismUnsupported: the server that said `hello` offers nothing that we accept on this connection.
        NameInvalid, PasswordInvalid: nobody can have it.
    """
    mechanism = mechanism_for(binding)
    if mechanism not in hello.mechanisms:
        raise MechanismUnsupported(mechanism=mechanism, mechanisms=", ".join(hello.mechanisms))
    nonce = b64encode(secrets.token_bytes(NONCE_SIZE)).decode()
    return mechanism, ClientExchange(mechanism, name, password, binding, nonce)


class Authentication:
    """One proof of a password: `first` for AUTHENTICATE, `proof` for CHALLENGE, then `proven`, each once."""

    def __init__(
        self, hello: Hello, binding: bytes | None, name: str, password: Password, language: str = "en"
    ) -> None:
        """Begin with a server that has said `hello` on a channel with this `binding`.

        Raises:
            MechanismUnsupported, NameInvalid, PasswordInvalid: as `begin_exchange`.
        """
        self._mechanism, self._exchange = begin_exchange(hello, binding, name, password)
        self._language = language

    def first(self) -> Authenticate:
        """Return what begins the exchange."""
        return Authenticate(mechanism=self._mechanism, data=self._exchange.first(), language=self._language)

    def proof(self, answer: Body) -> ChallengeAnswer:
        """Return the proof that `answer` to the first step asks for; takes time.

        Raises:
            ProtocolError: it is no challenge, or one for a proof that would be cheap to guess from.
        """
        challenge = expect(answer, Challenge)
        return ChallengeAnswer(data=self._exchange.answer(challenge.data, ITERATIONS))

    def proven(self, answer: Body, address: str) -> Welcome:
        """Return the WELCOME that answers the proof, once the server at `address` has proved itself by it.

        Raises:
            ServerUnproven: its signature is wrong; nothing it said counts.
        """
        welcome = expect(answer, Welcome)
        self._exchange.verify(welcome.data or b"", address)
        return welcome
