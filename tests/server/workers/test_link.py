"""The worker's end of the channel: when it takes a socket, and what it has its supervisor count."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from antiphon.errors import TryLater
from antiphon.observe.log import ServerLog
from antiphon.server.listen.limits import HourlyLimit
from antiphon.server.signals import StopSignals
from antiphon.server.workers import limits
from antiphon.server.workers.channel import Channel
from antiphon.server.workers.link import SupervisorLink
from antiphon.server.workers.messages import (
    Client,
    Count,
    Counted,
    Forgive,
    Leaving,
    Message,
    Released,
    Start,
    Taken,
)
from antiphon.settings import ProgramSettings, ServerSettings

HOST = "192.0.2.1"
START = Start(
    service="echo",
    settings=ServerSettings(),
    program=ProgramSettings(),
    language="en",
    as_json=True,
    workers=2,
    pid=1,
    announces=False,
    port=1,
    moved_from=None,
    hosts=("localhost",),
    loopback=True,
)


class Pair:
    """A link, and the supervisor's end, which reads only after `read`."""

    def __init__(self) -> None:
        self.sockets = [*socket.socketpair(), *socket.socketpair()]
        ours, theirs, stacks, _ = self.sockets
        self.got: list[Message] = []
        self.here = Channel(ours, lambda message, _: self.got.append(message), lambda: None)
        self.link = SupervisorLink(theirs, stacks, START)
        self.link.open(StopSignals(lambda _: None, lambda: None))
        self.taken: list[int] = []
        """Ports of the clients whose sockets were taken."""

    def take(self, client: socket.socket, address: tuple[Any, ...], _: float) -> None:
        """Take a socket, as a server does."""
        client.close()
        self.taken.append(address[1])

    def accept(self) -> asyncio.Task[None]:
        """Begin to accept."""
        log: ServerLog = None  # type: ignore[assignment] # nothing is logged
        return asyncio.ensure_future(self.link.accept(self.take, log))

    def arrive(self, port: int) -> socket.socket:
        """Pass the socket of a client to the worker; return the client's end."""
        near, far = socket.socketpair()
        self.sockets.append(near)
        with far:
            assert self.here.try_to_pass(Client((HOST, port), 0.0), far)
        return near

    def fill(self) -> int:
        """Send until the system takes no more; return how many messages that were."""
        sent = 0
        while not self.link._channel.waiting:
            self.link.limits.release(HOST)
            sent += 1
        return sent

    def read(self) -> None:
        """Have the supervisor read from now on."""
        self.here.start()

    async def until(self, count: int) -> list[Message]:
        """Return the first messages, once there are so many."""
        async with asyncio.timeout(60):
            while len(self.got) < count:
                await asyncio.sleep(0.001)
        return self.got[:count]

    async def answer(self, wait: float) -> None:
        """Answer the only question."""
        (asked,) = [message for message in self.got if isinstance(message, Count)]
        self.here.send(Counted(asked.id, wait))


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    pairs: list[Pair] = []
    yield pairs
    for pair in pairs:
        for each in pair.sockets:
            each.close()


@pytest.fixture
async def pair(pairs: list[Pair]) -> Pair:
    pairs.append(Pair())
    return pairs[0]


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0.001)


async def test_a_socket_is_taken_when_the_supervisor_cannot_miss_it_any_more(pair: Pair) -> None:
    accepting = pair.accept()
    await turns(1)
    sent = pair.fill()  # the supervisor is frozen
    for port in range(3):
        pair.arrive(port)
    await turns()
    assert pair.taken == [], "if this worker died now, another would answer these clients"
    pair.read()
    got = await pair.until(sent)
    assert got[:sent] == [Released(HOST)] * sent
    await pair.until(sent + 6)
    assert (pair.got.count(Taken()), pair.taken) == (3, [0, 1, 2])
    accepting.cancel()
    await pair.until(sent + 7)


async def test_what_is_not_taken_when_the_drain_begins_is_left_to_others(pair: Pair) -> None:
    accepting = pair.accept()
    await turns(1)
    sent = pair.fill()
    client = pair.arrive(7)
    await turns()
    accepting.cancel()
    await asyncio.wait([accepting])
    late = pair.arrive(8)
    pair.read()
    assert [each for each in await pair.until(sent + 1) if not isinstance(each, Released)] == [Leaving()]
    await turns()
    assert (pair.taken, Taken() in pair.got) == ([], False)
    assert client.recv(1) == b"", "this process has closed it"
    assert late.recv(1) == b""


async def test_sockets_that_come_before_the_server_accepts_are_taken_then(pair: Pair) -> None:
    pair.read()
    for port in range(3):
        pair.arrive(port)
    await turns()
    assert pair.got == []
    accepting = pair.accept()
    await pair.until(6)
    assert pair.taken == [0, 1, 2]
    accepting.cancel()


@pytest.mark.parametrize("what", ["registrations", "failures", "invitations"])
@pytest.mark.parametrize("wait", [0.0, 17.0])
async def test_the_supervisor_counts(pair: Pair, what: str, wait: float) -> None:
    pair.read()
    limit: HourlyLimit = getattr(pair.link.hourly, what)
    counting = asyncio.ensure_future(limit.count(HOST))
    assert await pair.until(1) == [Count(0, what, HOST)]  # type: ignore[arg-type] # it is one of three
    await pair.answer(wait)
    assert await counting == wait
    limit.forgive(HOST)
    assert (await pair.until(2))[-1] == Forgive(what, HOST)  # type: ignore[arg-type]


@pytest.mark.parametrize("why", ["frozen", "gone"])
@pytest.mark.parametrize("wait", [0.0, 17.0])
async def test_what_is_counted_too_late_is_taken_back(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, why: str, wait: float
) -> None:
    if why == "frozen":
        monkeypatch.setattr(limits, "COUNT_SECONDS", 0.05)
    counting = asyncio.ensure_future(pair.link.hourly.failures.count(HOST))
    await turns(1)
    if why == "gone":  # the client
        counting.cancel()
    with pytest.raises(TryLater if why == "frozen" else asyncio.CancelledError):
        await counting
    pair.read()
    await pair.until(1)
    await pair.answer(wait)
    await turns()
    assert pair.got[1:] == ([] if wait else [Forgive("failures", HOST)])
