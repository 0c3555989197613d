"""Dispatch: which worker gets a socket, what waits, and what is given back."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from antiphon.server.listen.limits import AdmissionLimits
from antiphon.server.workers.dispatch import BACKLOG_MOST, STUCK_SECONDS, Dispatcher, Seat
from antiphon.server.workers.messages import Message

HOST = "192.0.2.1"


class Worker:
    """A worker that takes sockets while it has room."""

    def __init__(self, room: int = 10**6) -> None:
        self.room = room
        self.got: list[socket.socket] = []
        self.seat = Seat(self._pass)

    def _pass(self, _: Message, client: socket.socket) -> bool:
        if len(self.got) >= self.room:
            return False
        self.got.append(client)
        return True


class Hall:
    """A dispatcher, its limits, and sockets for it."""

    def __init__(self, *workers: Worker) -> None:
        self.limits = AdmissionLimits(1000, 0, 1000, 1000, lambda: 1.0)
        self.dispatcher = Dispatcher(self.limits)
        self.dispatcher.seats = [worker.seat for worker in workers]
        self.sockets: list[socket.socket] = []

    def arrive(self, count: int = 1, host: str = HOST) -> None:
        for _ in range(count):
            ours, theirs = socket.socketpair()
            self.sockets += [ours, theirs]
            self.dispatcher.take(theirs, (host, 1), 0.0)

    def open(self) -> int:
        """Return how many sockets the dispatcher has not closed."""
        return sum(each.fileno() >= 0 for each in self.sockets[1::2])


@pytest.fixture
def halls() -> Iterator[list[Hall]]:
    """Halls whose sockets are closed at the end."""
    halls: list[Hall] = []
    yield halls
    for hall in halls:
        for each in hall.sockets:
            each.close()


@contextlib.contextmanager
def hall(halls: list[Hall], *workers: Worker) -> Iterator[Hall]:
    halls.append(Hall(*workers))
    yield halls[-1]


async def test_the_worker_with_the_fewest_connections_gets_the_next(halls: list[Hall]) -> None:
    one, two, three = Worker(), Worker(), Worker()
    with hall(halls, one, two, three) as here:
        here.arrive(300)
        assert [len(worker.got) for worker in (one, two, three)] == [100, 100, 100]
        for _ in range(30):
            here.dispatcher.closed(two.seat)
        here.arrive(30)
        assert [len(worker.got) for worker in (one, two, three)] == [100, 130, 100]


async def test_equals_take_turns(halls: list[Hall]) -> None:
    workers = [Worker(), Worker(), Worker()]
    with hall(halls, *workers) as here:
        for _ in range(9):
            here.arrive()
            for worker in workers:
                if worker.seat.connections:
                    here.dispatcher.closed(worker.seat)
        assert [len(worker.got) for worker in workers] == [3, 3, 3]


async def test_a_worker_that_takes_no_more_is_passed_over_and_what_nobody_takes_waits(halls: list[Hall]) -> None:
    one, two = Worker(1), Worker(2)
    with hall(halls, one, two) as here:
        here.arrive(3 + BACKLOG_MOST - 1)
        assert (len(one.got), len(two.got)) == (1, 2)
        assert here.dispatcher.room.is_set()
        here.arrive()
        assert not here.dispatcher.room.is_set(), "no more is accepted"
        one.room = 10**6
        here.dispatcher.taken(one.seat)
        assert here.dispatcher.room.is_set()
        assert len(one.got) == 1 + BACKLOG_MOST
        assert here.open() == 2 + BACKLOG_MOST, "a duplicate is kept until the worker has the socket"


async def test_without_a_worker_nothing_is_accepted(halls: list[Hall]) -> None:
    with hall(halls) as here:
        here.dispatcher.go_on()
        assert not here.dispatcher.room.is_set()


async def test_what_a_dead_worker_had_not_acknowledged_goes_to_another(halls: list[Hall]) -> None:
    one, two = Worker(), Worker(0)
    with hall(halls, one, two) as here:
        here.arrive(5)
        here.dispatcher.taken(one.seat)
        here.dispatcher.taken(one.seat)
        two.room = 10**6
        here.dispatcher.seats = [two.seat]
        here.dispatcher.gone(one.seat)
        assert two.got == one.got[2:], "in their order"
        assert here.limits.count == 3, "the places of the others are free again"
        for _ in range(3):
            here.dispatcher.taken(two.seat)
            here.dispatcher.released(two.seat, HOST)
            here.dispatcher.closed(two.seat)
        assert here.limits.count == 0
        assert two.seat.connections == 0
        assert here.open() == 0


async def test_a_worker_that_leaves_keeps_what_it_has(halls: list[Hall]) -> None:
    one, two = Worker(), Worker()
    with hall(halls, one) as here:
        here.arrive(3)
        here.dispatcher.taken(one.seat)
        here.dispatcher.seats = [two.seat]
        here.dispatcher.take_back(one.seat)
        assert len(two.got) == 2
        assert (one.seat.connections, here.limits.count) == (1, 3)
        here.dispatcher.released(one.seat, HOST)
        here.dispatcher.released(one.seat, HOST)
        assert here.limits.count == 2, "it had one place only"


async def test_a_worker_that_leaves_sockets_lying_or_is_silent_is_passed_over(
    halls: list[Hall],
) -> None:
    one, two = Worker(), Worker()
    with hall(halls, one, two) as here:
        here.arrive()
        waiting, at = one.seat.passed.popleft()
        one.seat.passed.append((waiting, at - STUCK_SECONDS - 1))
        here.arrive(5)
        assert (len(one.got), len(two.got)) == (1, 5)
        here.dispatcher.taken(one.seat)
        two.seat.silent = True
        here.arrive(5)
        assert (len(one.got), len(two.got)) == (6, 5)


async def test_who_is_one_too_many_is_closed(halls: list[Hall]) -> None:
    one = Worker()
    with hall(halls, one) as here:
        here.limits = here.dispatcher.limits = AdmissionLimits(2, 0, 2, 2, lambda: 1.0)
        here.arrive(5)
        assert len(one.got) == 2
        assert here.limits.take_dropped() == 3
        assert here.open() == 2


async def test_what_waits_is_closed_at_the_end(halls: list[Hall]) -> None:
    with hall(halls) as here:
        here.arrive(3)
        here.dispatcher.close()
        assert (here.open(), here.limits.count) == (0, 0)
