"""Server: opens everything in order, serves, drains, and closes in the reverse order."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, Unpack

from antiphon.address import Address, Scheme
from antiphon.data.belonging import open_with_ring
from antiphon.data.certificate import Certificate, load_or_make
from antiphon.data.credentials import check_ring
from antiphon.data.folder import KEY_RING_FILE, DataFolder, check_before_making, data_folder
from antiphon.data.store_note import note_store, store_of
from antiphon.errors import AntiphonError
from antiphon.identity.scram import mechanism_for
from antiphon.observe.log import ServerLog, open_log
from antiphon.options import ServerOptions
from antiphon.server.assembly import assemble
from antiphon.server.connection.connection import Connection
from antiphon.server.connection.host import ConnectionHost
from antiphon.server.control.control import Controlled, taking_control
from antiphon.server.control.live import ClosedSession, Live, LiveQuery
from antiphon.server.control.meter import Meter
from antiphon.server.control.report import ProcessReport
from antiphon.server.forking import give_up_in_children
from antiphon.server.handler.service_lifecycle import ServiceLifecycle
from antiphon.server.home.place import check_place, place_here, take_place
from antiphon.server.listen.announce import announce
from antiphon.server.listen.entrance import Entrance, OwnPort
from antiphon.server.listen.ports import Listening
from antiphon.server.listen.reach import reach_of
from antiphon.server.listen.reception import Reception
from antiphon.server.manager import ServiceManager
from antiphon.server.nodes.node import open_node
from antiphon.server.relay.listener import taking_relays
from antiphon.server.session.revocations import RevocationPoller
from antiphon.server.status.endpoint import StatusEndpoint, serving_status
from antiphon.server.topics.contract import Broker
from antiphon.server.topics.memory import MemoryBroker
from antiphon.server.topics.publishing_server import PublishingServer
from antiphon.server.upkeep import TICK_SECONDS, Upkeep, watch_validity
from antiphon.services import Handler, Lifespan, as_service, echo
from antiphon.services.contract import Result, State
from antiphon.settings import ServerSettings, changed
from antiphon.store.files import NameRewritten
from antiphon.store.opening import accounts_file
from antiphon.version import __version__

ABORT_SECONDS = 2.0
"""Time for aborted connections to be gone; with `drain_seconds` well within promise 24's 30 s."""


