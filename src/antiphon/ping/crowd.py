"""Many connections, signed in side by side as the first one was, each with a session of its own."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from antiphon.address import Address
from antiphon.client.aio.connect import session_on
from antiphon.client.aio.dial import Dialled, dial
from antiphon.client.aio.session import ClientSession
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.trust import KnownServers
from antiphon.errors import Problem, UsageError
from antiphon.identity.passwords import Password
from antiphon.identity.throttle import FREE_FAILURES
from antiphon.language import N_
from antiphon.wire.bodies import Welcome

SESSIONS_MOST = 10
"""That an account has; the server ends the oldest when one more is opened."""

_TOO_MANY = Problem(
    N_("{connections} connections cannot be signed in with one account: it has {most} sessions at the most.")
)


@dataclass(frozen=True)
class Door:
    """How every connection gets in, once the first one has found it out."""

    address: Address
    """With the fingerprint of the key that the first connection has met."""
    known: KnownServers
    name: str
    password: Password | None
    """What is proved; None where a name, or nothing, is enough."""
    access: str
    timeout: float
    give_up: float
    language: str

    def check(self, connections: int) -> None:
        """Check that so many can be inside at once.

        Raises:
            UsageError: the newer ones would end the older ones.
        """
        if self.password is not None and connections > SESSIONS_MOST:
            raise UsageError(problem=_TOO_MANY, connections=connections, most=SESSIONS_MOST)

    async def enter(self) -> tuple[Dialled, Welcome, float]:
        """Return a connection, the server's WELCOME on it, and the seconds that it took.

        Raises:
            AntiphonError: the server cannot be reached, or says no.
        """
        began = time.perf_counter()
        dialled = await dial(self.address, self.known, self.timeout)
        try:
            entry = SignIn(dialled.connection, self.language, self.timeout)
            if self.password is not None:
                welcome = await entry.authenticate(self.name, self.password)
            else:
                welcome = await entry.introduce(None if self.access == "anyone" else self.name)
        except BaseException:
            dialled.connection.abort()
            raise
        return dialled, welcome, time.perf_counter() - began

    @asynccontextmanager
    async def session(self, dialled: Dialled, welcome: Welcome) -> AsyncIterator[ClientSession]:
        """Yield the session of a connection that is in; leaving the block leaves it."""
        async with session_on(
            self.address,
            self.known,
            dialled,
            welcome,
            timeout=self.timeout,
            give_up=self.give_up,
            language=self.language,
        ) as session:
            yield session


async def sign_in(door: Door, more: int, stack: AsyncExitStack) -> tuple[list[ClientSession], list[float]]:
    """Return `more` sessions, which end with `stack`, and the seconds that each sign-in took.

    Raises:
        AntiphonError: one of them was not let in; the others are let go.
    """
    turns = asyncio.Semaphore(FREE_FAILURES)  # a server counts each as a failure until it has been proved

    async def enter() -> tuple[Dialled, Welcome, float]:
        async with turns:
            return await door.enter()

    tasks = [asyncio.create_task(enter()) for _ in range(more)]
    try:
        entered = await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        for each in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(each, BaseException):
                each[0].connection.abort()
        raise
    sessions = [await stack.enter_async_context(door.session(dialled, welcome)) for dialled, welcome, _ in entered]
    return sessions, [seconds for _, _, seconds in entered]
