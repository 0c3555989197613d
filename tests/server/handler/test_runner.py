"""Handler runner alone: what it says for each reply, and whom it tells that a handler has ended."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from antiphon.errors import AntiphonError
from antiphon.server.handler.environment import HandlerEnvironment
from antiphon.server.handler.runner import HandlerRunner
from antiphon.server.handler.session import ServiceSession
from antiphon.server.tasks import BackgroundTasks
from antiphon.services import as_service
from antiphon.wire.frames import HEADER, HEADER_SIZE
from antiphon.wire.kinds import KIB, Flag, Kind
from antiphon.wire.times import counts_of
from support.auth import RecordingLog
from support.virtual_time import run_virtually

NOTHING: Any = None
"""What only topics need."""


class Recorder:
    """A channel that records what the runner says."""

    def __init__(self) -> None:
        self.told: list[object] = []
        """Payloads, "END", codes of errors, "flush" and "ended", in order."""
        self.room = asyncio.Event()
        self.room.set()
        self.server_stops = False
        self.subscriptions: Any = None

    def say(self, data: bytes) -> None:
        _, kind, flags, _, id = HEADER.unpack_from(data)
        payload = data[HEADER_SIZE:]
        self.told.append((id, "END" if kind == Kind.END else payload.decode() if flags & Flag.TEXT else payload))

    def refuse(self, id: int, error: AntiphonError) -> None:
        self.told.append((id, error.code))

    def flush(self) -> None:
        self.told.append("flush")

    async def ready(self) -> None:
        await self.room.wait()

    def ended(self) -> None:
        self.told.append("ended")

    def push(self, message: str | bytes) -> None:
        raise AssertionError(message)

    def end(self, reason: str) -> None:
        raise AssertionError(reason)


class Bench:
    """A runner with all that it needs."""

    def __init__(self, handler: Any, *, message_limit: int = KIB) -> None:
        self.log = RecordingLog()
        self.log.debug_on = True
        self.tasks = BackgroundTasks()
        self.environment = HandlerEnvironment(
            service=as_service(handler),
            seconds=60,
            message_limit=message_limit,
            log=self.log,
            tasks=self.tasks,
            topics=NOTHING,
            server=NOTHING,
        )
        self.channel = Recorder()
        session = ServiceSession(self.channel, 1, "ann", "127.0.0.1:1", datetime.now(UTC), NOTHING)
        self.runner = HandlerRunner(self.environment, session, self.channel)
        self.told = self.channel.told

    async def until_idle(self) -> None:
        async with asyncio.timeout(300):
            while self.runner.busy:
                await asyncio.sleep(0.1)

    def events(self) -> list[str]:
        return [record.event for record in self.log.records if record.level == "error"]


def virtually(test: Callable[..., Any]) -> Callable[[], None]:
    """Return a test that runs in virtual time."""

    def run() -> None:
        run_virtually(test())

    run.__name__ = test.__name__
    return run


def fault(message: str) -> object:
    if message == "raise":
        raise ValueError("why")
    return {
        "none": None,
        "bytes": b"\0",
        "large": "x" * 2 * KIB,
        "number": 7,
        "thing": object(),
        "half": "\ud800",
    }.get(message, message)


@pytest.mark.parametrize(
    ("message", "told", "logged"),
    [
        ("text", "text", []),
        ("bytes", b"\0", []),
        ("none", "END", []),
        ("raise", "service-failed", ["service-failed"]),
        ("number", "7", []),
        ("thing", "service-failed", ["service-failed"]),
        ("half", "service-failed", ["service-failed"]),
        ("large", "service-failed", ["answer-too-large"]),
    ],
)
async def test_a_reply_at_once_is_one_frame_and_nobody_is_told_of_an_end(
    message: str, told: object, logged: list[str]
) -> None:
    bench = Bench(fault)
    bench.runner.run(3, message)
    assert not bench.runner.busy
    assert bench.told == [(3, told)]
    assert bench.events() == logged


async def test_a_handler_of_text_refuses_bytes() -> None:
    def shout(message: str) -> str:
        return message.upper()

    bench = Bench(shout)
    bench.runner.run(3, b"bytes")
    assert bench.told == [(3, "text-only")]


async def test_a_message_without_an_id_is_handled_and_not_answered() -> None:
    bench = Bench(fault)
    bench.runner.run(0, "text")
    bench.runner.run(0, "large")
    assert [each for each in bench.told if each != (0, "service-failed")] == []
    assert bench.events() == ["answer-too-large"]


async def test_a_coroutine_that_does_not_wait_is_answered_at_once() -> None:
    async def handler(message: str) -> str:
        return message

    bench = Bench(handler)
    bench.runner.run(3, "now")
    assert (bench.runner.busy, bench.runner.open_id, bench.told) == (False, 0, [(3, "now")])


async def test_a_coroutine_that_waits_is_answered_when_it_ends() -> None:
    gate = asyncio.Event()

    async def handler(message: str) -> str:
        await gate.wait()
        return message

    bench = Bench(handler)
    bench.runner.run(3, "later")
    assert (bench.runner.busy, bench.runner.open_id, bench.told) == (True, 3, [])
    assert len(bench.environment.time_limits) == 1
    gate.set()
    await bench.until_idle()
    assert (bench.runner.open_id, bench.told) == (0, [(3, "later"), "ended"])
    assert len(bench.environment.time_limits) == 0


async def test_the_fast_path_may_answer_directly_and_then_nothing_else_is_done() -> None:
    async def handler(message: str) -> str:
        await asyncio.sleep(0)
        return message

    bench, direct, takes = Bench(handler), list[object](), True

    def answer_directly(id: int, answer: object) -> bool:
        direct.append((id, answer))
        return takes

    bench.runner.waiting.answer = answer_directly
    bench.runner.run(3, "later")
    await bench.until_idle()
    takes = False
    bench.runner.run(3, "later")
    await bench.until_idle()
    assert direct == [(3, "later")] * 2
    assert bench.told == [(3, "later"), "ended"]


@virtually
async def test_who_takes_longer_than_its_time_is_cancelled() -> None:
    async def handler(message: str) -> str:
        await asyncio.Event().wait()
        return message

    bench = Bench(handler)
    bench.runner.run(3, "for ever")
    await asyncio.sleep(59)
    assert bench.runner.busy
    await bench.until_idle()
    assert 60 <= asyncio.get_running_loop().time() < 61
    assert bench.told == [(3, "service-too-slow"), "ended"]
    assert bench.events() == ["service-too-slow"]


async def test_only_the_message_at_work_can_be_cancelled() -> None:
    async def handler(message: str) -> str:
        await asyncio.Event().wait()
        return message

    bench = Bench(handler)
    assert not bench.runner.cancel(3)
    bench.runner.run(3, "for ever")
    assert not bench.runner.cancel(4)
    assert bench.runner.cancel(3)
    await bench.until_idle()
    assert bench.told == [(3, "END"), "ended"]
    assert bench.events() == []


async def test_a_handler_that_the_server_stops_leaves_its_outcome_unknown() -> None:
    async def handler(message: str) -> str:
        await asyncio.Event().wait()
        return message

    bench = Bench(handler)
    await bench.runner.stop()  # with nothing to stop
    bench.runner.run(3, "for ever")
    await bench.runner.stop()
    await bench.until_idle()
    assert bench.told == [(3, "outcome-unknown"), "ended"]


async def test_each_of_many_answers_is_flushed_and_waits_for_room() -> None:
    async def handler(message: str) -> AsyncIterator[str]:
        for number in itertools.count():
            yield str(number)
            if number == 2:
                return

    bench = Bench(handler)
    bench.channel.room.clear()
    bench.runner.run(3, "count")
    for _ in range(10):
        await asyncio.sleep(0)
    assert (bench.told, bench.runner.open_id) == ([], 3)
    bench.channel.room.set()
    await bench.until_idle()
    assert bench.told == [(3, "0"), "flush", (3, "1"), "flush", (3, "2"), "flush", (3, "END"), "ended"]


@pytest.mark.parametrize(
    ("answer", "logged"),
    [("x" * 2 * KIB, "answer-too-large"), (object(), "service-failed"), ("\ud800", "service-failed")],
)
async def test_after_a_part_that_cannot_be_sent_no_more_is_asked_for(answer: Any, logged: str) -> None:
    asked: list[str] = []

    async def handler(message: str) -> AsyncIterator[Any]:
        try:
            asked.append("first")
            yield answer
            asked.append("second")
            yield "more"
        finally:
            asked.append("closed")

    bench = Bench(handler)
    bench.runner.run(3, "go")
    await bench.until_idle()
    assert asked == ["first", "closed"]
    assert bench.told in ([(3, "service-failed"), "flush", "ended"], [(3, "service-failed"), "ended"])
    assert bench.events() == [logged]


async def test_sizes_are_logged_at_debug_in_bytes() -> None:
    bench = Bench(fault)
    bench.runner.log_size("received", 3, "пять")
    bench.runner.run(3, "пять")
    sizes = [(record.event, record.fields["size"]) for record in bench.log.records]
    assert sizes == [("received", 8), ("sent", 8)]
    bench.log.debug_on = False
    bench.runner.run(4, "пять")
    assert len(bench.log.records) == 2


async def test_what_the_fast_path_got_is_finished_here() -> None:
    bench = Bench(fault)
    bench.runner.finish(3, "answer", None, 0.0)
    bench.runner.finish(4, None, ValueError("why"), 0.0)
    assert bench.told == [(3, "answer"), (4, "service-failed")]


async def test_the_time_of_every_message_is_counted_once() -> None:
    gate = asyncio.Event()

    async def waits(_: str) -> str:
        await gate.wait()
        return "late"

    bench = Bench(waits)
    counted = bench.environment.times
    bench.runner.run(3, "x")
    assert sum(counts_of(counted)) == 0
    gate.set()
    while bench.runner.busy:
        await asyncio.sleep(0)
    assert sum(counts_of(counted)) == 1
    bench.runner.run(4, "x")
    assert sum(counts_of(counted)) == 2
    bench.runner.finish(5, "answer", None, time.perf_counter() - 30)
    bench.runner.finish(6, None, ValueError("why"), time.perf_counter())
    assert sum(counts_of(counted)) == 4
    assert 30 < counted[-1] < 31
