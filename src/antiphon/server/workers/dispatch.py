"""Dispatch: gives each accepted socket to the worker with the fewest connections.

Passing never blocks: if a worker takes no more, the next one gets the socket, and if none does, the socket waits
here. A duplicate is kept until the worker has the socket, so that those of a worker that dies go to another.
"""

import asyncio
import itertools
import socket
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from antiphon.server.listen.limits import AdmissionLimits
from antiphon.server.workers.messages import Client, Message

BACKLOG_MOST = 64
"""Sockets that wait here while no worker takes one; further ones wait in the system's backlog, 4,096 of them."""
STUCK_SECONDS = 1.0
"""A worker that has left a socket for so long is passed over while others take theirs."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An accepted socket that no worker has yet."""

    client: socket.socket
    message: Client
    host: str


class Seat:
    """One worker, as the dispatcher sees it."""

    def __init__(self, try_to_pass: Callable[[Message, socket.socket], bool]) -> None:
        """Begin with no connection; `try_to_pass` is that of the worker's channel."""
        self.try_to_pass = try_to_pass
        self.connections = 0
        """Sockets that were passed and are not closed."""
        self.places: Counter[str] = Counter()
        """Places in the admission limits that its connections hold, by their hosts."""
        self.passed: deque[tuple[Waiting, float]] = deque()
        """Sockets that it has not acknowledged, and when they were passed."""
        self.turn = 0
        """Number of the last socket that was passed to it: equals take turns."""
        self.silent = False
        """Whether its event loop has not run for a while."""


class Dispatcher:
    """The sockets on their way from the listening socket to the workers."""

    def __init__(self, limits: AdmissionLimits) -> None:
        """Admit within `limits`."""
        self.limits = limits
        self.seats: Sequence[Seat] = ()
        """The workers that take connections."""
        self.room = asyncio.Event()
        """Set while more may be accepted."""
        self._backlog: deque[Waiting] = deque()
        self._turns = itertools.count(1)

    def take(self, client: socket.socket, address: tuple[Any, ...], accepted_at: float) -> None:
        """Admit a socket that was accepted at a moment of loop time; pass it on as soon as a worker takes it."""
        host = str(address[0]).partition("%")[0]
        if not self.limits.admit(host):
            client.close()
            return
        self._backlog.append(Waiting(client, Client(address, accepted_at), host))
        self.go_on()

    def go_on(self) -> None:
        """Pass on what waits: a worker may take sockets again."""
        now = asyncio.get_running_loop().time()
        while self._backlog and self._pass(self._backlog[0], now):
            self._backlog.popleft()
        if len(self._backlog) < BACKLOG_MOST and self.seats:
            self.room.set()
        else:
            self.room.clear()

    def _pass(self, waiting: Waiting, now: float) -> bool:
        def order(seat: Seat) -> tuple[bool, int, int]:
            stuck = bool(seat.passed) and now - seat.passed[0][1] > STUCK_SECONDS
            return stuck or seat.silent, seat.connections, seat.turn

        for seat in sorted(self.seats, key=order):
            if seat.try_to_pass(waiting.message, waiting.client):
                seat.connections += 1
                seat.turn = next(self._turns)
                seat.places[waiting.host] += 1
                seat.passed.append((waiting, now))
                return True
        return False

    def taken(self, seat: Seat) -> None:
        """Note that a worker has the first socket that it had not acknowledged."""
        if seat.passed:
            waiting, _ = seat.passed.popleft()
            waiting.client.close()
        if self._backlog:
            self.go_on()

    def closed(self, seat: Seat) -> None:
        """Note that a worker has closed a connection."""
        seat.connections -= 1

    def released(self, seat: Seat, host: str) -> None:
        """Give back the place of a worker's connection from `host`."""
        if seat.places[host]:
            seat.places[host] -= 1
            if not seat.places[host]:
                del seat.places[host]
            self.limits.release(host)

    def take_back(self, seat: Seat) -> None:
        """Give to others what a worker has not acknowledged, and never will. Precondition: it has no seat here."""
        for waiting, _ in reversed(seat.passed):
            seat.connections -= 1
            seat.places[waiting.host] -= 1
            self._backlog.appendleft(waiting)
        seat.passed.clear()
        self.go_on()

    def gone(self, seat: Seat) -> None:
        """Give back everything of a worker that has ended. Precondition: it has no seat here."""
        self.take_back(seat)
        for host in seat.places.elements():
            self.limits.release(host)
        seat.places.clear()
        seat.connections = 0

    def close(self) -> None:
        """Close what waits."""
        while self._backlog:
            waiting = self._backlog.popleft()
            waiting.client.close()
            self.limits.release(waiting.host)
