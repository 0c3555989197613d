"""The steps of the client's way in: what is sent, what may answer it, what must be true of that.

How something is asked is left open (`Steps`): `signin.py` does it in asyncio, `blocking_entry.py` without.
What costs time (PBKDF2, a fifth of a second) says so.
"""

import secrets
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple, Unpack

from antiphon.errors import InvitationRefused, MechanismUnsupported, ProtocolError
from antiphon.identity.invitations import Secret
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS, ClientExchange, make_verifier, mechanism_for
from antiphon.wire.bodies import (
    INVITATIONS,
    Authenticate,
    Body,
    Challenge,
    ChallengeAnswer,
    Credential,
    Hello,
    Identified,
    Identify,
    Register,
    Resume,
    Scram,
    Welcome,
)
from antiphon.wire.kinds import Kind

NONCE_SIZE = 24
"""Bytes of the client's nonce: 192 bits."""
LEAST_SALT, MOST_SALT = 16, 64
"""Bytes of salt that an honest server may ask for."""

Expected = TypeVar("Expected", bound=Body)
Result = TypeVar("Result")
Given = TypeVarTuple("Given")


def at_once(work: Coroutine[Any, Any, Result]) -> Result:
    """Return what `work` returns, which is written for both clients and here never has to wait.

    All that it awaits blocks until it is done, so that its first step is its last: there is no event loop.
    """
    try:
        work.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise AssertionError("something waited for an event loop")


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


class Steps(ABC):
    """The way in on one connection, whose key is trusted by now."""

    def __init__(self, hello: Hello, binding: bytes | None, address: str, language: str = "en") -> None:
        """Speak with the server at `address` that has said `hello`; it answers people in `language`."""
        self._hello = hello
        self._binding = binding
        self._address = address
        self._language = language

    @abstractmethod
    async def ask(self, kind: Kind, body: Body, *, token: bytes = b"") -> Body:
        """Send a control frame and return the body of its answer; RESUME takes a token."""

    @abstractmethod
    async def work(self, task: Callable[[Unpack[Given]], Result], *given: *Given) -> Result:
        """Return what `task` returns, which takes time."""

    async def identify(self, name: str, invitation: Secret | None = None) -> Identified:
        """Return how the server spells `name` and whether it is free.

        Raises:
            NameInvalid: nobody can have this name.
            InvitationRefused: the invitation does not let it register.
        """
        body = Identify(name=name, invitation=self._shown(invitation), language=self._language)
        return expect(await self.ask(Kind.IDENTIFY, body), Identified)

    async def known(self) -> list[str]:
        """Return the names that the server knows at our address, the one that came last first (`identify`)."""
        body = await self.ask(Kind.IDENTIFY, Identify(language=self._language))
        return expect(body, Identified).known or []

    async def introduce(self, name: str | None, *, instead_of: str | None = None) -> Welcome:
        """Come in by giving a name (`identify`), or none (`anyone`); the server proves nothing by letting us in.

        `instead_of` is a name that it knows at our address and that was wrong: `name` replaces it there.

        Raises:
            NameInvalid: nobody can have this name.
            RegistrationClosed: it is new at our address, and new names are not taken.
            TryLater: too many new names have come.
        """
        body = Identify(name=name, instead_of=instead_of, language=self._language)
        return expect(await self.ask(Kind.IDENTIFY, body), Welcome)

    async def register(self, name: str, password: Password, invitation: Secret | None = None) -> Identified:
        """Become known as `name`: make the verifier with the server's parameters and have it kept.

        Raises:
            NameTaken, RegistrationClosed, InvitationRefused: as the server says.
            ProtocolError: the server asks for a salt that no honest one asks for.
        """
        shown = self._shown(invitation)
        credential = await self.work(make_credential, password, self._hello.scram)
        body = Register(name=name, credential=credential, invitation=shown, language=self._language)
        return expect(await self.ask(Kind.REGISTER, body), Identified)

    async def authenticate(self, name: str, password: Password) -> Welcome:
        """Prove to know the password of `name`, and have the server prove that it knows the account.

        Raises:
            SignInRefused: the name or the password is wrong.
            ServerUnproven: the server's signature is wrong; nothing it said counts.
            MechanismUnsupported: it offers nothing that we accept on this connection.
        """
        proving = Authentication(self._hello, self._binding, name, password, self._language)
        challenge = await self.ask(Kind.AUTHENTICATE, proving.first())
        proof = await self.work(proving.proof, challenge)
        return proving.proven(await self.ask(Kind.CHALLENGE, proof), self._address)

    async def resume(self, token: bytes, received: int | None = None) -> Welcome:
        """Take up the session of `token` on this connection; `received` frames of it have come so far.

        Raises:
            SessionEnded: it is over.
        """
        body = Resume(language=self._language, received=received)
        return expect(await self.ask(Kind.RESUME, body, token=token), Welcome)

    def _shown(self, invitation: Secret | None) -> bytes | None:
        """Return an invitation for a server that knows what it is."""
        if invitation is not None and INVITATIONS not in self._hello.features:
            raise InvitationRefused
        return None if invitation is None else bytes(invitation)
