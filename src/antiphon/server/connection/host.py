"""Open connections of a server, and what they share."""

import asyncio
from typing import Any, Protocol

from antiphon.observe.log import ServerLog
from antiphon.server.auth.authenticator import Authenticator
from antiphon.server.handler.environment import HandlerEnvironment
from antiphon.server.hello import HelloFrame
from antiphon.server.listen.limits import Places
from antiphon.server.session.closings import new_closings
from antiphon.server.session.registry import ChannelRegistry
from antiphon.server.tasks import BackgroundTasks
from antiphon.settings import ServerSettings

DRAIN_TICKS = 0.01, 0.2
"""Shortest and longest pause in seconds where clients are sent away by a rate; those of one pause go together."""


class Traffic:
    """Bytes of frames that the connections of a server have received and sent; each adds its own, later."""

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        """Begin with none."""
        self.received = self.sent = 0

    def add(self, received: int, sent: int) -> None:
        """Add bytes of a connection."""
        self.received += received
        self.sent += sent


class Open(Protocol):
    """An open connection, as the server uses it."""

    def count_bytes(self) -> None:
        """Add the bytes since the last call to the traffic of the server."""

    rests_until: float
    """Loop time until which it need not be looked at, because nothing happens; 0 if it must be."""

    def tick(self, now: float) -> None:
        """Look at the deadlines."""

    @property
    def admitted(self) -> bool:
        """Whether it holds a session."""

    def drain(self) -> None:
        """Ask the client to say goodbye."""

    def abort(self) -> None:
        """Close at once."""


class ConnectionHost:
    """The open connections of a server, and the parts that all of them use."""

    def __init__(
        self,
        *,
        settings: ServerSettings,
        log: ServerLog,
        tasks: BackgroundTasks,
        limits: Places,
        hello: HelloFrame,
        auth: Authenticator,
        channels: ChannelRegistry,
        handlers: HandlerEnvironment,
    ) -> None:
        """Start without connections."""
        self.settings = settings
        self.log = log
        self.tasks = tasks
        self.limits = limits
        self.hello = hello
        self.auth = auth
        self.channels = channels
        self.handlers = handlers
        self.connections: set[Open] = set()
        self.closings = new_closings()
        self.traffic = Traffic()
        """See `count_bytes`."""
        self.looked_at = 0.0
        """Loop time of the last look at the deadlines."""

    @property
    def stopping(self) -> bool:
        """Whether the server stops: new connections are told so."""
        return self.tasks.stopping

    @property
    def under_way(self) -> list[asyncio.Future[Any]]:
        """Everything that the server waits for before it stops, beside the connections."""
        return [*self.tasks, *self.handlers.time_limits]

    def count_bytes(self) -> None:
        """Bring `traffic` up to date."""
        for connection in self.connections:
            connection.count_bytes()

    def tick(self, now: float) -> None:
        """Look at the deadlines of every connection that is not at rest; `now` is loop time."""
        for connection in [each for each in self.connections if each.rests_until <= now]:
            try:
                connection.tick(now)
            except Exception:  # one connection's fault is not the others'
                self.log.exception("fault")
                connection.abort()
        self.looked_at = now

    def drain(self, rate: float | None, seconds: float) -> None:
        """Ask every client to say goodbye, and those that connect from now on.

        With a `rate`, so many that hold a session are asked in a second, and the others are served as ever until
        it is their turn; those that are left after `seconds` are asked at once.
        """
        self.tasks.stopping = True
        later = {connection for connection in self.connections if connection.admitted} if rate else set()
        for connection in self.connections - later:
            connection.drain()
        if rate and later:
            self.tasks.start(self._drain_by(rate, seconds, later))

    async def _drain_by(self, rate: float, seconds: float, later: set[Open]) -> None:
        loop = asyncio.get_running_loop()
        began, asked = loop.time(), 0
        while later := later & self.connections:
            passed = loop.time() - began
            due = len(later) if passed >= seconds else int(passed * rate) + 1 - asked
            for connection in list(later)[:due]:
                later.discard(connection)
                connection.drain()
            asked += due
            await asyncio.sleep(min(max(asked / rate - passed, DRAIN_TICKS[0]), DRAIN_TICKS[1]))

    def abort(self) -> None:
        """Close every connection at once."""
        for connection in list(self.connections):
            connection.abort()
