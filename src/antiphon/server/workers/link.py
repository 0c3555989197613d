"""Link of a worker to its supervisor: the worker's `Entrance`, its heartbeat, and what ends it."""

import asyncio
import errno
import faulthandler
import itertools
import os
import signal
import socket
from collections.abc import Callable

from antiphon.errors import TryLater
from antiphon.observe.log import ServerLog
from antiphon.server.forking import give_up_port, give_up_socket
from antiphon.server.listen.accept import Take
from antiphon.server.listen.ports import Listening
from antiphon.server.signals import StopSignals
from antiphon.server.workers.channel import Channel
from antiphon.server.workers.messages import (
    Beat,
    Client,
    Closed,
    Count,
    Counted,
    Leaving,
    Message,
    Ready,
    Released,
    Start,
    Stop,
    Taken,
)
from antiphon.settings import ServerSettings

BEAT_SECONDS = 1.0
"""Pause between two heartbeats."""
SILENT_SECONDS = 10.0
"""Seconds without a heartbeat after which the stacks of the worker go to the log."""
STACKS_BUFFER = 4 * 1024 * 1024
"""Bytes; the system gives as much of it as it allows."""
COUNT_SECONDS = 3.0
"""Longest wait for the supervisor to count a registration."""


class PassedSocket(socket.socket):
    """A socket that was accepted by the supervisor. It tells when it is closed."""

    closed: Callable[[], None] | None = None

    def close(self) -> None:
        """Close it."""
        super().close()
        closed, self.closed = self.closed, None
        if closed is not None:
            closed()


class SupervisorPlaces:
    """The admission limits of the supervisor, which has admitted whatever comes here."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        """Give places back by `send`."""
        self._send = send
        self.count = 0

    def admit(self, address: str) -> bool:  # noqa: ARG002 - see `Places`
        """Return True."""
        self.count += 1
        return True

    def release(self, address: str) -> None:
        """Give the place back."""
        self.count -= 1
        self._send(Released(address))

    def take_dropped(self) -> int:
        """Return 0: the supervisor logs what it drops."""
        return 0


class SupervisorLink:
    """The `Entrance` of a worker, and its `Registrations`."""

    def __init__(self, end: socket.socket, stacks: socket.socket, start: Start) -> None:
        """Wait for `open`.

        Args:
            end: the socket to the supervisor.
            stacks: where the stacks of all threads are written when the event loop is silent.
            start: what the supervisor has said first.
        """
        self._end = end
        self._stacks = stacks
        self._start = start
        self.announces = start.announces
        self.limits = SupervisorPlaces(self._send)
        self.registrations = self
        self._channel: Channel
        self._signals: StopSignals
        self._take: Take | None = None
        """None before the worker accepts."""
        self._leaves = False
        """Whether the drain has begun: no more sockets are taken."""
        self._log: ServerLog
        self._counts: dict[int, asyncio.Future[float]] = {}
        self._numbers = itertools.count()
        self._beating: asyncio.TimerHandle | None = None
        for each in (end, stacks):
            each.set_inheritable(False)
            give_up_socket(each)
        give_up_port(start.port)

    def open(self, signals: StopSignals) -> None:
        """Begin to listen to the supervisor, in the running event loop; `signals` end the worker."""
        self._signals = signals
        self._channel = Channel(self._end, self._received, self._lost, Client)
        self._channel.start()

    def ready(self, text: str) -> None:
        """Say that the worker serves; `text` says where."""
        self._stacks.setblocking(False)  # noqa: FBT003 - the socket module's signature; better a part than a wait
        # Stacks come in many small writes, each of which takes near a kilobyte of the buffer.
        self._stacks.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STACKS_BUFFER)
        self._send(Ready(text))
        self._beat()

    def close(self) -> None:
        """Stop the heartbeat, when the worker has drained."""
        if self._beating is not None:
            self._beating.cancel()

    # --- `Entrance` -------------------------------------------------------------------------------------------

    def listen(self, settings: ServerSettings, last_port: int | None) -> Listening:  # noqa: ARG002 - see `Entrance`
        """Return where the supervisor listens."""
        start = self._start
        return Listening((), start.port, start.moved_from, start.hosts, start.loopback)

    async def accept(self, take: Take, log: ServerLog) -> None:
        """See `Entrance`."""
        self._take, self._log = take, log
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._leaves = True
            self._send(Leaving())

    async def count(self, address: str) -> float:
        """See `Registrations`."""
        number = next(self._numbers)
        answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._counts[number] = answer
        self._send(Count(number, address))
        try:
            async with asyncio.timeout(COUNT_SECONDS):
                return await answer
        except TimeoutError:
            raise TryLater from None
        finally:
            del self._counts[number]

    # --- the channel ------------------------------------------------------------------------------------------

    def _send(self, message: Message) -> None:
        self._channel.send(message)

    def _received(self, message: Message, client: socket.socket | None) -> None:
        if isinstance(message, Client):
            self._begin(message, client)
        elif isinstance(message, Counted):
            if (answer := self._counts.get(message.id)) is not None and not answer.done():
                answer.set_result(message.wait)
        elif isinstance(message, Stop):
            self._signals.begin(message.number)

    def _begin(self, message: Client, client: socket.socket | None) -> None:
        if self._leaves:  # the supervisor gives it to another worker
            if client is not None:
                client.close()
            return
        if self._take is None:  # the task that accepts has not begun
            asyncio.get_running_loop().call_soon(self._begin, message, client)
            return
        self._send(Taken())
        if client is None:
            self._log.error("accept-exhausted", problem=os.strerror(errno.EMFILE))
            self._send(Released(str(message.address[0]).partition("%")[0]))
            self._send(Closed())
            return
        passed = PassedSocket(fileno=client.detach())
        passed.closed = self._closed
        try:
            self._take(passed, message.address, message.accepted_at)
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
        if not self._channel.waits:
            self._send(Beat())
        if not self._signals.came:  # from then on the timer belongs to the stop
            faulthandler.dump_traceback_later(SILENT_SECONDS, file=self._stacks.fileno())
