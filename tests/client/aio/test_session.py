"""The face of the client library, against servers in this event loop: every way to ask, and to leave."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.client.aio.session import INBOX_LIMIT, ClientSession
from antiphon.client.protocol.window import WINDOW, WINDOW_BYTES
from antiphon.errors import (
    MessageTooLarge,
    SessionClosed,
    SessionEnded,
    SessionReplaced,
    TextOnly,
    TimedOut,
)
from antiphon.server.server import Server
from antiphon.services import Session as Served
from antiphon.wire.frames import Payload
from antiphon.wire.kinds import KIB
from support.serving import seed
from support.sessions import server_here, session_of

ONE_READ = (256 + 16) * KIB
"""Bytes that asyncio reads at once, and the end of a message that began before."""


class Desk:
    """A service that does what the first word of a message says, and writes down what happens to it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.flooded = 0

    def received(self, message: Payload, session: Served) -> Any:
        self.seen.append(str(message))
        word = str(message).partition(" ")[0]
        return getattr(self, f"on_{word}", self.on_echo)(message, session)

    def on_echo(self, message: Payload, session: Served) -> Payload:
        return message

    def on_nothing(self, message: str, session: Served) -> None:
        pass

    async def on_count(self, message: str, session: Served) -> AsyncIterator[str]:
        for number in range(int(message.split()[1])):
            yield f"{number}"

    async def on_forever(self, message: str, session: Served) -> AsyncIterator[bytes]:
        try:
            while True:
                self.flooded += 1
                yield bytes(16 * KIB)
        finally:
            self.cancelled.set()

    async def on_wait(self, message: str, session: Served) -> str:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        return "never"

    def on_push(self, message: str, session: Served) -> str:
        for number in range(int(message.split()[1])):
            session.send(f"push {number}")
        return "pushed"

    def on_goodbye(self, message: str, session: Served) -> str:
        session.close("we close at six")
        return "as you wish"


@pytest.fixture
def token(tmp_path: Path) -> bytes:
    return seed(tmp_path / "data")[0]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def server(tmp_path: Path, desk: Desk, token: bytes) -> AsyncIterator[Server]:
    async with server_here(tmp_path / "data", desk, message_limit=4 * KIB * KIB) as server:
        yield server


@pytest.fixture
async def session(server: Server, token: bytes) -> AsyncIterator[ClientSession]:
    async with session_of(server.addresses[0], token) as session:
        yield session


async def test_a_question_gets_its_answer(session: ClientSession) -> None:
    assert await session.ask("hello") == "hello"
    assert await session.ask(b"\xff") == b"\xff"
    assert await session.ask("nothing") is None


async def test_questions_that_are_asked_together_get_each_its_own_answer(session: ClientSession) -> None:
    answers = await asyncio.gather(*(session.ask(f"number {number}") for number in range(3 * WINDOW)))
    assert answers == [f"number {number}" for number in range(3 * WINDOW)]


async def test_a_stream_gives_every_answer(session: ClientSession) -> None:
    assert [answer async for answer in session.ask_stream("count 5")] == ["0", "1", "2", "3", "4"]
    assert [answer async for answer in session.ask_stream("nothing")] == []
    assert [answer async for answer in session.ask_stream("one")] == ["one"]


async def test_leaving_a_stream_early_stops_the_service(session: ClientSession, desk: Desk) -> None:
    async for answer in session.ask_stream("forever"):
        assert answer == bytes(16 * KIB)
        break
    await desk.cancelled.wait()
    assert await session.ask("next") == "next"


async def test_a_stream_that_nobody_takes_is_not_kept_in_memory(session: ClientSession, desk: Desk) -> None:
    stream = await session.begin("forever")
    await stream.next()
    before = -1
    while before != desk.flooded:  # it comes to rest: the server waits for us
        before = desk.flooded
        await asyncio.sleep(0.3)
    waited = session._waiting
    stream.close()
    assert waited <= INBOX_LIMIT + ONE_READ
    assert await session.ask("next") == "next"
    assert session._waiting == 0


async def test_only_the_first_of_many_answers_is_the_answer_to_a_question(session: ClientSession) -> None:
    assert await session.ask("count 3") == "0"
    assert await session.ask("next") == "next"


async def test_many_messages_are_answered_in_order(session: ClientSession, desk: Desk) -> None:
    messages = [str(number) for number in range(1000)]
    assert [answer async for answer in session.ask_many(messages)] == messages
    assert desk.seen == messages


async def test_many_large_messages_are_not_all_on_their_way_at_once(session: ClientSession) -> None:
    size, ahead = 96 * KIB, 0

    def messages() -> Iterator[bytes]:
        nonlocal ahead
        for number in range(40):
            ahead += 1
            assert ahead * size <= 2 * WINDOW_BYTES, "one more is made than is sent"
            yield bytes([number]) * size

    async for answer in session.ask_many(messages()):
        assert isinstance(answer, bytes)
        ahead -= 1
    assert ahead == 0


async def test_many_that_send_more_than_may_be_on_its_way_wait_their_turn(session: ClientSession) -> None:
    sizes = [1, 300 * KIB, 2, 200 * KIB, 100 * KIB, 3]
    answers = await asyncio.gather(*(session.ask(bytes(size)) for size in sizes))
    assert [len(answer or b"") for answer in answers] == sizes


async def test_many_messages_may_come_from_an_iterator_that_waits(session: ClientSession) -> None:
    async def messages() -> AsyncIterator[str]:
        for number in range(5):
            await asyncio.sleep(0)
            yield str(number)

    assert [answer async for answer in session.ask_many(messages())] == ["0", "1", "2", "3", "4"]


