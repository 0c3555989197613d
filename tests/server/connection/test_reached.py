"""A service that sees messages only and reaches sessions by the server: the fast path keeps nobody waiting."""

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path

import pytest

from antiphon.services import Session
from antiphon.wire.bodies import Bye
from antiphon.wire.conversation import Control
from antiphon.wire.kinds import KIB
from support.desk import told
from support.joined import JoinedClient, JoinedServer, joined
from support.serving import seed

COUNT = 600
"""Messages of 1 KiB: more than a connection or a replay buffer takes."""


async def answer(message: str) -> str:
    return message


@pytest.fixture
def server(tmp_path: Path) -> Iterator[JoinedServer]:
    with joined(tmp_path / "data", answer) as running:
        yield running


@pytest.fixture
def client(server: JoinedServer, tmp_path: Path) -> JoinedClient:
    client = server.session(seed(tmp_path / "data", "ann")[0])
    assert client.ask("hello") == "hello"
    return client


def begin(server: JoinedServer, work: Coroutine[None, None, None]) -> None:
    """Begin some work of the service beside its sessions."""
    server.read(lambda server: server.host.tasks.start(work))


def only_session(server: JoinedServer) -> Session:
    (session,) = server.host.handlers.server.sessions()
    return session


def take_all(server: JoinedServer, client: JoinedClient, *, acknowledges: int) -> None:
    """Take all messages; no time passes, since nobody has to wait for anything else."""
    began = server.now
    for number in range(COUNT):
        assert told(client, 1) == [(0, f"{number:{KIB}}")]
        if acknowledges and number % acknowledges == 0:
            client.send(client.conversation.ack(number + 2))
    assert server.now - began < 1
    assert client.ask("again") == "again"


def test_a_task_that_waits_for_room_goes_on(server: JoinedServer, client: JoinedClient) -> None:
    async def send_all(session: Session) -> None:
        for number in range(COUNT):
            await session.ready()
            session.send(f"{number:{KIB}}")

    begin(server, send_all(only_session(server)))
    take_all(server, client, acknowledges=0)


@pytest.mark.parametrize("acknowledges", [0, 50])
def test_what_waits_in_a_topic_is_pushed_when_there_is_room(
    server: JoinedServer, client: JoinedClient, acknowledges: int
) -> None:
    async def publish_all(session: Session) -> None:
        await session.subscribe("news")
        for number in range(COUNT):
            await session.publish("news", f"{number:{KIB}}")

    if acknowledges:
        client.send(client.conversation.ack(1))
    server.call(publish_all(only_session(server)))
    take_all(server, client, acknowledges=acknowledges)


def test_a_session_that_is_closed_amid_a_step_ends_after_it(server: JoinedServer, client: JoinedClient) -> None:
    (connection,) = server.connections

    async def close() -> None:
        connection._begin(asyncio.sleep(0.01))
        only_session(server).close("good night")

    server.call(close())
    event = client.next()
    assert isinstance(event, Control)
    assert isinstance(event.body, Bye)
    assert event.body.reason == "closed"
