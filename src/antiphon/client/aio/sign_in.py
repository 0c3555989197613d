"""Sign-in for asyncio: the steps of `protocol/sign_in.py`, each within its time.

Hashing a password takes about 0.2 s and runs on a thread, so that the event loop goes on.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Unpack

from antiphon.client.aio.connection import ClientConnection
from antiphon.client.protocol.sign_in import Given, Result, SignInSteps
from antiphon.errors import TimedOut
from antiphon.wire.bodies import Body
from antiphon.wire.kinds import Kind


class SignIn(SignInSteps):
    """A sign-in on one connection. Precondition: the server's key is trusted."""

    def __init__(self, connection: ClientConnection, language: str = "en", timeout: float = 10.0) -> None:
        """Use `connection`, on which HELLO has come; each step takes at most `timeout` seconds."""
        super().__init__(connection.greeting, connection.binding, connection.address, os.urandom, language)
        self._connection = connection
        self._timeout = timeout

    async def ask(self, kind: Kind, body: Body, *, token: bytes = b"") -> Body:
        """Send a control frame and return the body of its answer; RESUME takes a token."""
        return await ask_within(self._timeout, self._connection, kind, body, token=token)

    async def work(self, task: Callable[[Unpack[Given]], Result], *given: *Given) -> Result:
        """Return what `task` returns; the event loop goes on meanwhile."""
        return await asyncio.to_thread(task, *given)


async def ask_within(
    seconds: float, connection: ClientConnection, kind: Kind, body: Body, *, token: bytes = b""
) -> Body:
    """Return the answer to a control frame.

    Raises:
        TimedOut: none came within `seconds`.
        AntiphonError: the server refused the request, or the connection was lost.
    """
    try:
        async with asyncio.timeout(seconds):
            return await connection.request(kind, body, token=token)
    except TimeoutError:
        raise TimedOut(address=connection.address, seconds=f"{seconds:g}") from None
