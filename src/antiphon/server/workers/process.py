"""Worker process, as its supervisor sees it: its life, its heartbeat, its stacks."""

import asyncio
import contextlib
import enum
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from antiphon.errors import AntiphonError, WorkerEnded, every_error
from antiphon.server.control.live import ClosedSession, Live, LiveQuery
from antiphon.server.control.report import ProcessReport
from antiphon.server.listen.limits import RegistrationLimits, SourceFailures
from antiphon.server.topics.hub import Hub
from antiphon.server.workers.channel import Channel
from antiphon.server.workers.dispatch import Dispatcher, Seat
from antiphon.server.workers.hub_end import HubEnd
from antiphon.server.workers.messages import (
    Beat,
    Closed,
    Count,
    Counted,
    Failed,
    Forgive,
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

STACKS_SECONDS = 0.3
"""Pause after which the stacks of a worker are taken to be complete."""
LOOKS_MOST = 16
"""Questions of those who look that one worker answers at once."""
STACKS_MOST = 65_536
"""Bytes of stacks that are read; further ones are dropped."""


class State(enum.Enum):
    """State of a worker."""

    STARTING = "starting"
    SERVING = "serving"
    LEAVING = "leaving"
    """It drains."""
    ENDED = "ended"


class Owner(Protocol):
    """The supervisor, as a worker's process calls it."""

    dispatcher: Dispatcher
    """Passes the sockets of clients on."""
    limits: Mapping[str, RegistrationLimits | SourceFailures]
    """The limits for each hour of the server, by what is counted."""

    def ready(self, worker: "WorkerProcess", text: str) -> None:
        """The worker serves; `text` says where."""

    def imported(self, worker: "WorkerProcess", sources: Iterable[str]) -> None:
        """The worker has imported files of user code."""

    def leaves(self, worker: "WorkerProcess") -> None:
        """The worker takes no more sockets."""

    def stacks(self, worker: "WorkerProcess", text: str) -> None:
        """The worker has been silent, and has shown where its threads are."""

    def lost(self, worker: "WorkerProcess") -> None:
        """The worker has closed its channel: it has ended, or is about to."""


class WorkerProcess:
    """One worker, from its start to its end."""

    def __init__(self, owner: Owner, hub: Hub) -> None:
        """Start the process, which imports what every worker needs, and waits for `begin`; `hub` has its topics.

        Raises:
            OSError: the system cannot start a process.
        """
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self.number: int
        """Its place among the workers, from 0."""
        self.state = State.STARTING
        self.began_at = self.heard_at = self._loop.time()
        """Loop time of `begin`, and of the last heartbeat."""
        self.began_at_ns: int
        """Wall time of `begin` in nanoseconds since 1970."""
        self.left_at: float | None = None
        """Loop time at which it was told to stop."""
        self.exit_code: int | None = None
        self.killed = False
        """Whether the supervisor has killed it."""
        self.report: ProcessReport | None = None
        """What its last heartbeat has said of it."""
        self.closed: list[ClosedSession] = []
        """Sessions that had closed last at its last heartbeat, the newest first."""
        self._look_id = 0
        self._looks: dict[int, asyncio.Future[Live]] = {}
        """Looks that it has not answered, by their ids."""
        self.served = False
        """Whether it was ever ready."""
        self.sources: set[str] = set()
        """Files of user code that it has imported, with `--reload`."""
        self.settled = asyncio.Event()
        """Set once it serves or has ended."""
        self.ended = asyncio.Event()
        self._failure: AntiphonError | None = None
        self._shown = bytearray()
        self._showing: asyncio.TimerHandle | None = None
        ours, theirs = socket.socketpair()
        self._stacks, stacks = socket.socketpair()
        topics, their_topics = socket.socketpair()
        with theirs, stacks, their_topics:
            descriptors = theirs.fileno(), stacks.fileno(), their_topics.fileno()
            try:
                self._process = _started(descriptors)
            except OSError:
                for each in (ours, topics, self._stacks):
                    each.close()
                raise
        self.pid = self._process.pid
        self._channel = Channel(ours, self._received, self._lost)
        self.seat = Seat(self._channel.try_to_pass)
        self._channel.start()
        self._topics = HubEnd(hub, topics)
        self._stacks.setblocking(False)  # noqa: FBT003 - the socket module's signature
        self._loop.add_reader(self._stacks, self._read_stacks)

    def begin(self, number: int, start: Start) -> None:
        """Have it serve at the place `number` what `start` says."""
        self.number = number
        self.began_at = self.heard_at = self._loop.time()
        self.began_at_ns = time.time_ns()
        self._channel.send(start)

    def stop(self, number: int) -> None:
        """Have it drain and end as after the signal `number`; if it does not serve yet, end it."""
        if self.left_at is None:
            self.left_at = self._loop.time()
            self._channel.send(Stop(number))
            if self.state is State.STARTING and self.exit_code is None:  # it may be loading for long
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGTERM)

    def discard(self) -> None:
        """Kill it, and wait for its end. Precondition: it was not told to begin."""
        self.kill()
        self._process.wait()
        self.has_ended()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self.exit_code is None:
            self.killed = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def has_ended(self) -> bool:
        """Return whether it has ended; if so, everything of it is closed."""
        if self.exit_code is None:
            self.exit_code = self._process.poll()
            if self.exit_code is not None:
                self._channel.finish()
                self._channel.close()
                self._topics.close()
                self._close_stacks()
                self.state = State.ENDED
                self.settled.set()
                self.ended.set()
        return self.exit_code is not None

    @property
    def end(self) -> str:
        """How it has ended: the name of a signal, or the exit code."""
        code = self.exit_code or 0
        return signal.Signals(-code).name if code < 0 else f"{code}"

    @property
    def failure(self) -> AntiphonError:
        """Why it has ended without serving."""
        return self._failure or WorkerEnded(end=self.end)

    def look(self, query: LiveQuery) -> "asyncio.Future[Live] | None":
        """Ask which sessions are connected; return None if it still has to answer what others asked.

        Cancel the future when nobody waits for it any more.
        """
        if len(self._looks) >= LOOKS_MOST or self._channel.waiting:
            return None
        self._look_id += 1
        id, asked = self._look_id, self._loop.create_future()
        self._looks[id] = asked
        asked.add_done_callback(lambda _: self._looks.pop(id, None))
        self._channel.send(Look(id, query))
        return asked

    # --- messages ---------------------------------------------------------------------------------------------

    def _received(self, message: Message, _: socket.socket | None) -> None:
        owner = self._owner
        match message:
            case Beat():
                self.report = message.report
                if message.closed is not None:
                    self.closed = message.closed
                self.heard_at = self._loop.time()
                self.seat.silent = False
            case Seen():
                asked = self._looks.pop(message.id, None)
                if asked is not None and not asked.done():
                    asked.set_result(message.live)
            case Taken():
                owner.dispatcher.taken(self.seat)
            case Closed():
                owner.dispatcher.closed(self.seat)
            case Released():
                owner.dispatcher.released(self.seat, message.host)
            case Count():
                self._channel.send(Counted(message.id, owner.limits[message.what].count_now(message.host)))
            case Forgive():
                owner.limits[message.what].forgive(message.host)
            case Ready():
                self.state, self.heard_at, self.served = State.SERVING, self._loop.time(), True
                self.settled.set()
                owner.ready(self, message.text)
            case Imported():
                self._imported(message.sources)
            case Leaving():
                self.state = State.LEAVING
                owner.leaves(self)
            case Failed():
                self._failure = _error(message)
                self._imported(message.sources)

    def _imported(self, sources: tuple[str, ...]) -> None:
        self.sources.update(sources)
        if sources:
            self._owner.imported(self, sources)

    def _lost(self) -> None:
        self._owner.lost(self)

    # --- stacks -----------------------------------------------------------------------------------------------

    def _read_stacks(self) -> None:
        try:
            data = self._stacks.recv(STACKS_MOST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close_stacks()
            return
        self._shown += data[: STACKS_MOST - len(self._shown)]
        if self._showing is None:
            self._showing = self._loop.call_later(STACKS_SECONDS, self._show)

    def _show(self) -> None:
        text, self._shown, self._showing = self._shown.decode(errors="replace"), bytearray(), None
        self._owner.stacks(self, text)

    def _close_stacks(self) -> None:
        if self._stacks.fileno() >= 0:
            self._loop.remove_reader(self._stacks)
            self._stacks.close()


def _started(descriptors: tuple[int, ...]) -> "subprocess.Popen[bytes]":
    """Start the process of a worker, in which SIGINT waits until the worker has a handler for it.

    A terminal sends Ctrl-C to every process of its group, also to one whose interpreter is just starting.

    Raises:
        OSError: the system cannot start a process.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen(  # noqa: S603 - nothing of it is input
            [sys.executable, "-P", "-m", "antiphon.server.workers", *map(str, descriptors)],
            stdin=subprocess.DEVNULL,
            pass_fds=descriptors,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _error(failed: Failed) -> AntiphonError:
    """Return the error that a worker has told in words."""
    kind = next((each for each in every_error() if each.code == failed.code), AntiphonError)
    error = kind()
    error.told = failed.text, failed.advice
    return error
