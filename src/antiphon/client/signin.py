"""The client's way in: identify, register, prove, resume. The password stays on this side.

What costs time (PBKDF2, a fifth of a second) runs on a thread, so that the event loop goes on.
"""

import asyncio

from antiphon.client.connection import ClientConnection
from antiphon.client.dial import Dialled
from antiphon.client.steps import Authentication, expect, make_credential
from antiphon.client.trust import Standing
from antiphon.errors import InvitationRefused, TimedOut
from antiphon.identity.invitations import Secret
from antiphon.identity.passwords import Password
from antiphon.wire.bodies import INVITATIONS, Body, Identified, Identify, Register, Resume, Welcome
from antiphon.wire.kinds import Kind


class SignIn:
    """The way in on one connection, whose key is trusted by now."""

    def __init__(self, connection: ClientConnection, language: str = "en", timeout: float = 10.0) -> None:
        """Speak on `connection`; the server answers people in `language`, each step within `timeout` seconds."""
        self._connection = connection
        self._language = language
        self._timeout = timeout

    async def identify(self, name: str, invitation: Secret | None = None) -> Identified:
        """Return how the server spells `name` and whether it is free.

        Raises:
            NameInvalid: nobody can have this name.
            InvitationRefused: the invitation does not let it register.
        """
        await self._check_taken(invitation)
        shown = None if invitation is None else bytes(invitation)
        body = Identify(name=name, invitation=shown, language=self._language)
        return expect(await self._ask(Kind.IDENTIFY, body), Identified)

    async def known(self) -> list[str]:
        """Return the names that the server knows at our address, the one that came last first (`identify`)."""
        body = await self._ask(Kind.IDENTIFY, Identify(language=self._language))
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
        return expect(await self._ask(Kind.IDENTIFY, body), Welcome)

    async def register(self, name: str, password: Password, invitation: Secret | None = None) -> Identified:
        """Become known as `name`: make the verifier with the server's parameters and have it kept.

        Raises:
            NameTaken, RegistrationClosed, InvitationRefused: as the server says.
            ProtocolError: the server asks for a salt that no honest one asks for.
        """
        await self._check_taken(invitation)
        scram = (await self._connection.hello()).scram
        credential = await asyncio.to_thread(make_credential, password, scram)
        shown = None if invitation is None else bytes(invitation)
        body = Register(name=name, credential=credential, invitation=shown, language=self._language)
        return expect(await self._ask(Kind.REGISTER, body), Identified)

    async def authenticate(self, name: str, password: Password) -> Welcome:
        """Prove to know the password of `name`, and have the server prove that it knows the account.

        Raises:
            SignInRefused: the name or the password is wrong.
            ServerUnproven: the server's signature is wrong; nothing it said counts.
            MechanismUnsupported: it offers nothing that we accept on this connection.
        """
        connection = self._connection
        proving = Authentication(await connection.hello(), connection.binding, name, password, self._language)
        challenge = await self._ask(Kind.AUTHENTICATE, proving.first())
        proof = await asyncio.to_thread(proving.proof, challenge)
        return proving.proven(await self._ask(Kind.CHALLENGE, proof), connection.address)

    async def resume(self, token: bytes, received: int | None = None) -> Welcome:
        """Take up the session of `token` on this connection; `received` frames of it have come so far.

        Raises:
            SessionEnded: it is over.
        """
        body = Resume(language=self._language, received=received)
        return expect(await self._ask(Kind.RESUME, body, token=token), Welcome)

    async def _check_taken(self, invitation: Secret | None) -> None:
        """Refuse to show an invitation to a server that does not know what it is."""
        if invitation is not None and INVITATIONS not in (await self._connection.hello()).features:
            raise InvitationRefused

    async def _ask(self, kind: Kind, body: Body, *, token: bytes = b"") -> Body:
        return await ask_within(self._timeout, self._connection, kind, body, token=token)


def takes_old_forms(dialled: Dialled) -> bool:
    """Return whether a password that was refused there may be proved as one of its `legacy.old_forms`.

    Each form takes a connection of its own: the third refusal would be the end of one that they share. Where
    nothing speaks for the server's key but the proof to come, none is tried: whoever has the old system's file
    could give that proof.
    """
    return dialled.hello.imports and dialled.standing is not Standing.UNKNOWN


async def ask_within(
    seconds: float, connection: ClientConnection, kind: Kind, body: Body, *, token: bytes = b""
) -> Body:
    """Return the answer to a control frame.

    Raises:
        TimedOut: none came within `seconds`.
        AntiphonError: as the server refused it, or as the connection was lost.
    """
    try:
        async with asyncio.timeout(seconds):
            return await connection.request(kind, body, token=token)
    except TimeoutError:
        raise TimedOut(address=connection.address, seconds=f"{seconds:g}") from None
