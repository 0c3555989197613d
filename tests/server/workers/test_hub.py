"""Hub of a supervisor under workers that are frozen, flooded or gone, over the sockets of real ones."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest

from antiphon.errors import TryLater
from antiphon.server.topics.contract import Position
from antiphon.server.topics.hub import Hub
from antiphon.server.workers import hub_broker
from antiphon.server.workers.hub_broker import SENT_LIMIT, HubBroker
from antiphon.server.workers.hub_end import ANSWERS_LIMIT, NEWS_LIMIT, HubEnd
from antiphon.topics import Subscriber
from antiphon.wire.frames import Payload
from antiphon.wire.kinds import KIB

ANN = Subscriber(1, "ann", datetime(2026, 3, 1, tzinfo=UTC))


class Worker:
    """A worker, as far as topics go, and its supervisor's side."""

    def __init__(self, hub: Hub) -> None:
        ours, theirs = socket.socketpair()
        self.end = HubEnd(hub, ours)
        self.broker = HubBroker(theirs)
        self.broker.open()
        self.news: list[tuple[str, int, int, Payload | None]] = []
        self.broker.news = lambda *news: self.news.append(news)

    def freeze(self) -> None:
        """Read nothing more, as a process that is stopped."""
        self.broker._channel.pause()

    def thaw(self) -> None:
        self.broker._channel.start()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def workers() -> AsyncIterator[list[Worker]]:
    hub = Hub(os.urandom)
    workers = [Worker(hub), Worker(hub)]
    yield workers
    for worker in workers:
        worker.broker.close()
        worker.end.close()


async def test_a_frozen_worker_takes_bounded_memory_and_is_told_later_what_to_read(workers: list[Worker]) -> None:
    frozen, other = workers
    for number, worker in enumerate(workers):
        await worker.broker.subscribe("news", number, ANN)
        await worker.broker.subscribe("sport", number, ANN)
    frozen.freeze()
    size, count = 64 * KIB, 2 * NEWS_LIMIT // (64 * KIB)
    for number in range(count):
        await other.broker.publish("news", b"%d" % number + bytes(size))
    await other.broker.publish("sport", "1")
    assert len(other.news) == count + 1, "the other one has been told everything meanwhile"
    assert frozen.end._channel.waiting <= NEWS_LIMIT + 2 * size
    frozen.thaw()
    await until(lambda: ("sport", None) in [(topic, message) for topic, _, _, message in frozen.news])
    offsets = [offset for topic, _, offset, _ in frozen.news if topic == "news"]
    assert offsets[-1] == count, "the newest, to be read"
    assert offsets[:-1] == list(range(1, len(offsets)))
    await other.broker.publish("news", "next")
    await until(lambda: frozen.news[-1][3] == "next")


async def test_one_that_does_not_take_its_answers_is_not_read_from(workers: list[Worker]) -> None:
    frozen, other = workers
    epoch = (await frozen.broker.subscribe("news", 1, ANN)).epoch
    await frozen.broker.publish("news", bytes(1024 * KIB))
    frozen.freeze()
    reading = [
        asyncio.ensure_future(frozen.broker.read("news", Position(epoch + number, 0))) for number in range(40)
    ]
    await until(lambda: frozen.end._channel.waiting > ANSWERS_LIMIT)
    assert frozen.end._channel.waiting < ANSWERS_LIMIT + 2 * 1024 * KIB
    await other.broker.publish("sport", "1")
    frozen.thaw()
    assert all(stretch.last == 1 for stretch in await asyncio.gather(*reading))


async def test_a_supervisor_that_does_not_read_gets_no_more_than_it_may(
    workers: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_broker, "ANSWER_SECONDS", 0.2)
    worker = workers[0]
    worker.end._channel.pause()
    size = 256 * KIB
    publishing = [asyncio.ensure_future(worker.broker.publish("news", bytes(size))) for _ in range(50)]
    outcomes = await asyncio.gather(*publishing, return_exceptions=True)
    assert all(isinstance(outcome, TryLater) for outcome in outcomes)
    assert worker.broker._channel.waiting < SENT_LIMIT + 2 * size
    worker.end._channel.start()
    await until(lambda: not worker.broker._channel.waiting)
    await worker.broker.publish("news", "again")


async def test_without_a_supervisor_nobody_waits(workers: list[Worker]) -> None:
    worker = workers[0]
    worker.end._channel.pause()
    asked = asyncio.ensure_future(worker.broker.present("news"))
    await asyncio.sleep(0)
    worker.end.close()
    for work in (asked, worker.broker.publish("news", ""), worker.broker.read("news", Position(0, 0))):
        with pytest.raises(TryLater):
            await work
    worker.broker.unsubscribe("news", 1)


async def test_who_was_subscribed_in_a_worker_that_has_ended_is_not_present(workers: list[Worker]) -> None:
    ended, other = workers
    await ended.broker.subscribe("news", 1, ANN)
    await other.broker.subscribe("news", 1, ANN)
    assert len(await other.broker.present("news")) == 2
    ended.broker.close()
    await until(lambda: not ended.end._channel._open)
    assert len(await other.broker.present("news")) == 1
    await other.broker.publish("news", "1")
    assert [message for *_, message in other.news] == ["1"]


async def test_a_read_that_begins_after_news_holds_them(workers: list[Worker]) -> None:
    worker, other = workers
    epoch = (await worker.broker.subscribe("news", 1, ANN)).epoch
    worker.freeze()
    first = asyncio.ensure_future(worker.broker.read("news", Position(epoch, 0)))
    await until(lambda: worker.end._channel.waiting or worker.broker._asked)
    await other.broker.present("news")
    await other.broker.publish("news", "1")
    later: list[asyncio.Future[object]] = []
    worker.broker.news = lambda *_: later.append(
        asyncio.ensure_future(worker.broker.read("news", Position(epoch, 0)))
    )
    worker.thaw()
    assert (await first).last in {0, 1}
    await until(lambda: later)
    assert [entry.message for entry in (await later[0]).entries] == ["1"]  # type: ignore[attr-defined] # a Stretch


async def test_readers_at_one_place_share_a_read(workers: list[Worker]) -> None:
    worker, other = workers
    await other.broker.publish("news", "1")
    asked = next(worker.broker._numbers)
    stretches = await asyncio.gather(*(worker.broker.read("news", Position(0, 0)) for _ in range(100)))
    assert {stretch.entries[0].message for stretch in stretches} == {"1"}
    assert next(worker.broker._numbers) == asked + 2
