"""A change of password inside an open session: prove the old one, have the new one kept. Both stay on this side.

Which passwords may be chosen says `identity.passwords.check`: whoever asks for the new one holds its rules.
"""

import asyncio

from antiphon.client.connection import ClientConnection
from antiphon.client.signin import ask_within
from antiphon.client.steps import begin_exchange, expect, make_credential
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS
from antiphon.wire.bodies import ChangePassword, PasswordAnswer
from antiphon.wire.kinds import Kind


class PasswordChange:
    """One change of password: `prove`, then `choose`, each once."""

    def __init__(self, connection: ClientConnection, name: str, timeout: float = 10.0) -> None:
        """Change the password of `name`, whose session `connection` holds, each step within `timeout` seconds."""
        self._connection = connection
        self._name = name
        self._timeout = timeout

    async def prove(self, old: Password) -> None:
        """Prove to know the password that is to be replaced, and have the server prove that it knows the account.

        Raises:
            SignInRefused: it is wrong.
            TooManyFailures, NameLocked: it was not tried.
            ServerUnproven: the server's signature is wrong; nothing it said counts.
        """
        hello = await self._connection.hello()
        mechanism, exchange = begin_exchange(hello, self._connection.binding, self._name, old)
        challenge = await self._ask(ChangePassword(mechanism=mechanism, data=exchange.first()))
        answer = await asyncio.to_thread(exchange.answer, challenge or b"", ITERATIONS)
        signature = await self._ask(ChangePassword(data=answer))
        exchange.verify(signature or b"", self._connection.address)

    async def choose(self, new: Password) -> None:
        """Have the new password kept; all other sessions of the account end.

        Raises:
            SessionEnded: the account was disabled, or given another password, since the old one was proved.
        """
        scram = (await self._connection.hello()).scram
        await self._ask(ChangePassword(credential=await asyncio.to_thread(make_credential, new, scram)))

    async def _ask(self, step: ChangePassword) -> bytes | None:
        body = await ask_within(self._timeout, self._connection, Kind.PASSWORD, step)
        return expect(body, PasswordAnswer).data
