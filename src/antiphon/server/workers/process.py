"""Worker process, as its supervisor sees it: its life, its heartbeat, its stacks."""

import asyncio
import contextlib
import enum
import os
import signal
import socket
import subprocess
import sys
from typing import Protocol

from antiphon.errors import AntiphonError, WorkerEnded, every_error
from antiphon.server.topics.hub import Hub
from antiphon.server.workers.channel import Channel
from antiphon.server.workers.dispatch import Seat
from antiphon.server.workers.hub_end import HubEnd
from antiphon.server.workers.messages import (
    Beat,
    Closed,
    Count,
    Counted,
    Failed,
    Leaving,
    Message,
    Ready,
    Released,
    Start,
    Stop,
    Taken,
)

STACKS_SECONDS = 0.3
"""Pause after which the stacks of a worker are taken to be complete."""
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

    def ready(self, worker: "WorkerProcess", text: str) -> None:
        """The worker serves; `text` says where."""

    def leaves(self, worker: "WorkerProcess") -> None:
        """The worker takes no more sockets."""

    def taken(self, worker: "WorkerProcess") -> None:
        """It has the first socket that it had not acknowledged."""

    def closed(self, worker: "WorkerProcess") -> None:
        """It has closed a connection."""

    def released(self, worker: "WorkerProcess", host: str) -> None:
        """A connection from `host` has given its place back."""

    def count(self, host: str) -> float:
        """Count a registration; see `Registrations`."""

    def stacks(self, worker: "WorkerProcess", text: str) -> None:
        """The worker has been silent, and has shown where its threads are."""

    def lost(self, worker: "WorkerProcess") -> None:
        """The worker has closed its channel: it has ended, or is about to."""


class WorkerProcess:
    """One worker, from its start to its end."""

    def __init__(self, owner: Owner, number: int, start: Start, hub: Hub) -> None:
        """Start the process; `number` is its place among the workers, from 0, and `hub` has its topics.

        Raises:
            OSError: the system cannot start a process.
        """
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self.number = number
        self.state = State.STARTING
        self.began_at = self.heard_at = self._loop.time()
        """Loop time of its start, and of the last heartbeat."""
        self.left_at: float | None = None
        """Loop time at which it was told to stop."""
        self.exit_code: int | None = None
        self.killed = False
        """Whether the supervisor has killed it."""
        self.served = False
        """Whether it was ever ready."""
        self.settled = asyncio.Event()
        """Set once it serves or has ended."""
        self._failure: AntiphonError | None = None
        self._shown = bytearray()
        self._showing: asyncio.TimerHandle | None = None
        ours, theirs = socket.socketpair()
        self._stacks, stacks = socket.socketpair()
        topics, their_topics = socket.socketpair()
        with theirs, stacks, their_topics:
            descriptors = theirs.fileno(), stacks.fileno(), their_topics.fileno()
            try:
                self._process = subprocess.Popen(  # noqa: S603 - nothing of it is input
                    [sys.executable, "-P", "-m", "antiphon.server.workers", *map(str, descriptors)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=descriptors,
                )
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
        self._channel.send(start)

    def stop(self, number: int) -> None:
        """Have it drain and end as after the signal `number`."""
        if self.left_at is None:
            self.left_at = self._loop.time()
            self._channel.send(Stop(number))

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
        return self.exit_code is not None

    @property
    def failure(self) -> AntiphonError:
        """Why it has ended without serving."""
        code = self.exit_code or 0
        end = signal.Signals(-code).name if code < 0 else f"{code}"
        return self._failure or WorkerEnded(end=end)

    # --- messages ---------------------------------------------------------------------------------------------

    def _received(self, message: Message, _: socket.socket | None) -> None:
        owner = self._owner
        match message:
            case Beat():
                self.heard_at = self._loop.time()
                self.seat.silent = False
            case Taken():
                owner.taken(self)
            case Closed():
                owner.closed(self)
            case Released():
                owner.released(self, message.host)
            case Count():
                self._channel.send(Counted(message.id, owner.count(message.host)))
            case Ready():
                self.state, self.heard_at, self.served = State.SERVING, self._loop.time(), True
                self.settled.set()
                owner.ready(self, message.text)
            case Leaving():
                self.state = State.LEAVING
                owner.leaves(self)
            case Failed():
                self._failure = _error(message)

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


def _error(failed: Failed) -> AntiphonError:
    """Return the error that a worker has told in words."""
    kind = next((each for each in every_error() if each.code == failed.code), AntiphonError)
    error = kind()
    error.told = failed.text, failed.advice
    return error
