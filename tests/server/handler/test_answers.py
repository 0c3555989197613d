"""Answers of every shape, from the handler to the client."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.services import Session
from antiphon.wire.frames import Frame
from antiphon.wire.kinds import KIB, Flag
from support.desk import Desk, sent, told
from support.joined import JoinedClient, JoinedServer, joined


def test_a_generator_answers_many_times_and_then_ends(client: JoinedClient, desk: Desk) -> None:
    (id,) = sent(client, "count 3")
    assert told(client, 4) == [(id, "0"), (id, "1"), (id, "2"), (id, "END")]
    assert client.ask("next") == "next"


def test_none_of_many_answers_says_that_it_is_the_last(client: JoinedClient) -> None:
    sent(client, "count 1")
    event = client.next()
    assert isinstance(event, Frame)
    assert event.flags == Flag.TEXT


def test_a_generator_without_answers_just_ends(client: JoinedClient) -> None:
    (id,) = sent(client, "count 0")
    assert told(client, 1) == [(id, "END")]


def test_a_generator_that_fails_ends_with_an_error_behind_its_answers(client: JoinedClient) -> None:
    (id,) = sent(client, "break")
    assert told(client, 2) == [(id, "one"), (id, "service-failed")]
    assert client.ask("next") == "next"


def test_a_generator_waits_while_its_answers_are_not_taken(
    client: JoinedClient, server: JoinedServer, desk: Desk
) -> None:
    (id,) = sent(client, "flood 200")
    first = told(client, 1)
    desk.wait_for(server, "flooded", 4)
    assert desk.seen.count("flooded") < 150, "it has run on without anybody to take its answers"
    frames = first + told(client, 200)
    assert [payload[0] for _, payload in frames[:-1]] == list(range(200))  # type: ignore[index]
    assert frames[-1] == (id, "END")


def test_a_service_that_takes_too_long_is_stopped_and_the_session_goes_on(
    tmp_path: Path, desk: Desk, tokens: list[bytes]
) -> None:
    with joined(tmp_path / "data", desk) as server, server.session(tokens[0]) as client:
        ids = sent(client, "wait for ever", "next")
        client.idle(server.settings.service_seconds - 1)
        assert "cancelled wait for ever" not in desk.seen
        assert told(client, 2) == [(ids[0], "service-too-slow"), (ids[1], "next")]
        assert server.now == pytest.approx(server.settings.service_seconds, abs=1)
    assert "cancelled wait for ever" in desk.seen
    assert "service-too-slow" in server.log()


def test_many_answers_may_take_longer_than_one(tmp_path: Path, tokens: list[bytes]) -> None:
    async def slowly(message: str) -> AsyncIterator[str]:
        for number in range(5):
            await asyncio.sleep(20)
            yield str(number)

    with joined(tmp_path / "data", slowly) as server, server.session(tokens[0]) as client:
        sent(client, "go")
        for answer in ("0", "1", "2", "3", "4", "END"):
            client.send(client.conversation.heartbeat())
            assert [payload for _, payload in told(client, 1)] == [answer]
        assert server.now > server.settings.service_seconds


def test_a_service_of_text_refuses_bytes_and_answers_the_next_message(tmp_path: Path, tokens: list[bytes]) -> None:
    def shout(message: str) -> str:
        return message.upper()

    with joined(tmp_path / "data", shout, plain=True) as server, server.session(tokens[0]) as client:
        ids = sent(client, b"bytes", "text")
        assert told(client, 2) == [(ids[0], "text-only"), (ids[1], "TEXT")]


def test_an_end_that_takes_too_long_is_cut_short_and_told_to_the_log(tmp_path: Path, tokens: list[bytes]) -> None:
    async def endless(message: str) -> AsyncIterator[str]:
        try:
            yield message * KIB
        finally:
            await asyncio.Event().wait()

    with joined(tmp_path / "data", endless, message_limit=KIB) as server, server.session(tokens[0]) as client:
        first, _ = sent(client, "too long", "x")
        assert client.error().code == "service-failed"
        client.send(client.conversation.cancel(first))  # crosses the refusal: nothing more can be said to this id
        client.idle(server.settings.service_seconds - 1)
        assert client.answer(client.conversation.next_id() - 1) == "x" * KIB
        assert server.now == pytest.approx(server.settings.service_seconds, abs=1)
    assert "service-too-slow" in server.log()


async def steps(turned: asyncio.Event) -> AsyncIterator[int]:
    """Go on, without ever waiting, until the event loop has had a turn."""
    asyncio.get_running_loop().call_soon(turned.set)
    for step in range(300):
        time.sleep(0.001)
        yield step
        if turned.is_set():
            return
    raise RuntimeError("nobody else had a turn")


async def in_answers(message: str) -> AsyncIterator[str]:
    async for step in steps(asyncio.Event()):
        yield str(step)
    yield "done"


async def in_pushes(message: str, session: Session) -> str:
    async for _ in steps(asyncio.Event()):
        await session.ready()
    return "done"


@pytest.mark.parametrize("service", [in_answers, in_pushes])
def test_a_service_that_never_waits_lets_others_have_their_turn(
    tmp_path: Path, tokens: list[bytes], service: Any
) -> None:
    with joined(tmp_path / "data", service, plain=True) as server, server.session(tokens[0]) as client:
        sent(client, "go", "again")
        for _ in range(2):
            while (answer := told(client, 1)[0][1]) != "done":
                assert answer != "service-failed"
