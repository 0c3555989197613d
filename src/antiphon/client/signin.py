"""The client's way in, in asyncio: the steps of `steps.py`, each within its time.

What costs time (PBKDF2, a fifth of a second) runs on a thread, so that the event loop goes on.
"""

import asyncio
from collections.abc import Callable
from typing import Unpack

from antiphon.client.connection import ClientConnection
from antiphon.client.steps import Given, Result, Steps
from antiphon.errors import TimedOut
from antiphon.wire.bodies import Body
from antiphon.wire.kinds import Kind


class SignIn(Steps):
    """The way in on one connection, whose key is trusted by now."""

    def __init__(self, connection: ClientConnection, language: str = "en", timeout: float = 10.0) -> None:
        """Speak on `connection`, whose server has said HELLO, each step within `timeout` seconds."""
        super().__init__(connection.greeting, connection.binding, connection.address, language)
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
        AntiphonError: as the server refused it, or as the connection was lost.
    """
    try:
        async with asyncio.timeout(seconds):
            return await connection.request(kind, body, token=token)
    except TimeoutError:
        raise TimedOut(address=connection.address, seconds=f"{seconds:g}") from None
