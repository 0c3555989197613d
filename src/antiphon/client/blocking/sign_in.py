"""Blocking sign-in: the steps of `protocol/sign_in.py`, each within the time of its connection."""

import os
from collections.abc import Callable
from typing import Unpack

from antiphon.client.blocking.connection import BlockingConnection
from antiphon.client.protocol.sign_in import Given, Result, SignInSteps
from antiphon.wire.bodies import Body
from antiphon.wire.kinds import Kind


class BlockingSignIn(SignInSteps):
    """A sign-in on one connection. Precondition: the server's key is trusted."""

    def __init__(self, connection: BlockingConnection, language: str = "en") -> None:
        """Use `connection`, on which HELLO has come."""
        super().__init__(connection.hello, connection.binding, connection.address, os.urandom, language)
        self._connection = connection

    async def ask(self, kind: Kind, body: Body, *, token: bytes = b"") -> Body:
        """Send a control frame and return the body of its answer; RESUME takes a token."""
        return self._connection.request(kind, body, token=token)

    async def work(self, task: Callable[[Unpack[Given]], Result], *given: *Given) -> Result:
        """Return what `task` returns."""
        return task(*given)
