"""Sign-in of many connections concurrently, each with a session of its own."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from antiphon.client.addresses import Addresses
from antiphon.client.aio.batch_session import BatchSession
from antiphon.client.aio.connect import leaving
from antiphon.client.aio.dial import Dialled, dial
from antiphon.client.aio.reconnect import AsyncReconnector
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.trust import KnownServers
from antiphon.errors import Problem, UsageError
from antiphon.identity.passwords import Password
from antiphon.identity.throttle import FREE_FAILURES
from antiphon.language import N_
from antiphon.wire.bodies import Welcome

SESSIONS_MOST = 10
"""Most sessions of an account; the server ends the oldest when one more is opened."""

_TOO_MANY = Problem(N_("One account cannot sign in on {connections} connections: it has at most {most} sessions."))


@dataclass(frozen=True)
class SignInPlan:
    """How to sign in on each further connection: the server and credentials that the first one used."""

    addresses: Addresses
    """Addresses of the server; the first one with the fingerprint of the key that the first connection found."""
    known: KnownServers
    name: str
    password: Password | None
    """Password to prove; None if the server asks for none."""
    access: str
    replace: bool
    timeout: float
    give_up: float
    language: str

    def check(self, connections: int) -> None:
        """Check that one account can have this many sessions.

        Raises:
            UsageError: it cannot: the newer sessions would end the older ones.
        """
        if self.password is not None and connections > SESSIONS_MOST:
            raise UsageError(problem=_TOO_MANY, connections=connections, most=SESSIONS_MOST)

    async def sign_in(self) -> tuple[Dialled, Welcome, float]:
        """Connect and sign in; return the connection, the server's WELCOME and the seconds that both took.

        Raises:
            AntiphonError: the server cannot be reached, or refuses the sign-in.
        """
        began = time.perf_counter()
        dialled = await dial(self.addresses, self.known, self.timeout)
        try:
            exchange = SignIn(dialled.connection, self.language, self.timeout)
            if self.password is not None:
                welcome = await exchange.authenticate(self.name, self.password, replace=self.replace)
            else:
                name = None if self.access == "anyone" else self.name
                welcome = await exchange.introduce(name, replace=self.replace)
        except BaseException:
            dialled.connection.abort()
            raise
        return dialled, welcome, time.perf_counter() - began

    @asynccontextmanager
    async def session(self, dialled: Dialled, welcome: Welcome) -> AsyncIterator[BatchSession]:
        """Yield the session of a signed-in connection; the end of the block leaves it."""
        reconnector = AsyncReconnector(
            self.addresses,
            self.known,
            dialled,
            give_up=self.give_up,
            language=self.language,
            timeout=self.timeout,
        )
        async with leaving(BatchSession(dialled.connection, welcome, reconnector)) as session:
            yield session


async def open_sessions(
    plan: SignInPlan, more: int, stack: AsyncExitStack
) -> tuple[list[BatchSession], list[float]]:
    """Open `more` sessions, which `stack` leaves at its end; return them and the seconds that each sign-in took.

    Raises:
        AntiphonError: a sign-in failed; the other connections are closed.
    """
    limit = asyncio.Semaphore(FREE_FAILURES)  # the server counts a sign-in as a failure until it is proved

    async def sign_in() -> tuple[Dialled, Welcome, float]:
        async with limit:
            return await plan.sign_in()

    tasks = [asyncio.create_task(sign_in()) for _ in range(more)]
    try:
        opened = await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        for each in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(each, BaseException):
                each[0].connection.abort()
        raise
    sessions = [await stack.enter_async_context(plan.session(dialled, welcome)) for dialled, welcome, _ in opened]
    return sessions, [seconds for _, _, seconds in opened]
