"""`Service`: a handler and its clients in one event loop, without sockets, for tests of services.

All code between handler and client is the real code, except the sign-in and the transport: clients prove no
password, and nothing is written to disk.
"""

import asyncio
import contextlib
import os
import traceback
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from antiphon.address import Address
from antiphon.client.aio.connect import session_on
from antiphon.client.aio.connection import ClientConnection
from antiphon.client.aio.dial import Dialled
from antiphon.client.aio.session import ClientSession
from antiphon.client.aio.sign_in import SignIn
from antiphon.client.protocol.connection import Receiver
from antiphon.client.trust import KnownServers, Standing
from antiphon.errors import AntiphonError
from antiphon.server.auth.authenticator import Authenticator
from antiphon.server.auth.registration import Registration
from antiphon.server.connection.connection import Connection
from antiphon.server.connection.host import ConnectionHost
from antiphon.server.handler.environment import HandlerEnvironment
from antiphon.server.handler.service_lifecycle import ServiceLifecycle
from antiphon.server.hello import HelloFrame, hello_of
from antiphon.server.listen.limits import AdmissionLimits, RegistrationLimits
from antiphon.server.peer import Peer
from antiphon.server.session.registry import ChannelRegistry
from antiphon.server.tasks import BackgroundTasks
from antiphon.server.topics.memory import MemoryBroker
from antiphon.server.topics.publishing_server import PublishingServer
from antiphon.server.topics.topics import Topics
from antiphon.services import Handler, Lifespan, ServiceServer, as_service
from antiphon.services import Service as ServedHandler
from antiphon.services.contract import Result
from antiphon.setting_checks import SECONDS_MOST
from antiphon.settings import ServerSettings
from antiphon.store.contracts import Clients
from antiphon.testing.memory import MemoryTransport
from antiphon.testing.standins import Failures, LoopClock, Sessions, Visits
from antiphon.wire.bodies import Lifetimes
from antiphon.wire.kinds import MESSAGE_LIMIT

HOST = "127.0.0.1"
"""Address of all clients."""
MANY = 10**9
END_SECONDS = 5.0
"""Seconds that the end of the block waits for handler tasks that resist cancellation."""


class Service(PublishingServer):
    """A service in memory: `async with Service(handler) as service: ann = await service.enter("ann")`.

    To the handler it is the server (`session.server`): `lifespan` and `started` run at the beginning of the block,
    `stopping` at its end. An exception of the handler is the `__cause__` of the `ServiceFailed` that the client's
    call raises. Exceptions that no client's call raises, such as those of `closed` or of a background task, are
    raised at the end of the block.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        lifespan: Lifespan | None = None,
        message_limit: int = MESSAGE_LIMIT,
        service_seconds: float = 60.0,
        session_total: float = 86400.0,
    ) -> None:
        """Prepare to serve `handler`; the keywords are those of `Server` and `ServerSettings`.

        Raises:
            ServiceInvalid: `handler` is not a handler.
            SettingInvalid: a setting is out of range.
        """
        self._service = as_service(handler, lifespan)
        self._settings = ServerSettings(
            access="identify",
            message_limit=message_limit,
            service_seconds=service_seconds,
            session_total=session_total,
            heartbeat_seconds=SECONDS_MOST / 2,  # so that a pause in a debugger cuts no connection
            silence_seconds=SECONDS_MOST,
        )
        self._failures = Failures()
        self._host: ConnectionHost
        self._lifecycle: ServiceLifecycle
        self.state: Any = None
        """For the handler's own use, as `Server.state`."""
        self._stored: Sessions
        self._sessions = AsyncExitStack()
        self._entered = 0

    async def __aenter__(self) -> Self:
        """Start the handler, and serve.

        Raises:
            ServiceNotStarted: `started` or `lifespan` failed; the `__cause__` is what it raised.
        """
        clock = LoopClock()
        self._stored = Sessions(self._settings.session_total, clock)
        self._host = _host(self._service, self._settings, self._failures, self._stored, clock, self)
        self._topics = self._host.handlers.topics
        await self._topics.start()
        self._lifecycle = ServiceLifecycle(self._host.handlers)
        await self._lifecycle.start()
        return self

    def start_task(self, work: Coroutine[Any, Any, Result], *, name: str | None = None) -> "asyncio.Task[Result]":
        """Run a coroutine beside the sessions until it ends or the block does; see `Server.start_task`."""
        return self._lifecycle.start_task(work, name=name)

    async def enter(self, name: str = "ann") -> ClientSession:
        """Sign in as `name` and return the client's session; the same name is the same account.

        The end of the block leaves the session unless it has been left before.

        Raises:
            NameInvalid: `name` is not a valid name.
        """
        self._entered += 1
        address = f"{HOST}:{self._entered}"
        peer, now = Peer(address, HOST, None), asyncio.get_running_loop().time()
        server = Connection(self._host, peer, now)
        client = _Client(address, self._failures)
        MemoryTransport.join(server, client)
        place, known = Address("tcp", HOST, self._entered), KnownServers(Path(os.devnull))
        dialled = Dialled(client, await client.hello(), None, Standing.PINNED, place)
        welcome = await SignIn(client).introduce(name)
        return await self._sessions.enter_async_context(session_on(place, known, dialled, welcome, give_up=0))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave all sessions, end running handlers, and raise the service's exceptions that no client has seen."""
        if error is not None:  # nothing waits for answers any more
            self._host.abort()
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

    async def _stop(self) -> None:
        host = self._host
        self._stored.stop()
        host.abort()
        while host.connections:  # noqa: ASYNC110 - their last step is one turn of the loop away
            await asyncio.sleep(0)
        await host.channels.stop()
        if host.under_way:
            await asyncio.wait(host.under_way, timeout=END_SECONDS)
        await self._lifecycle.stop(END_SECONDS)


