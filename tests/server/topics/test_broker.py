"""Contract of a broker, over each implementation."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from antiphon.errors import TopicsFull
from antiphon.server.topics.contract import READ_LIMIT, Broker, Entry, Position, Stretch
from antiphon.server.topics.hub import Hub
from antiphon.server.topics.memory import MemoryBroker
from antiphon.server.topics.outbox import OutboxBroker
from antiphon.server.workers.hub_broker import HubBroker
from antiphon.server.workers.hub_end import HubEnd
from antiphon.store.sql.postgres.database import PostgresDatabase
from antiphon.store.sql.postgres.outbox import PostgresOutbox
from antiphon.store.sql.processes import SqlProcesses
from antiphon.topics import ENTRY_OVERHEAD, HISTORY_LIMIT, HISTORY_MOST, TOPICS_MOST, Subscriber
from antiphon.wire.frames import Payload
from support.stored import process

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN, BOB = (Subscriber(number, name, BEGAN + timedelta(number)) for number, name in ((1, "ann"), (2, "bob")))


class Ends:
    """A broker with its ends: those of one process, or of two."""

    def __init__(self, *ends: Broker) -> None:
        self.one, self.other = ends[0], ends[-1]
        self.news: dict[Broker, list[tuple[str, int, int, Payload | None]]] = {}
        for end in ends:
            told = self.news[end] = []
            end.news = lambda *news, told=told: told.append(news)

    def told(self, end: Broker) -> list[tuple[int, Payload | None]]:
        """Return numbers and messages of the news that one end was told."""
        return [(offset, message) for _, _, offset, message in self.news[end]]

    async def until(self, end: Broker, count: int) -> list[tuple[int, Payload | None]]:
        """Wait for so many news."""
        async with asyncio.timeout(60):
            while len(self.news[end]) < count:
                await asyncio.sleep(0.001)
        return self.told(end)


Make = Callable[..., Awaitable[Ends]]


@pytest.fixture(params=["in memory", "over the supervisor's hub", "on an outbox"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Makes ends of a broker; those of workers, of which there are two, have the sockets of real ones.

    Two processes on an outbox have a real database.
    """
    closing: list[HubEnd | HubBroker] = []
    stopping: list[OutboxBroker] = []
    databases: list[PostgresDatabase] = []

    def behind(hub: Hub) -> HubBroker:
        ours, theirs = socket.socketpair()
        closing.append(HubEnd(hub, ours))
        broker = HubBroker(theirs)
        closing.append(broker)
        broker.open()
        return broker

    async def on_outbox(dsn: str, id: str, topics_most: int) -> OutboxBroker:
        database = PostgresDatabase(dsn, threads=2)
        databases.append(database)
        await SqlProcesses(database).enter(process(id))
        outbox = PostgresOutbox(database, topics_most)
        broker = OutboxBroker(outbox, id, lambda _: True, lambda: BEGAN)
        stopping.append(broker)
        return broker

    async def make(topics_most: int = TOPICS_MOST) -> Ends:
        if request.param == "on an outbox":
            dsn = request.getfixturevalue("database")
            ends = Ends(*[await on_outbox(dsn, id, topics_most) for id in ("one", "other")])
            for end in stopping:
                await end.start()
            return ends
        hub = Hub(os.urandom, topics_most)
        return Ends(MemoryBroker(hub)) if request.param == "in memory" else Ends(behind(hub), behind(hub))

    yield make
    for each in closing:
        each.close()
    for end in stopping:
        await end.stop()
    for database in databases:
        await database.close()


@pytest.fixture
async def ends(make: Make) -> Ends:
    return await make()


async def everything(end: Broker, topic: str, after: Position) -> list[Entry]:
    """Read on until there is nothing more."""
    entries: list[Entry] = []
    while (stretch := await end.read(topic, after)).entries:
        entries += stretch.entries
        after = Position(stretch.epoch, stretch.entries[-1].offset)
    return entries


