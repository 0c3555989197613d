"""What the service sends by itself, given to a callback of the program: order, failures, and two ways apart."""

import asyncio
from typing import Any

import pytest

from antiphon.client.aio.pushes import Pushes
from antiphon.client.aio.session import INBOX_LIMIT, ClientSession
from antiphon.errors import ServiceFailed, UsageError
from antiphon.services import Session as Served
from antiphon.testing import session
from antiphon.wire.frames import Payload
from antiphon.wire.kinds import KIB


def push(message: str, session: Served) -> str:
    """Push as many messages as `message` says."""
    for number in range(int(message)):
        session.send(f"{number}")
    return "pushed"


async def first(ann: ClientSession) -> Payload:
    return await anext(aiter(ann))


async def listen_for_reports() -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    return told


async def test_a_callback_gets_what_waits_and_then_what_comes_in_order() -> None:
    got: list[Payload] = []
    async with session(push) as ann:
        await ann.ask("2")
        ann.on_push = got.append
        assert ann.on_push == got.append
        await ann.ask("3")
        assert got == ["0", "1", "0", "1", "2"]


async def test_a_coroutine_function_is_awaited_before_it_gets_the_next() -> None:
    running, most, got = 0, 0, []

    async def slowly(message: Payload) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        got.append(message)
        running -= 1

    async with session(push) as ann:
        ann.on_push = slowly
        for _ in range(3):
            await ann.ask("5")
    assert most == 1
    assert got == list("01234") * 3  # leaving has waited for the last


async def test_what_it_raises_is_reported_and_the_next_message_follows() -> None:
    reports, got = await listen_for_reports(), []

    async def fussy(message: Payload) -> None:
        if message == "1":
            raise ValueError(message)
        if message == "2":
            raise asyncio.CancelledError  # of something that it awaited, not of its task
        got.append(message)

    async with session(push) as ann:
        ann.on_push = fussy
        await ann.ask("4")
    assert got == ["0", "3"]
    assert [type(report["exception"]) for report in reports] == [ValueError, asyncio.CancelledError]
    assert "fussy" in reports[0]["message"]


async def test_messages_go_to_the_callback_or_to_an_iteration() -> None:
    async with session(push) as ann:
        ann.on_push = print
        with pytest.raises(UsageError, match="on_push"):
            await first(ann)
        ann.on_push = None
        waiting = asyncio.create_task(first(ann))
        await asyncio.sleep(0)
        with pytest.raises(UsageError, match="iterated"):
            ann.on_push = print
        await ann.ask("2")
        assert await waiting == "0"
        assert await first(ann) == "1"


async def test_the_callback_may_ask_and_leave() -> None:
    left = asyncio.Event()

    async def answer(_: Payload) -> None:
        assert await ann.ask("0") == "pushed"
        await ann.leave()
        left.set()

    async with session(push) as ann:
        ann.on_push = answer
        await ann.ask("1")
        await left.wait()
        assert ann.over


async def test_a_callback_that_takes_its_time_stops_the_reading() -> None:
    most = INBOX_LIMIT // KIB + 64

    async def flood(message: str, session: Served) -> None:
        for _ in range(most):
            session.send("x" * KIB)
            await asyncio.sleep(0)

    go_on, got = asyncio.Event(), []

    async def slow(message: Payload) -> None:
        await go_on.wait()
        got.append(message)

    async with session(flood) as ann:
        ann.on_push = slow
        await ann.send("now")
        while ann.connection.transport.is_reading():
            await asyncio.sleep(0)
        assert not got
        assert not ann.over
        go_on.set()
    assert len(got) == most


async def test_an_error_in_the_block_cancels_the_callback() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def for_ever(_: Payload) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def in_a_block(ann: ClientSession) -> None:
        ann.on_push = for_ever
        await ann.ask("2")
        await begun.wait()
        await ann.ask("no number")

    with pytest.raises(ServiceFailed):
        async with session(push) as ann:
            await in_a_block(ann)
    assert cancelled.is_set()


async def test_what_comes_in_the_step_of_the_end_keeps_the_end_from_nothing() -> None:
    got: list[Payload] = []
    pushes = Pushes(lambda _: None, lambda _: None)
    pushes.give_to(got.append)
    pushes.put("late")
    async with asyncio.timeout(60):
        await pushes.stop()
        await pushes.delivered()
    assert not got
