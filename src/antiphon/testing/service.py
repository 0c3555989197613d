"""A service and those who talk to it, in one event loop and without a socket: for tests of services of one's own.

Everything between a handler and a client is the real thing but the way in and what carries the bytes: nobody
proves a password, and nothing is written to the disk.
"""

import asyncio
import contextlib
import os
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from antiphon import __version__
from antiphon.address import Address
from antiphon.client.aio.connect import session_on
from antiphon.client.aio.connection import ClientConnection
from antiphon.client.aio.dial import Dialled
from antiphon.client.aio.session import ClientSession
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.protocol.connection import Receiver
from antiphon.client.trust import KnownServers, Standing
from antiphon.errors import AntiphonError
from antiphon.server.caps import EntryCaps, RegistrationCaps
from antiphon.server.connection import Connection
from antiphon.server.context import ServerContext
from antiphon.server.dialogues import Dialogues
from antiphon.services import Handler, as_service
from antiphon.settings import SECONDS_MOST, ServerSettings
from antiphon.store.contracts import Clients
from antiphon.testing.memory import MemoryTransport
from antiphon.testing.standins import Failures, Sessions, Visits, utc_now
from antiphon.wire.bodies import VERSION, Hello, Limits, Scram
from antiphon.wire.conversation import ServerConversation
from antiphon.wire.kinds import MESSAGE_LIMIT

HOST = "127.0.0.1"
"""Where everybody seems to come from."""
MANY = 10**9
END_SECONDS = 5.0
"""How long the end of the block waits for what a service will not let be cancelled."""


class Service:
    """A handler that serves in memory: `async with Service(handler) as service: ann = await service.enter("ann")`.

    What the handler raises is the `__cause__` of the `ServiceFailed` that a client is told. What no client's call
    raises, such as a failure of `closed`, comes out at the end of the block.
    """

    def __init__(
        self, handler: Handler, *, message_limit: int = MESSAGE_LIMIT, service_seconds: float = 60.0
    ) -> None:
        """Prepare to serve `handler`, with the server's settings of these names.

        Raises:
            ServiceInvalid: it cannot be served.
            SettingInvalid: a setting is out of its range.
        """
        self._service = as_service(handler)
        self._settings = ServerSettings(
            access="identify",
            message_limit=message_limit,
            service_seconds=service_seconds,
            heartbeat_seconds=SECONDS_MOST / 2,  # whoever looks around in a debugger is not cut off
            silence_seconds=SECONDS_MOST,
        )
        self._failures = Failures()
        self._context: ServerContext
        self._sessions = AsyncExitStack()
        self._entered = 0

    async def __aenter__(self) -> Self:
        """Begin to serve."""
        self._context = _context(self._service, self._settings, self._failures)
        return self

    async def enter(self, name: str = "ann") -> ClientSession:
        """Let somebody in and return the client's session; the same name is the same account.

        The end of the block leaves the session, if nobody has before.

        Raises:
            NameInvalid: nobody can have this name.
        """
        self._entered += 1
        address = f"{HOST}:{self._entered}"
        server = Connection(self._context, address, HOST, None, asyncio.get_running_loop().time())
        client = _Client(address, self._failures)
        MemoryTransport.join(server, client)
        dialled = Dialled(client, await client.hello(), None, Standing.PINNED)
        welcome = await SignIn(client).introduce(name)
        place, known = Address("tcp", HOST, self._entered), KnownServers(Path(os.devnull))
        return await self._sessions.enter_async_context(session_on(place, known, dialled, welcome, give_up=0))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave every session, end what is under way, and raise what the service raised and nobody was told."""
        if error is not None:  # nobody waits for answers any more
            self._cut()
        try:
            await self._sessions.__aexit__(kind, error, trace)
        finally:
            await self._stop()
        unseen = self._failures.unseen()
        if error is not None:
            for each in unseen:
                error.add_note("The service failed too:\n" + "".join(traceback.format_exception(each)))
        elif len(unseen) == 1:
            raise unseen[0]
        elif unseen:
            raise BaseExceptionGroup("the service failed", unseen)

    def _cut(self) -> None:
        for connection in list(self._context.connections):
            connection.abort()

    async def _stop(self) -> None:
        context = self._context
        self._cut()
        while context.connections:  # noqa: ASYNC110 - their last step is one turn of the loop away
            await asyncio.sleep(0)
        await context.dialogues.stop()
        if context.under_way:
            await asyncio.wait(context.under_way, timeout=END_SECONDS)


@contextlib.asynccontextmanager
async def session(
    handler: Handler, name: str = "ann", *, message_limit: int = MESSAGE_LIMIT, service_seconds: float = 60.0
) -> AsyncIterator[ClientSession]:
    """Serve `handler` in memory and yield the session of one client; all else is as with `Service`."""
    async with Service(handler, message_limit=message_limit, service_seconds=service_seconds) as service:
        yield await service.enter(name)


class _Client(ClientConnection):
    """The client's end, whose errors know what the service has raised."""

    def __init__(self, address: str, failures: Failures) -> None:
        super().__init__(address)
        self._failures = failures

    def attach(self, receiver: Receiver) -> None:
        super().attach(_Explaining(receiver, self.address, self._failures))

    def fail(self, error: AntiphonError) -> None:
        self._failures.explain(self.address, error)
        super().fail(error)


class _Explaining:
    """Hands frames on to `receiver`, and behind each failure what the service has raised."""

    def __init__(self, receiver: Receiver, address: str, failures: Failures) -> None:
        self._address = address
        self._failures = failures
        self._end = receiver.end
        self.message = receiver.message
        self.acknowledgement = receiver.acknowledgement

    def end(self, id: int, error: AntiphonError | None) -> None:
        self._failures.explain(self._address, error)
        self._end(id, error)


def _context(service: Any, settings: ServerSettings, failures: Failures) -> ServerContext:
    hello = Hello(
        versions=[VERSION],
        product=f"antiphon/{__version__}",
        access=settings.access,
        mechanisms=[],
        features=[],
        limits=Limits(
            message=settings.message_limit, heartbeat=settings.heartbeat_seconds, silence=settings.silence_seconds
        ),
        registration=True,
        scram=Scram(salt_length=32, iterations=600_000),
        password_minimum=settings.password_minimum,
    )
    absent: Any = None  # what only passwords, invitations and other servers need
    return ServerContext(
        settings=settings,
        service=service,
        accounts=absent,
        clients=cast("Clients", Visits()),
        sessions=Sessions(settings.session_total, utc_now),
        dialogues=Dialogues(),
        throttle=absent,
        ring=absent,
        log=failures,
        caps=EntryCaps(MANY, 0, MANY, MANY, lambda: 0.0),
        registrations=RegistrationCaps(MANY, MANY),
        invited=absent,
        registration=True,
        language="en",
        hello=ServerConversation().hello(hello),
        mechanism="",
        clock=utc_now,
        random=os.urandom,
    )
