"""Password change inside an open session: prove the old password, then send the new one's credential.

Neither password leaves the client. The caller checks the new one by `identity.passwords.check`.
"""

import asyncio
import os

from antiphon.client.aio.connection import ClientConnection
from antiphon.client.aio.sign_in import ask_within
from antiphon.client.protocol.sign_in import begin_exchange, expect, make_credential
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS
from antiphon.wire.bodies import ChangePassword, PasswordAnswer
from antiphon.wire.kinds import Kind


class PasswordChange:
    """One change of password: call `prove`, then `choose`, each once."""

    def __init__(self, connection: ClientConnection, name: str, timeout: float = 10.0) -> None:
        """Change the password of `name`, the account of the session on `connection`.

        Each step takes at most `timeout` seconds.
        """
        self._connection = connection
        self._name = name
        self._timeout = timeout

    async def prove(self, old: Password) -> None:
        """Prove to the server that the client knows the old password, and have it prove the same.

        Raises:
            SignInRefused: it is wrong.
            TooManyFailures, NameLocked: the server did not try it.
            ServerUnproven: the server's signature is wrong; nothing that it said counts.
        """
        hello = await self._connection.hello()
        mechanism, exchange = begin_exchange(hello, self._connection.binding, self._name, old, os.urandom)
        challenge = await self._ask(ChangePassword(mechanism=mechanism, data=exchange.first()))
        answer = await asyncio.to_thread(exchange.answer, challenge or b"", ITERATIONS)
        signature = await self._ask(ChangePassword(data=answer))
        exchange.verify(signature or b"", self._connection.address)

    async def choose(self, new: Password) -> None:
        """Replace the password; all other sessions of the account end.

        Raises:
            SessionEnded: the account was disabled, or given another password, after the old one was proved.
        """
        scram = (await self._connection.hello()).scram
        credential = await asyncio.to_thread(make_credential, new, scram, os.urandom)
        await self._ask(ChangePassword(credential=credential))

    async def _ask(self, step: ChangePassword) -> bytes | None:
        body = await ask_within(self._timeout, self._connection, Kind.PASSWORD, step)
        return expect(body, PasswordAnswer).data