async def test_topics_with_subscribers_are_listed_with_what_was_said_of_each(ends: Ends) -> None:
    await ends.one.publish("room/old", "nobody listens")
    await ends.one.subscribe("room/b", 1, ANN._replace(info="the\0host"))
    await ends.other.subscribe("room/a", 2, BOB)
    await ends.other.subscribe("elsewhere", 2, BOB)
    assert await ends.one.topics("room/") == ["room/b", "room/a"]
    assert await ends.one.topics("") == ["room/b", "room/a", "elsewhere"]
    assert [each.info for each in await ends.other.present("room/b")] == ["the\0host"]
    ends.other.unsubscribe("room/a", 2)
    assert await ends.other.topics("room/") == ["room/b"]


async def test_what_is_published_is_told_to_all_who_subscribe_in_one_order(ends: Ends) -> None:
    for number, (end, who) in enumerate([(ends.one, ANN), (ends.other, BOB)], 1):
        await end.subscribe("news", number, who)
    messages: list[Payload] = [*(f"{number}" for number in range(20)), b"\x00\xff", "", "Привет"]
    for number, message in enumerate(messages):
        await (ends.one if number % 3 else ends.other).publish("news", message)
    for end in ends.news:
        told = await ends.until(end, len(messages))
        assert [offset for offset, _ in told] == list(range(1, len(messages) + 1))
        assert [message for _, message in told] == messages
        assert len({epoch for _, epoch, *_ in ends.news[end]}) == 1


async def test_who_does_not_subscribe_and_who_does_no_more_is_told_nothing(ends: Ends) -> None:
    await ends.one.publish("news", "before")
    await ends.one.subscribe("news", 1, ANN)
    await ends.one.publish("news", "1")
    async with asyncio.timeout(60):
        while "1" not in [message for _, message in ends.told(ends.one)]:  # what came before may be told first
            await asyncio.sleep(0.001)
    ends.one.unsubscribe("news", 1)
    ends.one.unsubscribe("news", 1)
    ends.one.unsubscribe("no such topic", 5)
    await ends.one.publish("news", "2")
    await ends.other.publish("sport", "3")
    await ends.one.present("news")
    told = [message for _, message in ends.told(ends.one)]
    assert told in (["1"], ["before", "1"]), "who reads on from a place ignores what came before it"


async def test_a_process_is_told_once_and_until_the_last_of_its_sessions_has_left(ends: Ends) -> None:
    await ends.one.subscribe("news", 1, ANN)
    await ends.one.subscribe("news", 2, BOB)
    await ends.one.subscribe("news", 2, BOB)
    await ends.other.publish("news", "1")
    ends.one.unsubscribe("news", 2)
    await ends.one.publish("news", "2")
    assert await ends.until(ends.one, 2) == [(1, "1"), (2, "2")]


async def test_a_new_subscriber_is_told_what_is_kept(ends: Ends) -> None:
    empty = await ends.one.subscribe("news", 1, ANN)
    assert (empty.first, empty.last, empty.entries) == (1, 0, [])
    for number in range(HISTORY_MOST + 10):
        await ends.one.publish("news", f"{number}")
    full = await ends.other.subscribe("news", 2, BOB)
    assert full == Stretch(empty.epoch, 11, HISTORY_MOST + 10, [])


async def test_reading_goes_on_after_a_place_and_says_what_is_kept_no_more(ends: Ends) -> None:
    epoch = (await ends.one.subscribe("news", 1, ANN)).epoch
    size = READ_LIMIT // 3
    for number in range(200):
        await ends.one.publish("news", bytes([number]) * size)
    stretch = await ends.other.read("news", Position(epoch, 190))
    assert [entry.offset for entry in stretch.entries] == [191, 192, 193], "no more than the limit at once"
    assert stretch.last == 200
    entries = await everything(ends.other, "news", Position(epoch, 0))
    kept = HISTORY_LIMIT // (size + 33 + ENTRY_OVERHEAD)
    assert entries == [Entry(offset, bytes([offset - 1]) * size) for offset in range(201 - kept, 201)]
    assert stretch.first == 201 - kept
    assert (await ends.other.read("news", Position(epoch, 200))).entries == []
    anew = await ends.other.read("news", Position(epoch + 1, 199))
    assert anew.entries[0].offset == anew.first, "another life of the topic: everything is new"


