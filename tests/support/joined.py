"""A server without sockets, and clients joined to it in memory, in one event loop with virtual time.

Everything of a server is real (`assembly.assemble` over a data folder, its store and its log) but the listener,
the transport and the clock. The loop runs only while the test waits for something, and time passes only while
everything waits: a time limit of 60 s is tested with its real value.

`joined` has the face of `serving.serving`, so that a test moves from one to the other by changing a word.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import pytest

from antiphon.data.folder import DataFolder
from antiphon.identity.scram import mechanism_for
from antiphon.observe.log import open_log
from antiphon.server.assembly import assemble
from antiphon.server.connection.connection import Connection
from antiphon.server.connection.host import ConnectionHost
from antiphon.server.listen.entrance import OwnPort
from antiphon.server.nodes.node import open_node
from antiphon.server.peer import Peer
from antiphon.server.relay.listener import taking_relays
from antiphon.server.session.channel import SessionChannel
from antiphon.server.session.manager import SessionManager
from antiphon.server.session.revocations import RevocationPoller
from antiphon.server.topics.contract import Broker
from antiphon.server.topics.memory import MemoryBroker
from antiphon.server.topics.publishing_server import PublishingServer
from antiphon.server.upkeep import Upkeep
from antiphon.services import Handler, ServiceServer, as_service, echo
from antiphon.settings import ServerSettings
from antiphon.store.sql import open_sqlite
from antiphon.store.thread import StoreThread
from antiphon.testing import VirtualLoop
from antiphon.testing.memory import MemoryTransport
from antiphon.wire.bodies import Welcome
from antiphon.wire.kinds import KIB
from support.nodes import PORTS
from support.serving import READ, await_record, records_in
from support.wire_client import Closed, WireClient

HOME = "127.0.0.1"
BINDING = b"hash of the certificate, 32 byte"
AHEAD = 64 * KIB
"""Bytes that a client's end takes before the test reads them, as the buffer of a socket does."""
PATIENCE_SECONDS = 300.0
"""The longest that a test waits for anything, in virtual time: more than any limit of a server."""
HEARTBEAT_SECONDS = 10.0
LOOK_SECONDS = 0.01
"""Pause between two looks of `until`, in virtual time."""

Result = TypeVar("Result")


class _ClientEnd(asyncio.Protocol):
    """The client's end of a connection: keeps what comes until the test reads it."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._ended = False
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, MemoryTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        if len(self._data) >= AHEAD:
            self.transport.pause_reading()
        self._changed.set()

    def eof_received(self) -> bool:
        self._ended = True
        self._changed.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.eof_received()

    async def read(self, seconds: float) -> bytes:
        """Return what has come, or b"" at the end; wait for it if there is nothing."""
        if not self._data:
            self.transport.resume_reading()
            async with asyncio.timeout(seconds):
                while not (self._data or self._ended):
                    self._changed.clear()
                    await self._changed.wait()
        data = bytes(self._data)
        self._data.clear()
        self.transport.resume_reading()
        return data


class _Sealed(MemoryTransport):
    """A connection that cannot be closed in one direction only, like one over TLS."""

    can_half_close = False


class JoinedClient(WireClient):
    """A client in the server's event loop; what it sends is handled as soon as the test waits."""

    def __init__(self, server: "JoinedServer", end: _ClientEnd, binding: bytes | None) -> None:
        super().__init__()
        self._server = server
        self._end = end
        self.binding = binding
        self.timeout = PATIENCE_SECONDS
        """How long `read` waits, in virtual seconds."""

    def send(self, data: bytes) -> None:
        """Send bytes as they are; after the end of the connection they are lost."""
        self._server.read(lambda _: self._end.transport.write(data))

    post = send

    def read(self) -> bytes:
        """See `WireClient`."""
        data = self._server.call(self._end.read(self.timeout))
        if not data:
            raise Closed
        return data

    def idle(self, seconds: float) -> None:
        """Let time pass as an honest client does that has nothing to say: with heartbeats."""
        while seconds > 0:
            self._server.let_pass(min(seconds, HEARTBEAT_SECONDS))
            seconds -= HEARTBEAT_SECONDS
            self.send(self.conversation.heartbeat())

    @property
    def untaken(self) -> int:
        """Bytes sent that the server has not read."""
        return self._end.transport.get_write_buffer_size()

    def half_close(self) -> None:
        """See `WireClient`."""
        self._server.read(lambda _: self._end.transport.write_eof())

    def cut(self) -> None:
        """See `WireClient`."""

        def reset(_: object) -> None:
            self._end.transport.other.abort()
            self._end.transport.abort()

        self._server.read(reset)

    def close(self) -> None:
        """Close in order."""
        self._server.read(lambda _: self._end.transport.close())


