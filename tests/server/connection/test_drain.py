"""`--drain-rate`: clients of a server that stops are sent away one after the other, and all of them in time."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from antiphon.server.connection.host import ConnectionHost
from antiphon.server.tasks import BackgroundTasks
from antiphon.testing import virtual_time
from support.joined import joined
from support.serving import seed


class Client:
    """A connection that notes when it was asked to say goodbye, and does so `after` seconds later."""

    def __init__(self, host: ConnectionHost, *, admitted: bool = True, after: float = 0) -> None:
        self.host, self.admitted, self.after = host, admitted, after
        self.asked: list[float] = []

    def drain(self) -> None:
        loop = asyncio.get_running_loop()
        self.asked.append(round(loop.time(), 6))
        loop.call_later(self.after, self.host.connections.discard, self)


def with_clients(count: int, **options: Any) -> tuple[ConnectionHost, list[Any]]:
    names = ("settings", "log", "limits", "hello", "auth", "channels", "handlers")
    parts: dict[str, Any] = dict.fromkeys(names)  # none of them is asked
    host = ConnectionHost(tasks=BackgroundTasks(), **parts)
    clients: list[Any] = [Client(host, **options) for _ in range(count)]
    host.connections.update(clients)
    return host, clients


async def drained(host: ConnectionHost, rate: float | None, seconds: float) -> None:
    host.drain(rate, seconds)
    assert host.stopping
    await asyncio.gather(*host.tasks)


@virtual_time
async def test_without_a_rate_all_are_asked_at_once() -> None:
    host, clients = with_clients(3)
    await drained(host, None, 5)
    assert [client.asked for client in clients] == [[0]] * 3


@virtual_time
async def test_so_many_are_asked_in_a_second_and_those_who_are_left_at_the_end() -> None:
    host, clients = with_clients(100)
    await drained(host, 10, 5)
    moments = sorted(client.asked[0] for client in clients)
    assert all(len(client.asked) == 1 for client in clients)
    assert [sum(second <= moment < second + 1 for moment in moments) for second in range(5)] == [10] * 5
    assert moments[:3] == [0, 0.1, 0.2]
    assert [moment for moment in moments if moment > 4.99] == pytest.approx([5] * 50, abs=0.2)


@virtual_time
async def test_a_fast_rate_asks_several_at_a_time() -> None:
    host, clients = with_clients(1000)
    await drained(host, 1000, 5)
    moments = sorted(client.asked[0] for client in clients)
    assert [sum(part <= 10 * moment < part + 1 for moment in moments) for part in range(10)] == pytest.approx(
        [100] * 10, abs=15
    )


@virtual_time
async def test_who_has_not_signed_in_is_told_at_once_and_who_has_gone_is_not_waited_for() -> None:
    host, (one, two, gone) = with_clients(3)
    one.admitted = False
    host.drain(0.5, 5)
    assert one.asked == [0]
    await asyncio.sleep(0.1)
    host.connections.discard(gone)
    host.connections.discard(two)
    await asyncio.gather(*host.tasks)
    assert asyncio.get_running_loop().time() < 1
    assert len(two.asked) + len(gone.asked) == 1


def test_who_is_not_asked_yet_is_served_as_ever(tmp_path: Path) -> None:
    tokens = seed(tmp_path / "data", sessions=2)
    with joined(tmp_path / "data") as server:
        clients = [server.session(token) for token in tokens]
        server.read(lambda each: each.host.drain(0.5, 10))
        server.let_pass(0.1)
        for client in clients:
            client.send(client.conversation.message("still there?")[1])
        first = [client.next() for client in clients]
        assert sorted(type(event).__name__ for event in first) == ["Control", "Frame"]  # a goodbye, and an answer
        states = server.read(lambda each: sorted(own.state.name for own in each.connections))
        assert states == ["DRAINING", "SESSION"]
