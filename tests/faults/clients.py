"""Clients of the servers under test: those who talk all the time, and those who try to come in."""

import asyncio
import contextlib
import itertools
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from antiphon.address import Address
from antiphon.client.aio.connection import ClientConnection
from antiphon.client.aio.dial import dial
from antiphon.client.aio.session import ClientSession
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.trust import KnownServers
from antiphon.errors import AntiphonError
from antiphon.identity.passwords import Password
from antiphon.wire.bodies import Body
from antiphon.wire.kinds import Kind
from model.network import Network
from support.processes import PASSWORD
from support.sessions import session_of

PAUSE_SECONDS = 0.2
"""Between two messages of one client."""
PATIENCE_SECONDS = 30.0
WRONG_PASSWORD = "not the correct horse"
_NOBODY = KnownServers(Path("/nonexistent/known_servers"))

Way = Literal["right", "wrong", "valid", "revoked"]
"""Password or token with which somebody comes in."""
IN, LATER = "in", "try-later"
ALLOWED: dict[Way, set[str]] = {
    "right": {IN, LATER},
    "wrong": {"sign-in-refused", "too-many-failures", "name-locked", LATER},
    "valid": {IN, LATER},
    "revoked": {"session-ended", LATER},
}


class Talker:
    """A session that asks one message after the other."""

    def __init__(self, name: str) -> None:
        """Talk as `name`; call `enter` next."""
        self.name = name
        self.faults: list[str] = []
        self.said = 0
        self.longest = 0.0
        """The longest wait for an answer since it was set to 0."""
        self.lost = 0
        """Connections that were lost."""
        self.network: Network | None = None
        self.ended_at: float | None = None
        """When the session was over."""
        self._stack = AsyncExitStack()
        self._task: asyncio.Task[None] | None = None
        self.session: ClientSession

    async def enter(self, address: Address, token: bytes) -> None:
        """Resume the session of `token`, and begin to talk."""
        self.session = await self._stack.enter_async_context(session_of(address, token))
        self.session.on_back = self._back
        self._task = asyncio.ensure_future(self._talk())

    async def enter_by(self, first: Address, then: Address, token: bytes) -> None:
        """Resume a session at one server, and move to another one, which relays it from then on."""
        ports = iter([first.port])
        self.network = Network(lambda: next(ports, then.port))
        address = replace(first, host="127.0.0.1", port=await self.network.open())
        self.session = await self._stack.enter_async_context(session_of(address, token))
        await self.session.ask(f"{self.name}:0")
        moved = asyncio.Event()
        self.session.on_back = lambda _: moved.set()
        self.network.cut()
        await asyncio.wait_for(moved.wait(), PATIENCE_SECONDS)
        self.said = 1
        self.session.on_back = self._back
        self._task = asyncio.ensure_future(self._talk())

    def _back(self, _: float) -> None:
        self.lost += 1

    async def _talk(self) -> None:
        try:
            while True:
                began = time.monotonic()
                message = f"{self.name}:{self.said}"
                self.said += 1
                answer = await self.session.ask(message)
                self.longest = max(self.longest, time.monotonic() - began)
                if answer != f"{message}={self.said}":
                    self.faults.append(f"{message} was answered with {answer!r}, its number is {self.said}")
                    return
                await asyncio.sleep(PAUSE_SECONDS)
        except AntiphonError as error:
            self.ended_at = time.monotonic()
            self.faults.append(f"{self.name} ended with {error!r}: {error}")

    async def close(self) -> None:
        """Close everything, whatever has happened."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        with contextlib.suppress(AntiphonError):
            if hasattr(self, "session"):
                await self.session.hang_up()
            await self._stack.aclose()
        if self.network is not None:
            await self.network.close()


@dataclass
class Attempt:
    """One try to come in."""

    way: Way
    node: int
    began: float
    outcome: str = ""
    longest: float = 0.0
    """Seconds of its longest step."""
    ended: float = 0.0

    @property
    def shown(self) -> str:
        """What came of it."""
        return f"{self.way} at node {self.node}: {self.outcome} in {self.longest:.2f} s"


class _Timed(SignIn):
    def __init__(self, connection: ClientConnection, attempt: Attempt) -> None:
        super().__init__(connection, timeout=PATIENCE_SECONDS)
        self._attempt = attempt

    async def ask(self, kind: Kind, body: Body, *, token: bytes = b"") -> Body:
        began = time.monotonic()
        try:
            return await super().ask(kind, body, token=token)
        finally:
            self._attempt.longest = max(self._attempt.longest, time.monotonic() - began)


@dataclass
class Comers:
    """Those who try to come in at one node, one after the other for each way."""

    node: int
    address: Address
    names: dict[Way, list[str]]
    tokens: dict[Way, bytes]
    attempts: list[Attempt] = field(default_factory=list)
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def begin(self, pauses: dict[Way, float]) -> None:
        """Begin to try."""
        self._tasks = [asyncio.ensure_future(self._come(way, pause)) for way, pause in pauses.items()]

    async def close(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _come(self, way: Way, pause: float) -> None:
        for name in itertools.cycle(self.names.get(way, [""])):
            await self.come(way, name)
            await asyncio.sleep(pause)

    async def come(self, way: Way, name: str = "") -> Attempt:
        """Try once."""
        attempt = Attempt(way, self.node, time.monotonic())
        self.attempts.append(attempt)
        connection: ClientConnection | None = None
        try:
            connection = (await dial(self.address, _NOBODY, PATIENCE_SECONDS)).connection
            steps = _Timed(connection, attempt)
            if way in self.tokens:
                await steps.resume(self.tokens[way])
            else:
                await steps.authenticate(name, Password(PASSWORD if way == "right" else WRONG_PASSWORD))
            attempt.outcome = IN
            attempt.ended = time.monotonic()
        except AntiphonError as error:
            attempt.outcome = error.code
            attempt.ended = time.monotonic()
        finally:
            if connection is not None:
                if attempt.outcome == IN and way == "right":
                    await connection.leave()
                else:
                    connection.abort()
        return attempt
