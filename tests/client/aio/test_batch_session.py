"""The session that sends messages in batches and hands over the answers of one read together."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.client.aio.batch_session import BatchSession
from antiphon.client.protocol.batch import BatchMessage
from antiphon.client.protocol.window import WINDOW
from antiphon.errors import (
    AntiphonError,
    MessageTooLarge,
    OutcomeUnknown,
    ServiceFailed,
    SessionClosed,
    SessionEnded,
)
from antiphon.ping.load import Load
from antiphon.ping.plan import Plan
from antiphon.server.server import Server
from antiphon.services import Session
from antiphon.testing import FaultProxy, LinkFault
from antiphon.wire.frames import Payload
from support.serving import seed
from support.sessions import batch_session_of, server_here


class Message(BatchMessage):
    """A message that writes down what becomes of it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.news: list[Payload | AntiphonError | None] = []
        self.over = asyncio.Event()

    @property
    def ended(self) -> bool:
        return self.over.is_set()

    def put(self, payload: Payload) -> None:
        self.news.append(payload)

    def end(self, error: AntiphonError | None = None) -> None:
        self.news.append(error)
        self.over.set()


class Desk:
    """A service that does what the first word of a message says; by default it echoes."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    def received(self, message: str, session: Session) -> Any:
        if message.startswith("close"):
            session.close("enough")
        return getattr(self, f"on_{message.split(maxsplit=1)[0]}", self.on_echo)(message)

    def on_echo(self, message: str) -> str:
        return message

    def on_none(self, message: str) -> None:
        pass

    def on_fail(self, message: str) -> None:
        raise RuntimeError

    async def on_parts(self, message: str) -> AsyncIterator[str]:
        yield "one"
        yield "two"

    async def on_wait(self, message: str) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        raise AssertionError


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def token(tmp_path: Path) -> bytes:
    return seed(tmp_path / "data")[0]


@pytest.fixture
async def server(tmp_path: Path, desk: Desk, token: bytes) -> AsyncIterator[Server]:
    async with server_here(tmp_path / "data", desk, message_limit=1024) as server:
        yield server


@pytest.fixture
async def session(server: Server, token: bytes) -> AsyncIterator[BatchSession]:
    async with batch_session_of(server.addresses[0], token) as session:
        yield session


def send(session: BatchSession, *texts: str) -> list[Message]:
    messages = [Message(text.ljust(16)) for text in texts]
    session.write(session.prepare(messages, 16))
    return messages


class Collector:
    """Collects the answers that come together."""

    def __init__(self, session: BatchSession) -> None:
        self.reads: list[list[tuple[Message, Payload]]] = []
        self.news = asyncio.Event()
        session.on_answers = self.take

    def take(self, answers: list[tuple[Message, Payload]]) -> None:
        self.reads.append(answers)
        self.news.set()

    async def count(self, wanted: int) -> list[tuple[Message, Payload]]:
        while len(found := [each for read in self.reads for each in read]) < wanted:
            self.news.clear()
            await self.news.wait()
        return found


async def test_what_is_sent_together_is_answered_together(session: BatchSession) -> None:
    heard = Collector(session)
    messages = send(session, *map(str, range(WINDOW)))
    assert session.room(16) == 0
    answers = await heard.count(WINDOW)
    assert answers == [(message, message.message) for message in messages]
    assert len(heard.reads) < 10
    assert session.room(16) == WINDOW
    assert not any(message.news for message in messages), "nothing is told twice"


async def test_whatever_is_not_one_answer_is_told_to_its_message(session: BatchSession) -> None:
    heard = Collector(session)
    none, parts, failed, echoed = send(session, "none", "parts", "fail", "echo")
    assert [message for message, _ in await heard.count(1)] == [echoed]
    assert (none.news, parts.news, echoed.news) == ([None], ["one", "two", None], [])
    (error,) = failed.news
    assert isinstance(error, ServiceFailed)
    assert session.room(16) == WINDOW


async def test_beside_messages_of_a_batch_others_are_answered_as_ever(session: BatchSession) -> None:
    asking = asyncio.create_task(session.ask("hello"))
    await asyncio.sleep(0)
    (message,) = send(session, "batch")
    assert await asking == "hello"
    await message.over.wait()
    assert message.news == [message.message, None]
    assert session._waiting == 0


async def test_what_a_lost_connection_has_left_is_taken_one_by_one_until_the_counts_are_even(
    session: BatchSession,
) -> None:
    heard = Collector(session)
    messages = send(session, "one", "two")
    session._replay.resume(2, sent=2, at_work=[])  # as after a RESUME: both answers are sent again
    await messages[1].over.wait()
    assert [message.news for message in messages] == [[message.message, None] for message in messages]
    assert not heard.reads
    (after,) = send(session, "three")
    assert await heard.count(1) == [(after, after.message)]


async def test_what_is_taken_back_is_stopped_and_nothing_is_sent_for_what_is_answered(
    session: BatchSession, desk: Desk
) -> None:
    heard = Collector(session)
    answered, waits = send(session, "echo", "wait")
    await heard.count(1)
    sent: list[bytes] = []
    connection = session.connection
    write, connection.send = connection.send, lambda data, **_: sent.append(data)  # type: ignore[method-assign]
    session.take_back(answered)
    assert not sent
    connection.send = write  # type: ignore[method-assign]
    session.take_back(waits)
    await desk.cancelled.wait()
    await waits.over.wait()


async def test_nothing_of_a_batch_that_cannot_be_sent_is_taken(session: BatchSession) -> None:
    with pytest.raises(MessageTooLarge):
        session.prepare([Message("x" * 1025)] * 2, 1025)
    assert session.room(16) == WINDOW
    await session.leave()
    with pytest.raises(SessionEnded):
        send(session, "late")


async def test_what_is_unanswered_when_the_session_ends_is_told_so(session: BatchSession) -> None:
    _, message = send(session, "close", "too late")
    await message.over.wait()
    (error,) = message.news
    assert isinstance(error, OutcomeUnknown)
    assert isinstance(error.__cause__, SessionClosed)


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_load_whose_link_is_cut_anywhere_has_each_answer_once(
    server: Server, token: bytes, direction: Any
) -> None:
    async with FaultProxy(server.addresses[0]) as proxy, batch_session_of(proxy.address, token) as session:
        for cut_at in range(1, 1600, 97):
            proxy.faults = {proxy.connections: LinkFault(direction, cut_at=cut_at)}.get
            await proxy.cut()
            load = Load(Plan(count=20, depth=5), [session])
            await load.run()
            tally = load.tally
            assert (tally.sent, tally.answered, tally.wrong, tally.lost) == (20, 20, 0, 0), f"cut at {cut_at}"
            assert tally.times.count == 20
