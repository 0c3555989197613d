"""Messages asked one after another take a shorter path (`wire.exchange`); what a session promises holds there."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

from antiphon.client.aio.alone import PATIENCE
from antiphon.client.aio.session import ClientSession
from antiphon.client.protocol.session import ACK_EVERY
from antiphon.server.server import Server
from antiphon.testing import FaultProxy, LinkFault
from antiphon.wire.kinds import KIB
from support.inside import channels
from support.serving import seed
from support.sessions import server_here, session_of

MESSAGES = 3
CUTS, EVERY = 150, 7
"""Bytes at the end of a conversation, and between two of them at which a connection is cut."""


class Desk:
    """Answers with what it is asked, and counts it; "wait" is answered when it may be."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.may = asyncio.Event()
        self.begun = asyncio.Event()

    async def received(self, message: str) -> str:
        self.asked[message] += 1
        if message == "wait":
            self.begun.set()
            await self.may.wait()
        return message


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def token(tmp_path: Path) -> bytes:
    return seed(tmp_path / "data")[0]


@pytest.fixture
async def server(tmp_path: Path, desk: Desk, token: bytes) -> AsyncIterator[Server]:
    async with server_here(tmp_path / "data", desk) as server:
        yield server


@pytest.fixture
async def session(server: Server, token: bytes) -> AsyncIterator[ClientSession]:
    async with session_of(server.addresses[0], token) as session:
        await session.ask("first")  # perhaps before the session reads by itself
        await session.ask("second")
        yield session


def is_alone(session: ClientSession) -> bool:
    """Return whether the messages of a session take the shorter path."""
    return session._exchange.open


async def converse(session: ClientSession, run: int) -> None:
    """Ask some messages, one after another."""
    expected = [f"{number} {run}" for number in range(MESSAGES)]
    assert [await session.ask(message) for message in expected] == expected


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_connection_that_is_cut_at_any_byte_loses_nothing_and_does_nothing_twice(
    server: Server, token: bytes, desk: Desk, direction: Literal["up", "down"]
) -> None:
    runs: list[int] = []

    async with FaultProxy(server.addresses[0]) as proxy, session_of(proxy.address, token) as session:
        await converse(session, 0)
        assert is_alone(session)
        for cut_at in range(whole := proxy.passed[direction], whole - CUTS, -EVERY):
            proxy.faults = {proxy.connections: LinkFault(direction, cut_at=cut_at)}.get
            await proxy.cut()
            await converse(session, cut_at)
            runs.append(cut_at)
    assert len(runs) > 10
    assert set(desk.asked.values()) == {1}, "nothing was done twice"


async def test_a_message_that_comes_beside_one_on_its_way_ends_the_shorter_path_for_some_time(
    session: ClientSession, desk: Desk
) -> None:
    assert is_alone(session)
    first = asyncio.create_task(session.ask("wait"))
    await desk.begun.wait()
    second = asyncio.create_task(session.ask("second"))
    await asyncio.sleep(0)
    assert not is_alone(session)
    desk.may.set()
    assert [await first, await second] == ["wait", "second"]
    seen = [await session.ask(f"{number}") and is_alone(session) for number in range(PATIENCE + 1)]
    assert seen == [False] * PATIENCE + [True]


async def test_the_server_is_told_what_has_come(server: Server, session: ClientSession) -> None:
    for number in range(5 * ACK_EVERY // (8 * KIB)):
        await session.ask(f"{number} ".ljust(8 * KIB))
    [channel] = channels(server)
    assert sum(map(len, channel.replay.frames())) < ACK_EVERY + 16 * KIB


async def test_the_server_is_told_what_has_come_between_heartbeats(server: Server, session: ClientSession) -> None:
    for number in range(5 * ACK_EVERY // (8 * KIB)):
        await session.ask(f"{number} ".ljust(8 * KIB))
        session.connection._tick()  # not due, since something was sent: no HEARTBEAT, and no ACK with it
        assert not is_alone(session)
    [channel] = channels(server)
    assert sum(map(len, channel.replay.frames())) < ACK_EVERY + 16 * KIB


async def test_a_heartbeat_knows_what_has_come_and_gone(session: ClientSession) -> None:
    connection = session.connection
    heartbeat = connection._protocol.heartbeat
    connection._tick()
    before = heartbeat._heard_at, heartbeat._spoke_at
    assert await session.ask("hello") == await session.ask("hello")
    assert is_alone(session)
    connection._tick()
    assert not is_alone(session)
    assert heartbeat._heard_at > before[0]
    assert heartbeat._spoke_at > before[1]


async def test_a_value_is_asked_alone_too(session: ClientSession) -> None:
    assert await session.ask({"number": 1}) == '{"number":1}'
    assert is_alone(session)


async def test_a_task_that_is_cancelled_while_it_waits_leaves_the_session_as_it_was(
    session: ClientSession, desk: Desk
) -> None:
    waiting = asyncio.create_task(session.ask("wait"))
    await desk.begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    desk.may.set()
    assert [await session.ask(f"{number}") for number in range(3)] == ["0", "1", "2"]
