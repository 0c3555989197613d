"""Link of a worker to its supervisor: the worker's `Entrance`, its heartbeat, and what ends it."""

import asyncio
import errno
import faulthandler
import os
import signal
import socket
from collections import deque
from collections.abc import Awaitable, Callable

from antiphon.observe.log import ServerLog
from antiphon.server.control.live import ClosedSession, Live, LiveQuery
from antiphon.server.control.report import ProcessReport
from antiphon.server.forking import give_up_port, give_up_socket
from antiphon.server.listen.accept import Take
from antiphon.server.listen.ports import Listening
from antiphon.server.signals import StopSignals
from antiphon.server.workers.channel import Channel
from antiphon.server.workers.limits import SupervisorCounts, SupervisorPlaces
from antiphon.server.workers.messages import (
    Beat,
    Client,
    Closed,
    Counted,
    Imported,
    Leaving,
    Look,
    Message,
    Ready,
    Released,
    Seen,
    Start,
    Stop,
    Taken,
)
from antiphon.settings import ServerSettings
from antiphon.user_code import ImportedSources

BEAT_SECONDS = 1.0
"""Pause between two heartbeats."""
SILENT_SECONDS = 10.0
"""Seconds without a heartbeat after which the stacks of the worker go to the log."""
STACKS_BUFFER = 4 * 1024 * 1024
"""Bytes; the system gives as much of it as it allows."""


class PassedSocket(socket.socket):
    """A socket that was accepted by the supervisor. It tells when it is closed."""

    closed: Callable[[], None] | None = None

    def close(self) -> None:
        """Close it."""
        super().close()
        closed, self.closed = self.closed, None
        if closed is not None:
            closed()


