"""Sign-in: what the client sends before the session, which answers it accepts, and what it checks of them.

How a frame is sent and awaited is left to the shells: `aio/sign_in.py`, `blocking/sign_in.py`. Random bytes are
passed in. Hashing a password (PBKDF2) takes about 0.2 s; the docstrings say where that happens.
"""

from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple, Unpack

from msgspec import UNSET

from antiphon.errors import InvitationRefused, MechanismUnsupported, ProtocolError
from antiphon.identity.invitations import Secret
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS, ClientExchange, make_verifier, mechanism_for
from antiphon.wire.bodies import (
    INVITATIONS,
    REPLACE,
    Authenticate,
    Body,
    Challenge,
    ChallengeAnswer,
    Credential,
    Hello,
    Identified,
    Identify,
    Register,
    Replace,
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
Random = Callable[[int], bytes]
"""Returns so many random bytes, fit for keys: `os.urandom`."""


def at_once(work: Coroutine[Any, Any, Result]) -> Result:
    """Return what a coroutine returns that never waits for an event loop.

    What both clients share is written as coroutines. In the blocking client everything that they await blocks
    until it is done, so that the first step of the coroutine is its last.
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
        ProtocolError: it is of another kind.
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


def make_credential(password: Password, scram: Scram, random: Random) -> Credential:
    """Return what a server keeps instead of the password; takes time.

    Raises:
        ProtocolError: as `check_parameters`, or the server asks for too many rounds of hashing.
        PasswordInvalid: nobody can have this password.
    """
    check_parameters(scram)
    verifier = make_verifier(password, random(scram.salt_length), scram.iterations)
    return Credential(
        salt=verifier.salt,
        iterations=verifier.iterations,
        stored_key=verifier.stored_key,
        server_key=verifier.server_key,
    )


def begin_exchange(
    hello: Hello, binding: bytes | None, name: str, password: Password, random: Random
) -> tuple[str, ClientExchange]:
    """Return the mechanism for a channel with this `binding`, and a new SCRAM exchange.

    Raises:
        MechanismUnsupported: the server offers no mechanism that is accepted on this connection.
        NameInvalid, PasswordInvalid: nobody can have it.
    """
    mechanism = mechanism_for(binding)
    if mechanism not in hello.mechanisms:
        raise MechanismUnsupported(mechanism=mechanism, mechanisms=", ".join(hello.mechanisms))
    nonce = b64encode(random(NONCE_SIZE)).decode()
    return mechanism, ClientExchange(mechanism, name, password, binding, nonce)


class SignInSteps(ABC):
    """The steps of a sign-in on one connection. Precondition: the server's key is trusted."""

    def __init__(
        self, hello: Hello, binding: bytes | None, address: str, random: Random, language: str = "en"
    ) -> None:
        """Speak with the server at `address` that has said `hello`; it answers people in `language`."""
        self._hello = hello
        self._binding = binding
        self._address = address
        self._random = random
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
        """Return the names that the server knows at the client's address, the latest first (`identify`)."""
        body = await self.ask(Kind.IDENTIFY, Identify(language=self._language))
        return expect(body, Identified).known or []

    async def introduce(
        self, name: str | None, *, instead_of: str | None = None, replace: bool = False
    ) -> Welcome:
        """Sign in with a name (access `identify`), or with nothing (`anyone`). The server proves nothing by it.

        `instead_of` is a name that the server knows at the client's address, and that `name` replaces. With
        `replace`, the oldest session of this address ends if there may be no more.

        Raises:
            SessionsFull: there may be no more, and `replace` is not given.
            NameInvalid: nobody can have this name.
            RegistrationClosed: it is new at this address, and the server takes no new names.
            TryLater: too many new names came.
        """
        body = Identify(
            name=name, instead_of=instead_of, language=self._language, replace=self._replacing(replace)
        )
        return expect(await self.ask(Kind.IDENTIFY, body), Welcome)

    async def register(self, name: str, password: Password, invitation: Secret | None = None) -> Identified:
        """Register `name`: make the credential with the server's parameters and send it; takes time.

        Raises:
            NameTaken, RegistrationClosed, InvitationRefused: as the server says.
            ProtocolError: the server asks for parameters that no honest server asks for.
        """
        shown = self._shown(invitation)
        credential = await self.work(make_credential, password, self._hello.scram, self._random)
        body = Register(name=name, credential=credential, invitation=shown, language=self._language)
        return expect(await self.ask(Kind.REGISTER, body), Identified)

    async def authenticate(self, name: str, password: Password, *, replace: bool = False) -> Welcome:
        """Prove to the server that the client knows the password, and have it prove the same; takes time.

        The server's signature is verified before anything else in WELCOME is used. With `replace`, the oldest
        session of the account ends if there may be no more.

        Raises:
            SessionsFull: there may be no more, and `replace` is not given.
            SignInRefused: the name or the password is wrong.
            ServerUnproven: the server's signature is wrong; nothing that it said counts.
            MechanismUnsupported: it offers no mechanism that is accepted on this connection.
            ProtocolError: its challenge would make the password cheap to guess.
        """
        mechanism, exchange = begin_exchange(self._hello, self._binding, name, password, self._random)
        first = Authenticate(
            mechanism=mechanism,
            data=exchange.first(),
            language=self._language,
            replace=self._replacing(replace),
        )
        challenge = expect(await self.ask(Kind.AUTHENTICATE, first), Challenge)
        proof = await self.work(exchange.answer, challenge.data, ITERATIONS)
        welcome = expect(await self.ask(Kind.CHALLENGE, ChallengeAnswer(data=proof)), Welcome)
        exchange.verify(welcome.data or b"", self._address)
        return welcome

    async def resume(self, token: bytes, received: int | None = None) -> Welcome:
        """Resume the session of `token` on this connection; `received` frames of it have come so far.

        Raises:
            SessionEnded: it is over.
        """
        body = Resume(language=self._language, received=received)
        return expect(await self.ask(Kind.RESUME, body, token=token), Welcome)

    def _replacing(self, replace: bool) -> Replace:  # noqa: FBT001 - the field
        """Return the field for a server that offers it; others end the oldest session without being told."""
        return True if replace and REPLACE in self._hello.features else UNSET

    def _shown(self, invitation: Secret | None) -> bytes | None:
        """Return the secret of an invitation, for a server that takes invitations."""
        if invitation is not None and INVITATIONS not in self._hello.features:
            raise InvitationRefused
        return None if invitation is None else bytes(invitation)