@contextlib.asynccontextmanager
async def session(
    handler: Handler,
    name: str = "ann",
    *,
    lifespan: Lifespan | None = None,
    message_limit: int = MESSAGE_LIMIT,
    service_seconds: float = 60.0,
    session_total: float = 86400.0,
) -> AsyncIterator[ClientSession]:
    """Serve `handler` in memory and yield the session of one client; otherwise like `Service`."""
    async with Service(
        handler,
        lifespan=lifespan,
        message_limit=message_limit,
        service_seconds=service_seconds,
        session_total=session_total,
    ) as service:
        yield await service.enter(name)


@contextlib.asynccontextmanager
async def sessions(
    handler: Handler,
    *names: str,
    lifespan: Lifespan | None = None,
    message_limit: int = MESSAGE_LIMIT,
    service_seconds: float = 60.0,
    session_total: float = 86400.0,
) -> AsyncIterator[tuple[ClientSession, ...]]:
    """Serve `handler` in memory and yield a session for each name, entered in order; otherwise like `Service`.

    A name that is given twice has two sessions of one account.
    """
    async with Service(
        handler,
        lifespan=lifespan,
        message_limit=message_limit,
        service_seconds=service_seconds,
        session_total=session_total,
    ) as service:
        yield tuple([await service.enter(name) for name in names])


class _Client(ClientConnection):
    """The client's connection; it sets the service's exception as the cause of the errors that it raises."""

    def __init__(self, address: str, failures: Failures) -> None:
        super().__init__(address)
        self._failures = failures

    def attach(self, receiver: Receiver) -> None:
        super().attach(_Explaining(receiver, self.address, self._failures))

    def fail(self, error: AntiphonError) -> None:
        self._failures.explain(self.address, error)
        super().fail(error)


class _Explaining:
    """A receiver that passes frames on to `receiver`, and sets the service's exception as the cause of errors."""

    def __init__(self, receiver: Receiver, address: str, failures: Failures) -> None:
        self._address = address
        self._failures = failures
        self._end = receiver.end
        self.message = receiver.message
        self.answers = receiver.answers
        self.acknowledgement = receiver.acknowledgement

    def end(self, id: int, error: AntiphonError | None) -> None:
        self._failures.explain(self._address, error)
        self._end(id, error)


_ABSENT: Any = None
"""What only passwords, invitations and other servers need."""


def _host(  # noqa: PLR0917 - each is of another type
    service: ServedHandler,
    settings: ServerSettings,
    failures: Failures,
    sessions: Sessions,
    clock: LoopClock,
    server: ServiceServer,
) -> ConnectionHost:
    tasks = BackgroundTasks()
    topics = Topics(MemoryBroker(), tasks, settings.message_limit, clock)
    handlers = HandlerEnvironment(
        service=service,
        seconds=settings.service_seconds,
        message_limit=settings.message_limit,
        log=failures,
        tasks=tasks,
        topics=topics,
        server=server,
        repeat_seconds=0,  # each failure belongs to the call that it made fail
    )
    channels = ChannelRegistry(sessions, handlers)
    return ConnectionHost(
        settings=settings,
        log=failures,
        tasks=tasks,
        limits=AdmissionLimits(MANY, 0, MANY, MANY, lambda: 0.0),
        hello=HelloFrame(hello_of(settings, "", registration=True), _ABSENT, clock, failures),
        auth=Authenticator(
            access=settings.access,
            accounts=_ABSENT,
            clients=cast("Clients", Visits()),
            sessions=sessions,
            resume=channels.resume,
            relay=_ABSENT,
            throttle=_ABSENT,
            passwords=_ABSENT,
            registration=Registration(
                _ABSENT, _ABSENT, _ABSENT, RegistrationLimits(MANY, MANY), clock, is_open=True
            ),
            lifetimes=Lifetimes(unheld=settings.session_unheld, total=settings.session_total),
            language="en",
            clock=clock,
            tasks=tasks,
            log=failures,
        ),
        channels=channels,
        handlers=handlers,
    )