async def test_a_message_that_is_larger_than_what_is_kept_is_read_by_itself(ends: Ends) -> None:
    epoch = (await ends.one.subscribe("news", 1, ANN)).epoch
    for message in (b"a", bytes(2 * HISTORY_LIMIT)):
        await ends.one.publish("news", message)
    assert await everything(ends.other, "news", Position(epoch, 0)) == [Entry(2, bytes(2 * HISTORY_LIMIT))]


async def test_who_is_present_is_known_everywhere_with_each_session_once(ends: Ends) -> None:
    assert await ends.one.present("news") == []
    await ends.one.subscribe("news", 2, BOB)
    await ends.other.subscribe("news", 1, ANN)
    await ends.one.subscribe("news", 2, ANN)
    for end in ends.news:
        assert await end.present("news") == [ANN, BOB]
    ends.one.unsubscribe("news", 2)
    assert await ends.one.present("news") == [ANN]
    assert await ends.one.present("sport") == []


async def test_of_too_many_topics_those_nobody_uses_are_forgotten_the_oldest_first(make: Make) -> None:
    ends = await make(topics_most=3)
    epoch = (await ends.one.subscribe("used", 1, ANN)).epoch
    for topic in ("a", "b", "a", "c"):
        await ends.one.publish(topic, topic)
    left = {
        topic: [entry.message for entry in await everything(ends.one, topic, Position(0, 0))] for topic in "abc"
    }
    assert left == {"a": ["a", "a"], "b": [], "c": ["c"]}
    await ends.one.subscribe("a", 1, ANN)
    await ends.one.subscribe("c", 1, ANN)
    with pytest.raises(TopicsFull, match="the server has 3"):
        await ends.other.publish("d", "d")
    with pytest.raises(TopicsFull, match="the server has 3"):
        await ends.other.subscribe("d", 2, BOB)
    ends.one.unsubscribe("a", 1)
    await ends.one.publish("d", "d")
    assert (await ends.one.subscribe("used", 1, ANN)).epoch == epoch


async def test_a_topic_that_was_forgotten_begins_another_life(make: Make) -> None:
    ends = await make(topics_most=1)
    before = await ends.one.subscribe("news", 1, ANN)
    await ends.one.publish("news", "1")
    ends.one.unsubscribe("news", 1)
    await ends.one.publish("sport", "1")
    after = await ends.one.subscribe("news", 1, ANN)
    assert (after.epoch, after.last) != (before.epoch, 1)
    assert after.epoch != before.epoch


async def test_a_topic_lives_on_without_subscribers_and_messages(ends: Ends) -> None:
    epoch = (await ends.one.subscribe("news", 1, ANN)).epoch
    ends.one.unsubscribe("news", 1)
    await ends.one.present("news")
    assert (await ends.other.subscribe("news", 1, ANN)).epoch == epoch, "its subscriber has only moved"


async def test_all_histories_together_are_bounded_and_the_largest_makes_way() -> None:
    hub = Hub(os.urandom, total=100_000)
    ends = Ends(MemoryBroker(hub))
    await ends.one.publish("small", "kept")
    for number in range(300):
        await ends.one.publish(f"large {number % 2}", bytes(2000))
        assert hub.total <= 100_000
    assert len(await everything(ends.one, "small", Position(0, 0))) == 1
    assert len(await everything(ends.one, "large 1", Position(0, 0))) > 5
    await ends.one.publish("huge", bytes(200_000))
    assert hub.total <= 100_000, "even the newest entry of a topic makes way"
