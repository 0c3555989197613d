"""Subscription: its place, whatever the broker and the reader do meanwhile."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from antiphon.errors import TryLater
from antiphon.server.tasks import BackgroundTasks
from antiphon.server.topics.contract import Position, Stretch
from antiphon.server.topics.hub import Hub
from antiphon.server.topics.memory import MemoryBroker
from antiphon.server.topics.subscription import AGAIN_SECONDS, Subscription
from antiphon.topics import Subscriber
from antiphon.wire.frames import Payload
from support.virtual_time import run_virtually

ANN = Subscriber(1, "ann", datetime(2026, 3, 1, tzinfo=UTC))


class GatedBroker(MemoryBroker):
    """A broker whose answers wait at a gate, or fail."""

    def __init__(self) -> None:
        super().__init__(Hub(os.urandom, topics_most=2))
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0
        self.fails = 0
        self.late = False

    async def subscribe(self, topic: str, number: int, subscriber: Subscriber) -> Stretch:
        if self.late:  # it is known when the gate is open, not before
            await self._late(self.read(topic, Position(0, 0)))
        return await self._late(super().subscribe(topic, number, subscriber))

    async def read(self, topic: str, after: Position) -> Stretch:
        return await self._late(super().read(topic, after))

    async def _late(self, work: Awaitable[Stretch]) -> Stretch:
        """Return what is true now when the gate is open."""
        stretch = await work
        if self.fails:
            self.fails -= 1
            raise TryLater
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        return stretch


class Listener:
    """A reader, and what it was given."""

    def __init__(self, broker: MemoryBroker, place: Position | None = None) -> None:
        self.broker = broker
        self.open = True
        self.got: list[object] = []
        self.tasks = BackgroundTasks()
        self.subscription = Subscription(broker, self.tasks, self, "news", 1, ANN, place)
        broker.news = self.news

    def news(self, topic: str, epoch: int, offset: int, message: Payload | None) -> None:
        if topic == "news":
            self.subscription.news(epoch, offset, message, None)

    def takes(self, subscription: Subscription) -> bool:
        return self.open

    def deliver(self, subscription: Subscription, message: Payload, frame: bytes | None) -> None:
        self.got.append(message)

    def missed(self, subscription: Subscription, entries: int) -> None:
        self.got.append(entries)

    async def publish(self, *messages: str) -> None:
        for message in messages:
            await self.broker.publish("news", message)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(100):
            while not condition():
                await asyncio.sleep(0.001)


async def behind(listener: Listener, *messages: str) -> None:
    """Join, and let messages pass by."""
    await listener.subscription.join()
    listener.open = False
    await listener.publish(*messages)
    listener.open = True


async def test_news_that_come_while_it_reads_are_read_too() -> None:
    broker = GatedBroker()
    listener = Listener(broker)
    await behind(listener, "1", "2")
    broker.gate.clear()
    listener.subscription.go_on()
    await listener.until(lambda: broker.waiting)
    await listener.publish("3")
    assert listener.got == []
    broker.gate.set()
    await listener.subscription.caught_up()
    await listener.publish("4")
    assert listener.got == ["1", "2", "3", "4"]


async def test_news_that_come_while_it_joins_are_read() -> None:
    broker = GatedBroker()
    listener = Listener(broker)
    broker.gate.clear()
    joining = asyncio.ensure_future(listener.subscription.join())
    await listener.until(lambda: broker.waiting)
    await listener.publish("1")
    broker.gate.set()
    await joining
    await listener.subscription.caught_up()
    assert listener.got == ["1"]


async def test_after_a_hole_it_reads_and_after_what_it_has_it_does_nothing() -> None:
    listener = Listener(MemoryBroker())
    await listener.subscription.join()
    await listener.publish("1")
    assert listener.subscription.place is not None
    epoch = listener.subscription.place.epoch
    broker_news, listener.broker.news = listener.broker.news, lambda *_: None
    await listener.publish("2", "3")
    listener.broker.news = broker_news
    listener.subscription.news(epoch, 1, "1", None)
    assert not listener.subscription.behind
    listener.subscription.news(epoch, 3, None, None)
    await listener.subscription.caught_up()
    assert listener.got == ["1", "2", "3"]


async def test_a_reader_that_takes_nothing_more_gets_the_rest_later() -> None:
    class Slow(Listener):
        def takes(self, subscription: Subscription) -> bool:
            return super().takes(subscription) and len(self.got) < 2

    listener = Slow(MemoryBroker())
    await listener.publish("1", "2", "3", "4")
    await listener.subscription.join(history=3)
    await listener.subscription.caught_up()
    assert listener.got == ["2", "3"]
    listener.got.clear()
    listener.subscription.go_on()
    await listener.subscription.caught_up()
    assert listener.got == ["4"]


async def test_of_a_topic_that_was_forgotten_at_least_one_is_missed() -> None:
    broker = GatedBroker()
    listener = Listener(broker)
    await listener.publish("1")
    await listener.subscription.join()
    place = listener.subscription.place
    listener.subscription.leave()
    await broker.publish("sport", "")
    await broker.publish("weather", "")
    listener = Listener(broker, place)
    await listener.publish("anew")
    await listener.subscription.join()
    await listener.subscription.caught_up()
    assert listener.got == [1, "anew"]


def test_a_broker_that_does_not_answer_is_asked_again() -> None:
    async def go() -> None:
        broker = GatedBroker()
        listener = Listener(broker)
        await behind(listener, "1")
        broker.fails = 2
        began = asyncio.get_running_loop().time()
        listener.subscription.go_on()
        await listener.until(lambda: listener.got)
        assert asyncio.get_running_loop().time() - began >= 2 * AGAIN_SECONDS
        assert listener.got == ["1"]

    run_virtually(go())


@pytest.mark.parametrize("when", ["it joins", "it reads"])
async def test_one_that_has_left_meanwhile_gets_nothing_and_is_not_known(when: str) -> None:
    broker = GatedBroker()
    listener = Listener(broker)
    if when == "it reads":
        await behind(listener, "1")
    broker.late = True
    broker.gate.clear()
    working = asyncio.ensure_future(
        listener.subscription.join() if when == "it joins" else listener.subscription.caught_up()
    )
    await listener.until(lambda: broker.waiting)
    listener.subscription.leave()
    broker.gate.set()
    await working
    await listener.publish("2")
    listener.subscription.news(5, 5, "5", None)
    await asyncio.sleep(0)
    assert listener.got == []
    assert await broker.present("news") == []