async def test_many_messages_wait_for_the_room_that_others_have_taken(session: ClientSession) -> None:
    sizes = [200 * KIB, 100 * KIB]
    texts = [str(number) * 1000 for number in range(3 * WINDOW)]
    large = asyncio.gather(*(session.ask(bytes(size)) for size in sizes))
    await asyncio.sleep(0)
    assert [answer async for answer in session.ask_many(texts)] == texts
    assert [len(answer or b"") for answer in await large] == sizes


async def test_a_fault_of_the_program_among_many_is_raised_behind_the_answers(session: ClientSession) -> None:
    def messages() -> Iterator[str]:
        yield "a"
        raise ZeroDivisionError

    answers = session.ask_many(messages())
    assert await anext(answers) == "a"
    with pytest.raises(ZeroDivisionError):
        await anext(answers)
    assert await session.ask("next") == "next"


async def test_an_error_among_many_is_raised_in_its_place(session: ClientSession) -> None:
    answers = session.ask_many(["a", "b", "x" * (5 * KIB * KIB), "c"])
    assert [await anext(answers), await anext(answers)] == ["a", "b"]
    with pytest.raises(MessageTooLarge):
        await anext(answers)
    assert await session.ask("next") == "next"


async def test_many_messages_that_are_left_early_are_taken_back(session: ClientSession, desk: Desk) -> None:
    async def messages() -> AsyncIterator[str]:
        yield "first"
        for _ in range(10):  # more than 16 that wait would keep the server from reading that they are taken back
            yield "wait"

    async for answer in session.ask_many(messages()):
        assert answer == "first"
        break
    assert await session.ask("next") == "next"


async def test_what_is_sent_needs_no_answer(session: ClientSession, desk: Desk) -> None:
    await session.send("said")
    assert await session.ask("asked") == "asked"
    assert desk.seen == ["said", "asked"]


async def test_what_the_service_says_by_itself_comes_in_order(session: ClientSession) -> None:
    assert await session.ask("push 3") == "pushed"
    pushes = []
    async for push in session:
        pushes.append(push)
        if len(pushes) == 3:
            break
    assert pushes == ["push 0", "push 1", "push 2"]


async def test_the_iteration_over_pushes_ends_with_the_session(session: ClientSession) -> None:
    async def listen() -> list[Payload]:
        return [push async for push in session]

    listening = asyncio.create_task(listen())
    await session.ask("push 2")
    await session.leave()
    assert await listening == ["push 0", "push 1"]


async def test_a_question_that_takes_too_long_is_taken_back(session: ClientSession, desk: Desk) -> None:
    with pytest.raises(TimedOut):
        await session.ask("wait", timeout=0.1)
    await desk.cancelled.wait()
    assert await session.ask("next", timeout=60) == "next"


async def test_a_question_that_is_cancelled_is_taken_back(session: ClientSession, desk: Desk) -> None:
    asking = asyncio.create_task(session.ask("wait"))
    await desk.begun.wait()
    asking.cancel()
    await desk.cancelled.wait()
    assert await session.ask("next") == "next"


async def test_a_message_over_the_servers_limit_is_not_sent(session: ClientSession, desk: Desk) -> None:
    with pytest.raises(MessageTooLarge):
        await session.ask("й" * (2 * KIB * KIB + 1))
    assert await session.ask("й") == "й"
    assert desk.seen == ["й"]


async def test_a_refusal_is_raised_where_it_was_asked(tmp_path: Path, token: bytes) -> None:
    def shout(message: str) -> str:
        return message.upper()

    async with (
        server_here(tmp_path / "data", shout) as server,
        session_of(server.addresses[0], token) as session,
    ):
        with pytest.raises(TextOnly):
            await session.ask(b"bytes")
        assert await session.ask("text") == "TEXT"


async def test_a_service_that_ends_the_session_is_heard(session: ClientSession) -> None:
    await session.ask("goodbye")
    reason = await session.ended()
    assert isinstance(reason, SessionClosed)
    assert "we close at six" in str(reason)
    with pytest.raises(SessionClosed):
        await session.ask("more")
    with pytest.raises(SessionClosed):
        await anext(aiter(session))


async def test_a_session_that_went_on_elsewhere_is_over(
    server: Server, session: ClientSession, token: bytes
) -> None:
    async with session_of(server.addresses[0], token) as other:
        assert isinstance(await session.ended(), SessionReplaced)
        assert await other.ask("hello") == "hello"


async def test_leaving_waits_for_the_answers_that_are_due_and_ends_the_session(
    server: Server, session: ClientSession, token: bytes
) -> None:
    asking = asyncio.create_task(session.ask("hello"))
    await asyncio.sleep(0)
    await session.leave()
    assert await asking == "hello"
    assert await session.ended() is None
    with pytest.raises(SessionEnded):
        await session.ask("more")
    with pytest.raises(SessionEnded):
        await session_of(server.addresses[0], token).__aenter__()


async def test_an_error_in_the_block_leaves_at_once(server: Server, token: bytes, desk: Desk) -> None:
    async def work() -> None:
        async with session_of(server.addresses[0], token) as session:
            sessions.append(session)
            await session.begin("wait")
            raise ZeroDivisionError

    sessions: list[ClientSession] = []
    with pytest.raises(ZeroDivisionError):
        await work()
    assert sessions[0].over