class JoinedServer:
    """A server in an event loop of the test's."""

    host: ConnectionHost
    store: Any
    """Its parts, which are those of `store.contracts.Store`, may be replaced by a test."""
    sessions: SessionManager

    def __init__(
        self,
        runner: "asyncio.Runner",
        folder: Path,
        handler: Handler,
        binding: bytes | None,
        broker: Broker,
        *,
        place: str | None,
        **options: Any,
    ) -> None:
        self._place = place
        self.runner = runner
        self.settings = ServerSettings(data=folder, **options)
        self._handler = handler
        self._binding = binding
        self._broker = broker
        self._closing = AsyncExitStack()
        self._clients = 0
        self.log_path = folder / "server.log"

    async def start(self) -> Self:
        """Open the store and the log, and begin to look after connections and sessions."""
        settings, loop = self.settings, asyncio.get_running_loop()
        folder = DataFolder.open(settings.data or Path())
        ring = await asyncio.to_thread(folder.key_ring, secrets.token_bytes)
        log = open_log(self.log_path, settings.log_level)
        self._closing.callback(log.close)
        self.store = await open_sqlite(folder.path)
        self._closing.push_async_callback(self.store.close)
        began = datetime.now(UTC) - timedelta(seconds=loop.time())
        shown = PublishingServer()
        address = None if self._place is None else PORTS
        node = await self._closing.enter_async_context(open_node(address, ring, log))
        parts = assemble(
            settings,
            as_service(self._handler),
            self.store,
            ring,
            log,
            server=cast("ServiceServer", shown),
            entrance=OwnPort(settings),
            mechanism=mechanism_for(self._binding),
            registration=settings.registration == "open",
            language="en",
            clock=lambda: began + timedelta(seconds=loop.time()),
            broker=self._broker,
            place=self._place or "",
            node=node,
        )
        shown._topics = parts.host.handlers.topics
        self.host, self.sessions, self.home = parts
        await self.host.handlers.topics.start()
        await self._closing.enter_async_context(taking_relays(folder.path, *parts, node))
        await self.sessions.begin()
        await self.host.hello.look()
        self.poller = RevocationPoller(self.sessions, self.host.channels, log)
        self.polling = loop.create_task(self.poller.run())
        """Follows the revocation log; a test may cancel it and say itself when the log is read."""
        upkeep = Upkeep(self.host, self.sessions, self.home, ring)
        self._tasks = [self.polling, loop.create_task(upkeep.run()), loop.create_task(self.host.hello.run())]
        return self

    async def stop(self) -> None:
        """Drain as `Server.stop` does, and close."""
        host = self.host
        self.sessions.leaving = True
        host.drain(self.settings.drain_rate, self.settings.drain_seconds / 2)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.drain_seconds):
                while host.connections or host.under_way:
                    host.channels.give_up_idle()
                    await asyncio.sleep(LOOK_SECONDS)
        host.abort()
        while host.connections:
            await asyncio.sleep(0)
        await host.channels.stop()
        left = [*self._tasks, *host.under_way]
        for task in left:
            task.cancel()
        await asyncio.wait(left)
        await self._closing.aclose()

    # --- time -----------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Virtual time in seconds."""
        return self.runner.get_loop().time()

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run the loop until `work` is done, and return its result."""
        return self.runner.run(work)

    def read(self, look: Callable[[Self], Result]) -> Result:
        """Call `look` in the loop and return its result."""

        async def work() -> Result:
            return look(self)

        return self.call(work())

    def let_pass(self, seconds: float) -> None:
        """Let time pass."""
        self.call(asyncio.sleep(seconds))

    def until(self, condition: Callable[[], object]) -> None:
        """Let time pass until a condition holds.

        Raises:
            TimeoutError: it does not.
        """

        async def wait() -> None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not condition():
                    await asyncio.sleep(LOOK_SECONDS)

        self.call(wait())

    # --- what a test sees -----------------------------------------------------------------------------------

    @property
    def connections(self) -> list[Connection]:
        """The open connections."""
        return [each for each in self.host.connections if isinstance(each, Connection)]

    @property
    def channels(self) -> list[SessionChannel]:
        """The live channels."""
        return list(self.host.channels)

    def log(self) -> str:
        """Return the log with all records so far."""
        if not self.polling.done() or not self.host.stopping:
            mark = secrets.token_hex(8)
            self.host.log.error(READ, mark=mark)
            await_record(self.log_path, mark)
        return records_in(self.log_path)

    def records(self, event: str) -> list[str]:
        """Return the records of `event` in the log so far."""
        return [line for line in self.log().splitlines() if f" {event} " in f"{line} "]

    # --- clients --------------------------------------------------------------------------------------------

    def client(self, source: str = HOME) -> JoinedClient:
        """Return a new connection, which the admission limits let in."""
        return self.call(self._join(source))

    async def _join(self, source: str) -> JoinedClient:
        assert self.host.limits.admit(source)
        self._clients += 1
        peer = Peer(f"{source}:{self._clients}", source, self._binding)
        end = _ClientEnd()
        kind = MemoryTransport if self._binding is None else _Sealed
        kind.join(Connection(self.host, peer, asyncio.get_running_loop().time()), end)
        return JoinedClient(self, end, self._binding)

    def session(self, token: bytes, source: str = HOME) -> JoinedClient:
        """Return a new connection with the session of `token` resumed."""
        return self.back(token, None, source)[0]

    def back(self, token: bytes, received: int | None, source: str = HOME) -> tuple[JoinedClient, Welcome]:
        """Return a new connection that has resumed the session of `token`, and its WELCOME."""
        client = self.client(source)
        client.hello()
        welcome = client.resume(token, received)
        assert isinstance(welcome, Welcome), welcome
        return client, welcome


class JoinedLoop:
    """Event loop with virtual time, for servers that share it."""

    def __init__(self, runner: "asyncio.Runner") -> None:
        self._runner = runner

    @contextlib.contextmanager
    def joined(
        self,
        folder: Path,
        handler: Handler = echo,
        *,
        plain: bool = True,
        broker: Broker | None = None,
        place: str | None = None,
        **options: Any,
    ) -> Iterator[JoinedServer]:
        """Run a server; the end of the block drains it. `options` are those of `ServerSettings`.

        With a `place` it is a node: over TLS on loopback it reaches those of other places.
        """
        defaults: dict[str, Any] = {"drain_seconds": 2, "registration": "open"}
        binding = None if plain else BINDING
        server = JoinedServer(
            self._runner, folder, handler, binding, broker or MemoryBroker(), place=place, **defaults | options
        )
        self._runner.run(server.start())
        try:
            yield server
        finally:
            self._runner.run(server.stop())


@contextlib.contextmanager
def virtual_loop() -> Iterator[JoinedLoop]:
    """Make an event loop with virtual time, which stands still while a store or an executor works."""
    do = StoreThread.do

    def held(thread: StoreThread, work: Callable[[], Any]) -> "asyncio.Future[Any]":
        outcome = do(thread, work)
        loop = outcome.get_loop()
        if isinstance(loop, VirtualLoop):
            loop.hold(outcome)
        return outcome

    with ExitStack() as closing:
        patch = closing.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(StoreThread, "do", held)
        yield JoinedLoop(closing.enter_context(asyncio.Runner(loop_factory=VirtualLoop)))


@contextlib.contextmanager
def joined(folder: Path, handler: Handler = echo, **options: Any) -> Iterator[JoinedServer]:
    """Run a server of `handler` in an event loop of its own; `options` are those of `JoinedLoop.joined`."""
    with virtual_loop() as loop, loop.joined(folder, handler, **options) as server:
        yield server