class Server(PublishingServer, Generic[State]):
    """An Antiphon server in this event loop: `async with Server(handler, port=0) as server`.

    At the end of the block the server drains: it accepts no new connections, answers the messages that it has
    received, and sends BYE. A server can be opened only once.

    Args:
        handler: the service, as `Handler` describes it.
        settings: the options of `antiphon serve`; variables and the configuration file are not read.
        lifespan: what happens around the service, as `Lifespan` describes it; by default the handler's own.
        language: of greetings to clients that name none, `en` or `ru`.
        options: single fields of `ServerSettings` that differ from `settings`, such as `port=0`; a path may be
            text.

    Raises:
        ServiceInvalid: `handler` cannot be served.
        SettingInvalid: an option has an invalid value.
    """

    def __init__(
        self,
        handler: Handler = echo,
        settings: ServerSettings | None = None,
        *,
        lifespan: Lifespan | None = None,
        language: str = "en",
        **options: Unpack[ServerOptions],
    ) -> None:
        """Prepare to serve `handler`; nothing is opened yet. `options` are single `ServerSettings`.

        Raises:
            ServiceInvalid: it cannot be served.
            SettingInvalid: an option holds what it cannot hold.
        """
        self._service = as_service(handler, lifespan)
        self.settings = changed(settings or ServerSettings(), options)
        self.language = language
        self._entrance: Entrance = OwnPort(self.settings)
        self._broker: Broker = MemoryBroker()
        self._manager = ServiceManager()
        self._closing = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        """Tasks that run until the last connection is gone."""
        self._watching_validity: asyncio.Task[None] | None = None
        self._accepting: list[asyncio.Task[None]] = []
        self._status: StatusEndpoint | None = None
        self._meter: Meter
        self._host: ConnectionHost
        self._listening: Listening
        self.certificate: Certificate | None = None
        """What it shows to clients; None over plain TCP."""
        self._lifecycle: ServiceLifecycle | None = None
        self.state: State = None  # type: ignore[assignment] # until the service sets it
        """For the service's own use, shared by all sessions; None at first."""
        self.log_path: Path
        """The log file; known once the server is open."""
        self.data_path: Path
        """The data folder; known once the server is open."""
        self.registration: bool
        """Whether new names may register; known once the server is open."""
        self.loopback: bool
        """Whether only this machine can reach the server; known once the server is open."""
        self.status_place = self.settings.status
        """Host and port where it answers about itself; the port is known once the server is open."""

    async def __aenter__(self) -> Self:
        """Open everything and listen.

        Raises:
            ServiceNotStarted: `started` or `lifespan` of the service failed.
            UsageError: the settings cannot be met on this machine.
            ServerError: the store cannot be opened.
        """
        try:
            await self._open()
        except BaseException:
            await self._closing.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drain and close."""
        await self.stop()

    @property
    def port(self) -> int:
        """The port that the server listens on, the same for all addresses."""
        return self._listening.port

    @property
    def starting(self) -> bool:
        """Whether it waits for the service to start: then a signal cancels the task that opens it."""
        return self._lifecycle is not None and self._lifecycle.starting

    @property
    def moved_from(self) -> int | None:
        """The requested port, if it was taken; otherwise None."""
        return self._listening.moved_from

    @property
    def addresses(self) -> list[Address]:
        """Addresses at which clients reach this server, with the key's fingerprint and ready to paste (`str`)."""
        scheme: Scheme = "tls" if self.certificate else "tcp"
        fingerprint = self.certificate.fingerprint if self.certificate else None
        return [Address(scheme, host, self.port, None, fingerprint) for host in self._listening.hosts]

    # --- opening ------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        store = store_of(self.settings)
        settings = self.settings = replace(self.settings, store=store)
        data = settings.data or data_folder()
        await check_before_making(data, store)
        folder = DataFolder.open(data, accounts_file(store, data))
        self.data_path = folder.path
        self.log_path = settings.log or folder.path / "server.log"
        log = open_log(self.log_path, settings.log_level)
        self._closing.callback(log.close)
        log.info("started", version=__version__, pid=os.getpid(), folder=str(folder.path))
        self._closing.callback(log.info, "stopped", pid=os.getpid())
        try:
            await self._open_below(folder, store, log)
        except AntiphonError as error:
            log.error("not-started", code=error.code, why=str(error))  # noqa: TRY400 - the operator's, not a fault
            raise

    async def _open_below(self, folder: DataFolder, kept_in: str, log: ServerLog) -> None:
        settings = self.settings
        status = settings.status if self._entrance.announces_control else None
        endpoint = self._status = await self._closing.enter_async_context(
            serving_status(status, folder, kept_in, log)
        )

        def tell(found: NameRewritten) -> None:
            log.warning("name-rewritten", path=found.path, line=found.line, name=found.name, was=found.was)

        store, ring = await open_with_ring(kept_in, folder, os.urandom, serving=True, tell=tell)
        self._store = store
        self._closing.push_async_callback(store.close)
        is_node = settings.relay_address is not None
        await take_place(store, folder.path, kept_in, node=is_node)
        if before := note_store(folder, kept_in):
            log.warning("store-changed", was=before, now=kept_in)
        for copy in store.copies:
            log.info("store-upgraded", copy=str(copy))
        await check_ring(ring, store.accounts, str(folder.place(KEY_RING_FILE)))
        self.certificate = None
        if not settings.plain:
            self.certificate = await asyncio.to_thread(load_or_make, folder, [settings.host])
        self._listen(folder)
        node = await self._closing.enter_async_context(open_node(settings.relay_address, ring, log))
        parts = assemble(
            settings,
            self._service,
            store,
            ring,
            log,
            server=self,
            entrance=self._entrance,
            mechanism=mechanism_for(self.certificate.binding if self.certificate else None),
            registration=self.registration,
            language=self.language,
            clock=store.now,
            broker=self._broker,
            place=place_here(folder.path),
            node=node,
        )
        self._host, self._sessions, home = parts
        sessions = self._sessions
        self._topics = self._host.handlers.topics
        self._closing.push_async_callback(self._topics.stop)
        await self._topics.start()
        lifecycle = self._lifecycle = ServiceLifecycle(self._host.handlers)
        await lifecycle.start()
        self._closing.push_async_callback(lifecycle.stop)  # where the start fails after this
        if self._entrance.announces:
            announce(folder, log, settings, self._listening, self.addresses, registration=self.registration)
        await sessions.begin()
        await self._host.hello.look()
        await self._closing.enter_async_context(taking_relays(folder.path, *parts, node))
        await check_place(store, folder.path, kept_in, node=is_node)
        self._upkeep = Upkeep(self._host, sessions, home, ring)
        loop = asyncio.get_running_loop()
        self._reception = Reception(
            self.certificate,
            limits=self._host.limits,
            connect=partial(Connection, self._host),
            tasks=self._host.tasks,
            log=log,
            handshake_seconds=settings.handshake_seconds,
        )
        self._accepting = [loop.create_task(self._entrance.accept(self._reception.begin, log))]
        poller = RevocationPoller(sessions, self._host.channels, log)
        self._meter = Meter(self, ring, self._host, home, poller)
        self._tasks = [
            loop.create_task(self._upkeep.run()),
            loop.create_task(poller.run()),
            loop.create_task(poller.listen(store.revocations)),
            loop.create_task(self._host.hello.run()),
            loop.create_task(self._meter.run()),
        ]
        if endpoint is not None:
            self.status_place = endpoint.place
            endpoint.follow(self._meter.report_alone, self._meter.look_alone)
        if self._entrance.announces_control:
            controlled = Controlled(self._meter.report_alone, self._reload, self._drain_program)
            await self._closing.enter_async_context(taking_control(folder.path, controlled, log))
        if self.certificate is not None:
            self._watch_validity(self.certificate)

    def _watch_validity(self, certificate: Certificate) -> None:
        if self._watching_validity is not None:
            self._watching_validity.cancel()
        watching = watch_validity(certificate, self._host.log, _utc_now)
        self._watching_validity = asyncio.get_running_loop().create_task(watching)

    def _listen(self, folder: DataFolder) -> None:
        settings = self.settings
        listening = self._listening = self._entrance.listen(settings, folder.last_port)
        self._closing.callback(listening.close)
        give_up_in_children(listening.sockets)
        self.loopback, self.registration = reach_of(settings, listening)

    def start_task(self, work: Coroutine[Any, Any, Result], *, name: str | None = None) -> "asyncio.Task[Result]":
        """Run a coroutine beside the sessions until it ends or the server stops.

        A server that stops cancels it after the last handler. What it raises is logged, and ends nothing else.

        Args:
            work: the coroutine.
            name: of the task, for the log; by default the coroutine's.

        Raises:
            TypeError: `work` is no coroutine.
            RuntimeError: the service has not begun to start, or has stopped.
        """
        if self._lifecycle is None:
            work.close()
            raise RuntimeError("the server is not open")
        return self._lifecycle.start_task(work, name=name)

    def reload(self) -> None:
        """Load certificate and key again, for connections from now on. If they are broken, the old ones stay.

        The log says how it went; if its file was renamed, the record goes to a new one. Precondition: it is open.
        """
        if not self._host.stopping:
            self._host.tasks.start(self._reload())

    async def _reload(self) -> str | None:
        """Reload; return why that has failed, if it has."""
        self._manager.reloading()
        try:
            return await self._load_again()
        finally:
            self._manager.reloaded()

    async def _load_again(self) -> str | None:
        """Load certificate and key; return why that has failed, if it has."""
        folder, log = DataFolder(self.data_path), self._host.log
        log.info("reloading", pid=os.getpid())
        if self._status is not None:
            await asyncio.to_thread(self._status.reload)
        if self.certificate is None:
            return None
        try:
            certificate = await asyncio.to_thread(load_or_make, folder, [self.settings.host])
        except AntiphonError as error:
            log.error("reload-failed", code=error.code, why=str(error))  # noqa: TRY400 - the operator's, not a fault
            return str(error)
        self.certificate = self._reception.certificate = certificate
        self._watch_validity(certificate)
        log.info("reloaded", addresses=[str(address) for address in self.addresses])
        return None

    @staticmethod
    def _drain_program() -> None:
        """End the program as a signal to stop does: a program of one's own decides what that is."""
        os.kill(os.getpid(), signal.SIGTERM)

    def measured(self) -> ProcessReport:
        """Return what this process does now. Precondition: it is open."""
        return self._meter.report()

    async def look(self, query: LiveQuery) -> Live:
        """Return who is connected to this process. Precondition: it is open."""
        return await self._meter.look(query)

    def last_closed(self) -> list[ClosedSession]:
        """Return the sessions that have closed last, the newest first. Precondition: it is open."""
        return self._meter.last_closed()

    async def stop(self) -> None:
        """Stop accepting, answer the messages received, send BYE, close; in the drain time and a little more."""
        try:
            await self._drain()
        finally:
            await self._closing.aclose()

    async def _drain(self) -> None:
        self._manager.stopping()
        host, loop = self._host, asyncio.get_running_loop()
        until = loop.time() + self.settings.drain_seconds
        host.log.info("stopping", connections=len(host.connections))
        await _cancel(self._accepting)
        self._listening.close()
        self._sessions.leaving = True
        host.drain(self.settings.drain_rate, self.settings.drain_seconds / 2)
        try:
            async with asyncio.timeout(self.settings.drain_seconds):
                while host.connections or host.under_way:
                    await self._progress()
        except TimeoutError:
            host.log.warning("drain-cut", connections=len(host.connections))
        host.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ABORT_SECONDS):
                while host.connections:
                    await self._progress()
        await host.channels.stop()
        if self._watching_validity is not None:
            self._tasks.append(self._watching_validity)
        left = await _cancel([*self._tasks, *host.under_way])
        if self._lifecycle is not None:
            left += await self._lifecycle.stop(until - loop.time())
        if left:
            host.log.warning("tasks-left", count=left)

    async def _progress(self) -> None:
        """Give up the sessions that are idle; wait until something has ended, or for a moment."""
        self._host.channels.give_up_idle()
        if under_way := self._host.under_way:
            await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED, timeout=TICK_SECONDS)
        else:
            await asyncio.sleep(TICK_SECONDS / 10)


async def _cancel(tasks: Sequence[asyncio.Future[Any]]) -> int:
    """Cancel tasks, and return how many do not end in time: a service may not let itself be cancelled."""
    for task in tasks:
        task.cancel()
    if not tasks:
        return 0
    _, left = await asyncio.wait(tasks, timeout=ABORT_SECONDS)
    return len(left)


def _utc_now() -> datetime:
    return datetime.now(UTC)
