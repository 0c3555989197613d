"""The outbox of a database, and the broker on it when the database, a process or a part of the history is gone."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from antiphon.errors import TryLater
from antiphon.server.tasks import BackgroundTasks
from antiphon.server.topics.contract import Position
from antiphon.server.topics.outbox import OutboxBroker
from antiphon.server.topics.subscription import Subscription
from antiphon.store.contracts import OUTBOX_KEPT
from antiphon.store.sql.database import TOPICS_CHANNEL, Lock
from antiphon.store.sql.postgres.connection import Driver, PostgresConnection
from antiphon.store.sql.postgres.database import PostgresDatabase
from antiphon.store.sql.postgres.outbox import PostgresOutbox
from antiphon.store.sql.processes import SqlProcesses
from antiphon.topics import Subscriber
from antiphon.wire.frames import Payload
from support.patient_store import wait_for_stores
from support.stored import process

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN, BOB = (Subscriber(number, name, BEGAN + timedelta(number)) for number, name in ((1, "ann"), (2, "bob")))


class Link(PostgresOutbox):
    """One process's way to the database, which can be cut."""

    cut: asyncio.Event | None = None
    """Since it was cut; set once it has been looked for news in vain."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        cut: asyncio.Event | None = super().__getattribute__("cut")
        if name != "_rows" and asyncio.iscoroutinefunction(found) and cut is not None:

            async def away(*_: object) -> None:
                if name in {"news", "ends"}:
                    cut.set()
                raise TryLater

            return away
        return found


class Heard:
    """A reader that notes what it is given (`subscription.Reader`)."""

    def __init__(self) -> None:
        self.messages: list[Payload] = []
        self.gaps: list[int] = []

    def takes(self, _: Subscription) -> bool:
        return True

    def deliver(self, _: Subscription, message: Payload, frame: bytes | None) -> None:
        self.messages.append(message)

    def missed(self, _: Subscription, entries: int) -> None:
        self.gaps.append(entries)

    async def until(self, message: Payload) -> None:
        async with asyncio.timeout(60):
            while message not in self.messages:
                await asyncio.sleep(0.005)


class Node:
    """A process with one subscription to `news`."""

    def __init__(self, database: PostgresDatabase, id: str, alive: set[str]) -> None:
        self.id = id
        self.outbox = Link(database)
        self.broker = OutboxBroker(self.outbox, id, alive.__contains__, lambda: BEGAN)
        self.broker.news = self._news
        self.heard = Heard()
        self.subscription = Subscription(self.broker, BackgroundTasks(), self.heard, "news", 1, ANN)

    async def cut(self) -> None:
        """Cut it off, and wait until it has noticed: no read of before is under way then."""
        self.outbox.cut = asyncio.Event()
        self.broker.look()
        async with asyncio.timeout(60):
            await self.outbox.cut.wait()

    def _news(self, topic: str, epoch: int, offset: int, message: Payload | None) -> None:
        self.subscription.news(epoch, offset, message, None)


Join = Callable[[str], Any]


@pytest.fixture
async def opened(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresDatabase]:
    wait_for_stores(monkeypatch)
    opened = PostgresDatabase(database, threads=2)
    yield opened
    await opened.close()


@pytest.fixture
async def nodes(opened: PostgresDatabase) -> AsyncIterator[tuple[Node, Node]]:
    alive = {"one", "other"}
    nodes = Node(opened, "one", alive), Node(opened, "other", alive)
    for node in nodes:
        await SqlProcesses(opened).enter(process(node.id))
        await node.broker.start()
        await node.subscription.join()
    yield nodes
    for node in nodes:
        node.outbox.cut = None
        await node.broker.stop()


async def test_what_is_said_while_the_database_is_away_is_refused_and_what_others_say_comes_after(
    nodes: tuple[Node, Node],
) -> None:
    near, far = nodes
    await near.broker.publish("news", "before")
    await near.heard.until("before")
    await near.cut()
    with pytest.raises(TryLater):
        await near.broker.publish("news", "refused")
    for number in range(5):
        await far.broker.publish("news", f"{number}")
    near.broker.look()
    await far.heard.until("4")
    assert near.heard.messages == ["before"]
    near.outbox.cut = None
    near.broker.look()
    await near.heard.until("4")
    await near.broker.publish("news", "after")
    await far.heard.until("after")
    await near.heard.until("after")
    assert near.heard.messages == far.heard.messages == ["before", "0", "1", "2", "3", "4", "after"]
    assert near.heard.gaps == far.heard.gaps == []


async def test_of_what_is_kept_no_more_when_it_is_back_a_process_is_told(nodes: tuple[Node, Node]) -> None:
    near, far = nodes
    await near.cut()
    for number in range(5):
        await far.broker.publish("news", f"{number}")
    await far.heard.until("4")
    await far.outbox.trim(BEGAN + OUTBOX_KEPT + timedelta(seconds=1))
    near.outbox.cut = None
    near.broker.look()
    async with asyncio.timeout(60):
        while not near.heard.gaps:
            await asyncio.sleep(0.005)
    assert (near.heard.messages, near.heard.gaps) == ([], [5])
    await far.broker.publish("news", "new")
    await near.heard.until("new")


async def test_both_publish_at_once_and_each_hears_everything_in_the_same_order(nodes: tuple[Node, Node]) -> None:
    said = [f"{node.id} {number}" for number in range(50) for node in nodes]
    await asyncio.gather(*(nodes[place % 2].broker.publish("news", each) for place, each in enumerate(said)))
    for node in nodes:
        await node.subscription.caught_up()
        for each in said:
            await node.heard.until(each)
    one, other = (node.heard.messages for node in nodes)
    assert one == other
    assert sorted(map(str, one)) == sorted(said)
    for node in nodes:
        own = [each for each in one if str(each).startswith(f"{node.id} ")]
        assert own == [each for each in said if each.startswith(f"{node.id} ")]


async def test_a_number_that_is_committed_late_is_not_skipped(nodes: tuple[Node, Node], database: str) -> None:
    """Another transaction has taken the lock and a number, and commits when others want to publish."""
    near, _ = nodes
    with Driver.connect(database) as late:
        PostgresConnection(late).lock(Lock.TOPICS)
        publishing = asyncio.create_task(near.broker.publish("news", "second"))
        with psycopg.connect(database, autocommit=True) as watching:
            async with asyncio.timeout(60):
                while not watching.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall():
                    await asyncio.sleep(0.005)
        late.execute(
            'INSERT INTO entries (topic, "offset", message, is_text, size, at)'
            " SELECT id, 1, 'first', true, 1, 0 FROM topics WHERE name = 'news'"
        )
        late.execute("UPDATE topics SET last = 1 WHERE name = 'news'")
        assert near.heard.messages == []
        late.commit()
    await publishing
    await near.heard.until("second")
    assert near.heard.messages == ["first", "second"]


async def test_who_was_taken_for_dead_is_absent_and_subscribed_again_when_it_goes_on(
    nodes: tuple[Node, Node], opened: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = nodes
    assert len(await far.broker.present("news")) == 2
    await SqlProcesses(opened).remove("one")
    await far.outbox.trim(BEGAN)
    assert await far.outbox.subscriptions("one") == set()
    await far.broker.publish("news", "meanwhile")
    await SqlProcesses(opened).enter(process("one"))  # else each trim removes what it mends
    monkeypatch.setattr("antiphon.server.topics.outbox.TEND_SECONDS", 0.01)
    near.broker._running.append(asyncio.create_task(near.broker._tend()))
    await near.heard.until("meanwhile")
    assert await far.outbox.subscriptions("one") == {("news", 1)}


async def test_subscribers_of_a_process_that_stands_still_are_absent(opened: PostgresDatabase) -> None:
    alive = {"one", "other"}
    one, other = Node(opened, "one", alive), Node(opened, "other", alive)
    for node in (one, other):
        await SqlProcesses(opened).enter(process(node.id))
    await one.broker.subscribe("news", 1, ANN)
    await other.broker.subscribe("news", 1, BOB)
    await other.broker.subscribe("sport", 2, BOB)
    assert await one.broker.present("news") == [ANN, BOB]
    await SqlProcesses(opened).remove("other")
    assert await one.broker.present("news") == [ANN], "others have found it dead"
    await SqlProcesses(opened).enter(process("other"))
    alive.remove("other")
    assert await one.broker.present("news") == [ANN]
    assert await one.broker.topics("") == ["news"]


async def test_of_all_messages_together_the_topic_with_the_most_loses(opened: PostgresDatabase) -> None:
    outbox = PostgresOutbox(opened, total=100_000)
    await outbox.publish([("small", "kept"), *(("large", bytes(2000)) for _ in range(100))], BEGAN)
    await outbox.trim(BEGAN)
    kept, _ = await outbox.read("small", 0, 0, 1000)
    assert kept is not None
    assert (kept.first, kept.last) == (1, 1)
    kept, posted = await outbox.read("large", 0, 0, 10**6)
    assert kept is not None
    assert 20 < len(posted) < 50
    assert [each.offset for each in posted] == list(range(kept.first, 101))
    await outbox.publish([("huge", bytes(200_000))], BEGAN)
    await outbox.trim(BEGAN)
    kept, posted = await outbox.read("huge", 0, 0, 10)
    assert (kept and kept.first, posted) == (2, []), "even the newest one makes way"


async def test_many_news_come_in_parts_and_a_large_message_is_to_be_read(opened: PostgresDatabase) -> None:
    outbox = PostgresOutbox(opened)
    await outbox.subscribe("one", "news", 1, ANN)
    start, _ = await outbox.ends("one")
    await outbox.publish([("news", f"{number}") for number in range(700)], BEGAN)
    await outbox.publish([("elsewhere", "not for here"), ("news", bytes(100_000))], BEGAN)
    parts = []
    while (found := await outbox.news("one", start))[0] != start:
        start, posted = found
        parts.append(posted)
    assert [len(part) for part in parts] == [500, 201]
    news = list(itertools.chain(*parts))
    assert [each.offset for each in news] == list(range(1, 702))
    assert (news[0].message, news[-1].message) == ("0", None)
    (_, (large,)) = await outbox.read("news", news[-1].epoch, 700, 1)
    assert large.message == bytes(100_000)


async def test_publishing_is_announced(opened: PostgresDatabase, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as listening:
        listening.execute(f"LISTEN {TOPICS_CHANNEL}".encode())
        await PostgresOutbox(opened).publish([("news", "1"), ("news", "2")], BEGAN)
        assert [each.channel for each in listening.notifies(timeout=60, stop_after=1)] == [TOPICS_CHANNEL]


async def test_a_position_of_a_topic_that_is_not_there_is_read_from_the_first(nodes: tuple[Node, Node]) -> None:
    near, _ = nodes
    assert await near.broker.read("nothing", Position(5, 5)) == (0, 1, 0, [])


async def test_who_asks_for_the_subscribers_of_many_topics_asks_the_database_little(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = nodes
    await other.broker.subscribe("sport", 2, BOB)
    asked: list[list[str]] = []
    present = one.outbox.present

    async def counted(topics: list[str]) -> Any:
        asked.append(topics)
        return await present(topics)

    monkeypatch.setattr(one.outbox, "present", counted)
    rooms = ["news", "sport", *map(str, range(100))]
    found = await asyncio.gather(*(one.broker.present(room) for room in rooms * 3))
    assert found == [[ANN, ANN], [BOB], *([[]] * 100)] * 3
    assert asked == [rooms], "each of those who ask would be a transaction of its own"
    one.outbox.cut = asyncio.Event()
    refused = await asyncio.gather(*map(one.broker.present, rooms), return_exceptions=True)
    assert {type(error) for error in refused} == {TryLater}
    one.outbox.cut = None
    assert await one.broker.present("sport") == [BOB]