class SupervisorLink:
    """The `Entrance` of a worker."""

    announces_control = False

    def __init__(
        self, end: socket.socket, stacks: socket.socket, start: Start, sources: ImportedSources | None = None
    ) -> None:
        """Wait for `open`.

        Args:
            end: the socket to the supervisor.
            stacks: where the stacks of all threads are written when the event loop is silent.
            start: what the supervisor has said first.
            sources: those of the service, which the supervisor is told of.
        """
        self._end = end
        self._stacks = stacks
        self._start = start
        self._sources = sources
        self.announces = start.announces
        self.limits = SupervisorPlaces(self._send)
        self._counts = SupervisorCounts(self._send)
        self.hourly = self._counts.limits()
        self._channel: Channel
        self._signals: StopSignals
        self._take: Take | None = None
        """None before the worker accepts."""
        self._leaves = False
        """Whether the drain has begun: no more sockets are taken."""
        self._log: ServerLog
        self._passed: deque[tuple[Client, socket.socket | None]] = deque()
        """Sockets that came and are not taken: the supervisor does not know yet that they will be."""
        self._beating: asyncio.TimerHandle | None = None
        self._measured: Callable[[], ProcessReport]
        self._look: Callable[[LiveQuery], Awaitable[Live]]
        self._ended: Callable[[], list[ClosedSession]]
        self._told_closed: list[ClosedSession] = []
        """What the last heartbeat has said of it."""
        self._looking: set[asyncio.Task[None]] = set()
        for each in (end, stacks):
            each.set_inheritable(False)
            give_up_socket(each)
        give_up_port(start.port)

    def open(self, signals: StopSignals) -> None:
        """Begin to listen to the supervisor, in the running event loop; `signals` end the worker."""
        self._signals = signals
        self._channel = Channel(self._end, self._received, self._lost, Client)
        self._channel.drained = self._take_passed
        self._channel.start()

    def ready(
        self,
        text: str,
        measured: Callable[[], ProcessReport],
        look: Callable[[LiveQuery], Awaitable[Live]],
        closed: Callable[[], list[ClosedSession]],
    ) -> None:
        """Say that the worker serves; `text` says where.

        Each heartbeat says what it does, as `measured`, and who has left, as `closed`; `look` answers who is
        connected.
        """
        self._measured, self._look, self._ended = measured, look, closed
        self._stacks.setblocking(False)  # noqa: FBT003 - the socket module's signature; better a part than a wait
        # Stacks come in many small writes, each of which takes near a kilobyte of the buffer.
        self._stacks.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STACKS_BUFFER)
        self._tell_imports()
        self._send(Ready(text))
        self._beat()

    def close(self) -> None:
        """End with a last heartbeat, when the worker has drained."""
        if self._beating is not None:
            self._beating.cancel()
            self._send(self._beat_now())

    def _beat_now(self) -> Beat:
        before, self._told_closed = self._told_closed, self._ended()
        return Beat(self._measured(), None if self._told_closed == before else self._told_closed)

    # --- `Entrance` -------------------------------------------------------------------------------------------

    def listen(self, settings: ServerSettings, last_port: int | None) -> Listening:  # noqa: ARG002 - see `Entrance`
        """Return where the supervisor listens."""
        start = self._start
        return Listening((), start.port, start.moved_from, start.hosts, start.loopback)

    async def accept(self, take: Take, log: ServerLog) -> None:
        """See `Entrance`."""
        self._take, self._log = take, log
        self._take_passed()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._leaves = True
            self._send(Leaving())
            self._drop_passed()

    # --- the channel ------------------------------------------------------------------------------------------

    def _send(self, message: Message) -> None:
        self._channel.send(message)

    def _received(self, message: Message, client: socket.socket | None) -> None:
        if isinstance(message, Client):
            self._passed.append((message, client))
            self._drop_passed() if self._leaves else self._take_passed()
        elif isinstance(message, Counted):
            self._counts.answered(message)
        elif isinstance(message, Look):
            task = asyncio.get_running_loop().create_task(self._answer(message))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)
        elif isinstance(message, Stop):
            self._signals.begin(message.number)

    async def _answer(self, look: Look) -> None:
        try:
            self._send(Seen(look.id, await self._look(look.query)))
        except Exception:  # noqa: BLE001 - nobody waits for this task; who asked does without
            self._log.exception("fault")

    def _take_passed(self) -> None:
        """Take what was passed, each when `Taken` is with the system: what is answered here is no one else's."""
        while self._passed and self._take is not None and not self._leaves:
            if not self._channel.try_to_send(Taken()):
                return
            self._begin(*self._passed.popleft(), self._take)

    def _drop_passed(self) -> None:
        """Close what was passed and is not taken: the supervisor gives it to another worker."""
        for _, client in self._passed:
            if client is not None:
                client.close()
        self._passed.clear()

    def _begin(self, message: Client, client: socket.socket | None, take: Take) -> None:
        if client is None:
            self._log.error("accept-exhausted", problem=os.strerror(errno.EMFILE))
            self._send(Released(str(message.address[0]).partition("%")[0]))
            self._send(Closed())
            return
        passed = PassedSocket(fileno=client.detach())
        passed.closed = self._closed
        try:
            take(passed, message.address, message.accepted_at)
        except Exception:  # noqa: BLE001 - a fault with one client must not keep others out
            self._log.exception("fault")

    def _closed(self) -> None:
        self._send(Closed())

    def _lost(self) -> None:
        """End in order: nobody gives this worker connections any more, or starts another in its place."""
        self._signals.begin(signal.SIGTERM)

    # --- the heartbeat ----------------------------------------------------------------------------------------

    def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        self._beating = loop.call_later(BEAT_SECONDS, self._beat)
        if not self._channel.waiting:
            self._send(self._beat_now())
            self._tell_imports()
        if not self._signals.came:  # from then on the timer belongs to the stop
            faulthandler.dump_traceback_later(SILENT_SECONDS, file=self._stacks.fileno())

    def _tell_imports(self) -> None:
        if self._sources is not None and (sources := self._sources.take()):
            self._send(Imported(sources))
