"""Topics as a service uses them: pushes to all who subscribe, in one order, also after a cut."""

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import TopicInvalid, TopicsFull, TryLater
from antiphon.server.home.fence import fence
from antiphon.server.session.registry import AWAY_SECONDS
from antiphon.server.session.subscriptions import TOPICS_OF_SESSION
from antiphon.server.tasks import BackgroundTasks
from antiphon.server.topics.contract import Position, Stretch
from antiphon.server.topics.hub import Hub
from antiphon.server.topics.memory import MemoryBroker
from antiphon.server.topics.post import POST, between
from antiphon.server.topics.topics import Topics
from antiphon.services import Session
from antiphon.topics import HISTORY_MOST, TOPIC_MOST, check_topic
from antiphon.wire.bodies import Error, Resume, Welcome
from antiphon.wire.frames import Payload
from antiphon.wire.kinds import KIB
from support.desk import sent, told
from support.joined import JoinedClient, JoinedLoop, joined, virtual_loop
from support.serving import seed


class Room:
    """A service that does what it is told: `sub TOPIC [HISTORY]`, `unsub TOPIC`, `pub TOPIC TEXT`, `who TOPIC`."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []

    def opened(self, session: Session) -> None:
        self.sessions.append(session)

    async def received(self, message: str, session: Session) -> str | None:
        word, topic, *rest = message.split(" ", 2)
        if word == "sub":
            await session.subscribe(topic, history=int(rest[0]) if rest else 0)
        elif word == "unsub":
            session.unsubscribe(topic)
        elif word == "pub":
            await session.publish(topic, rest[0])
        elif word == "who":
            return " ".join(each.name for each in await session.server.present(topic))
        return "done"


class Polite(Room):
    """The same with both hooks."""

    def published(self, topic: str, message: Payload, session: Session) -> Payload | None:
        return None if message == "secret" else f"{topic} to {session.name}: {message!s}"

    def missed(self, topic: str, session: Session) -> str:
        return f"{topic}: something is missing"


@pytest.fixture
def names(tmp_path: Path) -> dict[str, bytes]:
    return {name: seed(tmp_path / "data", name)[0] for name in ("ann", "bob")}


@pytest.fixture
def loop() -> Iterator[JoinedLoop]:
    with virtual_loop() as loop:
        yield loop


def pushed(client: JoinedClient, count: int) -> list[object]:
    """Return the next pushes; nothing else may come."""
    frames = told(client, count)
    assert {id for id, _ in frames} == {0}, frames
    return [payload for _, payload in frames]


def test_all_get_the_same_in_one_order_the_publisher_too(tmp_path: Path, names: dict[str, bytes]) -> None:
    with joined(tmp_path / "data", Room()) as server:
        ann, bob = (server.session(token) for token in names.values())
        assert [ann.ask("sub news"), bob.ask("sub news"), bob.ask("sub news")] == ["done"] * 3
        for number in range(4):
            client = (ann, bob)[number % 2]
            (id,) = sent(client, f"pub news {number}")
            assert told(client, 2) == [(0, f"{number}"), (id, "done")], "its own message comes first"
            assert pushed((bob, ann)[number % 2], 1) == [f"{number}"]
        server.call(server.host.handlers.server.publish("news", b"\x00bytes"))
        assert pushed(ann, 1) == pushed(bob, 1) == [b"\x00bytes"]
        assert ann.ask("unsub news") == "done"
        server.call(server.host.handlers.server.publish("news", "last"))
        assert pushed(bob, 1) == ["last"]
        assert ann.ask("pub news not heard") == "done"


def test_history_comes_before_the_answer_and_once(tmp_path: Path, names: dict[str, bytes]) -> None:
    with joined(tmp_path / "data", Room()) as server:
        ann = server.session(names["ann"])
        for number in range(5):
            assert ann.ask(f"pub news {number}") == "done"
        (id,) = sent(ann, "sub news 3")
        assert told(ann, 4) == [(0, "2"), (0, "3"), (0, "4"), (id, "done")]
        assert ann.ask("sub news 3") == "done"


def test_what_opened_subscribes_to_comes_before_what_it_says_next(tmp_path: Path, names: dict[str, bytes]) -> None:
    class Greeting(Room):
        async def opened(self, session: Session) -> None:  # type: ignore[override] # either may be
            await session.subscribe("news", history=1)
            session.send("welcome")

    with joined(tmp_path / "data", Greeting()) as server:
        server.call(server.host.handlers.server.publish("news", "old"))
        assert pushed(server.session(names["ann"]), 2) == ["old", "welcome"]


def test_while_the_client_is_away_nothing_is_lost_or_doubled(tmp_path: Path, names: dict[str, bytes]) -> None:
    with joined(tmp_path / "data", Room()) as server:
        ann, bob = (server.session(token) for token in names.values())
        assert ann.ask("sub news") == "done"
        received = 1
        for _ in range(3):
            ann.cut()
            for number in range(50):
                assert bob.ask(f"pub news {number}") == "done"
            ann, welcome = server.back(names["ann"], received)
            assert (welcome.missed, welcome.sent) == (0, received)
            assert pushed(ann, 50) == [f"{number}" for number in range(50)]
            received += 50
        assert ann.ask("pub sport nothing more") == "done"


@pytest.mark.parametrize("how", ["given up", "server stops"])
def test_a_session_that_moves_goes_on_where_it_was(
    tmp_path: Path, names: dict[str, bytes], loop: JoinedLoop, how: str
) -> None:
    broker = MemoryBroker()
    with loop.joined(tmp_path / "data", Room(), broker=broker) as server:
        ann, bob = (server.session(token) for token in names.values())
        assert [ann.ask("sub news"), bob.ask("pub news 1")] == ["done", "done"]
        assert pushed(ann, 1) == ["1"]
        (channel,) = (each for each in server.channels if each.shown.name == "ann")
        before = server.call(server.host.handlers.server.present("news"))
        ann.cut()
        assert bob.ask("pub news 2") == "done"
        if how == "given up":
            server.read(lambda _: setattr(channel, "away_since", server.now - AWAY_SECONDS - 1))
            server.until(lambda: channel not in server.channels)
            assert server.call(server.host.handlers.server.present("news")) == []
            assert bob.ask("pub news 3") == "done"
            ann, welcome = server.back(names["ann"], 2)
            assert welcome.missed == 0
            assert pushed(ann, 2) == ["2", "3"]
            assert server.call(server.host.handlers.server.present("news")) == before
            return
    with loop.joined(tmp_path / "data", Room(), broker=broker) as server:
        server.call(server.host.handlers.server.publish("news", "3"))
        ann, welcome = server.back(names["ann"], 2)
        assert welcome.missed == 0
        assert pushed(ann, 2) == ["2", "3"]
        assert server.call(server.host.handlers.server.present("news")) == before


def test_what_the_broker_keeps_no_more_is_counted_as_missed(tmp_path: Path, names: dict[str, bytes]) -> None:
    with joined(tmp_path / "data", Room()) as server:
        ann = server.session(names["ann"])
        assert ann.ask("sub news") == "done"
        (id,) = sent(ann, "sub more")
        server.let_pass(1)
        ann.cut()  # the answer may be read or not: it is sent again

        async def flood() -> None:
            for number in range(HISTORY_MOST + 7):
                await server.host.handlers.server.publish("news", f"{number}")

        server.call(flood())
        ann, welcome = server.back(names["ann"], 1)
        assert (welcome.missed, welcome.sent) == (7, 9)
        assert told(ann, 1) == [(id, "done")], "what the client has not acknowledged is not dropped for it"
        assert pushed(ann, HISTORY_MOST)[::999] == ["7", "1006"]
        ann.cut()
        ann, welcome = server.back(names["ann"], 9 + HISTORY_MOST)
        assert welcome.missed == 0
        assert ann.ask("pub sport nothing more") == "done"


def test_after_a_restart_nobody_knows_what_was_missed(
    tmp_path: Path, names: dict[str, bytes], loop: JoinedLoop
) -> None:
    with loop.joined(tmp_path / "data", Room()) as server:
        ann = server.session(names["ann"])
        assert ann.ask("sub news") == "done"
        ann.cut()
    with loop.joined(tmp_path / "data", Room()) as server:
        ann, welcome = server.back(names["ann"], 1)
        assert (welcome.missed, welcome.sent) == (1, 2)
        (id,) = sent(ann, "pub news 1")
        assert told(ann, 2) == [(0, "1"), (id, "done")]


def test_hooks_say_what_is_pushed_for_a_message_and_for_a_gap(
    tmp_path: Path, names: dict[str, bytes], loop: JoinedLoop
) -> None:
    with loop.joined(tmp_path / "data", Polite()) as server:
        ann = server.session(names["ann"])
        assert [ann.ask("sub news"), ann.ask("pub news secret")] == ["done", "done"]
        (id,) = sent(ann, "pub news hello")
        assert told(ann, 2) == [(0, "news to ann: hello"), (id, "done")]
        ann.cut()
    with loop.joined(tmp_path / "data", Polite()) as server:
        ann, welcome = server.back(names["ann"], 4)
        assert welcome.missed == 0
        assert pushed(ann, 1) == ["news: something is missing"]
        ann.cut()
    with loop.joined(tmp_path / "data", Polite()) as server:
        server.call(server.host.handlers.server.publish("news", "before"))
        ann, welcome = server.back(names["ann"], 5)
        assert pushed(ann, 2) == ["news: something is missing", "news to ann: before"]


def test_to_an_acknowledging_client_nothing_published_pushes_a_frame_out(
    tmp_path: Path, names: dict[str, bytes]
) -> None:
    with joined(tmp_path / "data", Polite()) as server:
        ann = server.session(names["ann"])
        assert ann.ask("sub news") == "done"
        ann.send(ann.conversation.ack(1))
        server.let_pass(1)

        async def flood() -> None:
            for number in range(100):
                await server.host.handlers.server.publish("news", f"{number:03}" + "x" * 8000)

        server.call(flood())
        (channel,) = server.channels
        received = 1
        for _ in range(2):
            first = [str(push)[13:16] for push in pushed(ann, channel.replay.sent - received)]
            assert len(first) < 33, "no more than the client may need again"
            assert first == [f"{number:03}" for number in range(received - 1, received - 1 + len(first))]
            received += len(first)
            ann.send(ann.conversation.ack(received))
            server.let_pass(1)
        ann.cut()
        ann, welcome = server.back(names["ann"], received)
        assert welcome.missed == 0
        assert str(pushed(ann, 1)[0])[13:16] == f"{received - 1:03}"


def test_a_service_is_told_of_pushes_that_were_dropped(tmp_path: Path, names: dict[str, bytes]) -> None:
    with joined(tmp_path / "data", Polite()) as server:
        ann = server.session(names["ann"])
        assert ann.ask("sub news") == "done"

        async def flood() -> None:
            for _ in range(50):
                await server.host.handlers.server.publish("news", "x" * 8000)

        server.call(flood())
        assert len(pushed(ann, 50)) == 50, "a client that never acknowledges gets everything"
        ann.cut()
        ann, welcome = server.back(names["ann"], 2)
        assert welcome.missed > 10
        pushed(ann, 50 - 1 - welcome.missed)
        ann.send(ann.conversation.ack(51))
        assert pushed(ann, 1) == ["news: something is missing"]
        ann.cut()
        ann, welcome = server.back(names["ann"], None)
        assert pushed(ann, 1) == ["news: something is missing"], "nobody knows what has come"


def test_what_was_missed_is_told_after_opened_whatever_comes_between(
    tmp_path: Path, names: dict[str, bytes], loop: JoinedLoop
) -> None:
    class Slow(Polite):
        gate: asyncio.Event | None = None

        async def opened(self, session: Session) -> None:  # type: ignore[override] # either may be
            if self.gate is not None:
                await self.gate.wait()

    room, broker = Slow(), MemoryBroker()
    with loop.joined(tmp_path / "data", room) as server:
        ann = server.session(names["ann"])
        assert ann.ask("sub news") == "done"
        ann.cut()
    room.gate = asyncio.Event()
    with loop.joined(tmp_path / "data", room, broker=broker) as server:
        ann, _ = server.back(names["ann"], 1)
        ann.cut()
        (channel,) = server.channels
        server.until(lambda: channel.away_since is not None)
    with loop.joined(tmp_path / "data", room, broker=broker) as server:
        ann, _ = server.back(names["ann"], 1)
        server.call(server.host.handlers.server.publish("news", "hello"))
        server.let_pass(1)
        (channel,) = server.channels
        assert channel.replay.sent == 1, "nothing is pushed before `opened` has returned"
        gate = room.gate
        server.read(lambda _: gate.set())
        assert pushed(ann, 2) == ["news: something is missing", "news to ann: hello"]


def test_behind_a_closed_fence_nothing_is_pushed(tmp_path: Path, names: dict[str, bytes]) -> None:
    with joined(tmp_path / "data", Room()) as server:
        ann = server.session(names["ann"])
        assert ann.ask("sub news") == "done"
        (channel,) = server.channels

        async def close_and_publish() -> int:
            fence.close()
            await server.host.handlers.server.publish("news", "hello")
            return channel.replay.sent

        assert server.call(close_and_publish()) == 1
        assert pushed(ann, 1) == ["hello"]


def test_a_message_larger_than_what_may_wait_cuts_no_reader(tmp_path: Path, names: dict[str, bytes]) -> None:
    with joined(tmp_path / "data", Room()) as server:
        ann = server.session(names["ann"])
        assert ann.ask("sub news") == "done"
        server.call(server.host.handlers.server.publish("news", bytes(1000 * KIB)))
        assert pushed(ann, 1) == [bytes(1000 * KIB)]
        assert ann.ask("pub sport nothing more") == "done"


def test_a_hook_that_fails_is_the_services_fault_and_the_next_message_comes(
    tmp_path: Path, names: dict[str, bytes]
) -> None:
    class Faulty(Room):
        def published(self, topic: str, message: Payload, session: Session) -> Any:
            if message == "raise":
                raise RuntimeError
            return {"number": object(), "large": bytes(2 * KIB)}.get(str(message), message)

    with joined(tmp_path / "data", Faulty(), message_limit=KIB) as server:
        ann = server.session(names["ann"])
        assert ann.ask("sub news") == "done"
        for word in ("raise", "number", "large"):
            assert ann.ask(f"pub news {word}") == "done"
        (id,) = sent(ann, "pub news fine")
        assert told(ann, 2) == [(0, "fine"), (id, "done")]
        assert len(server.records("service-failed")) == 3


@pytest.mark.parametrize(
    ("topic", "problem"),
    [
        ("", "it has no character"),
        ("x" * (TOPIC_MOST + 1), "longer than 200 bytes"),
        ("й" * 101, "longer than 200 bytes"),
        ("a\nb", "cannot be printed"),
        ("\0post", "cannot be printed"),
        ("a\u202eb", "cannot be printed"),
        ("\ud800", "cannot be printed"),
    ],
)
def test_a_topic_that_cannot_be_one_is_refused(topic: str, problem: str) -> None:
    with pytest.raises(TopicInvalid, match=problem) as refused:
        check_topic(topic)
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize("topic", ["room/lobby", "Комната 5", "x" * TOPIC_MOST, "й" * 100])
def test_a_topic_of_any_printable_text_is_one(topic: str) -> None:
    check_topic(topic)


def test_a_session_has_so_many_topics_and_a_message_so_many_bytes(tmp_path: Path, names: dict[str, bytes]) -> None:
    room = Room()
    with joined(tmp_path / "data", room, message_limit=KIB) as server:
        ann = server.session(names["ann"])
        assert ann.ask("sub 0") == "done"
        (session,) = room.sessions

        async def use() -> None:
            for number in range(TOPICS_OF_SESSION):
                await session.subscribe(f"{number}")
            with pytest.raises(TopicsFull, match="subscribed to 100"):
                await session.subscribe("another")
            session.unsubscribe("0")
            await session.subscribe("another")
            await session.publish("another", "x" * KIB)
            with pytest.raises(ValueError, match="--message-limit"):
                await session.publish("another", "x" * (KIB + 1))
            with pytest.raises(ValueError, match="--message-limit"):
                await session.server.send_to(1, "x" * (KIB + 1))
            for work in (session.subscribe(""), session.publish("", ""), session.server.present("")):
                with pytest.raises(TopicInvalid):
                    await work

        server.call(use())
        assert pushed(ann, 1) == ["x" * KIB]


# --- the sessions of an account --------------------------------------------------------------------------------


def test_all_sessions_of_an_account_are_reached(tmp_path: Path) -> None:
    first, second = seed(tmp_path / "data", "ann", sessions=2)
    (other,) = seed(tmp_path / "data", "bob")
    room = Room()
    with joined(tmp_path / "data", room) as server:
        clients = [server.session(token) for token in (first, second, other)]
        for client in clients:
            assert client.ask("who x") == ""
        face = room.sessions[0].server
        ann = room.sessions[0].account
        assert set(face.sessions()) == set(room.sessions)
        server.call(face.send_to(ann, "to ann"))
        assert [pushed(client, 1) for client in clients[:2]] == [["to ann"], ["to ann"]]
        server.call(face.disconnect(ann, "it is late"))
        for client in clients[:2]:
            bye = client.body()
            assert (getattr(bye, "reason", None), getattr(bye, "text", None)) == ("closed", "it is late")
        assert clients[2].ask("who x") == ""
        assert face.sessions() == [room.sessions[2]]
        server.call(face.disconnect(room.sessions[2], "you too"))
        assert getattr(clients[2].body(), "text", None) == "you too"


def test_the_sessions_of_two_processes_reach_each_other(tmp_path: Path, loop: JoinedLoop) -> None:
    hub = Hub(os.urandom)
    tokens = [seed(tmp_path / place, "ann")[0] for place in ("one", "two")]
    with (
        loop.joined(tmp_path / "one", Room(), broker=MemoryBroker(hub)) as one,
        loop.joined(tmp_path / "two", Room(), broker=MemoryBroker(hub)) as two,
    ):
        here, there = one.session(tokens[0]), two.session(tokens[1])
        assert [here.ask("sub news"), there.ask("sub news")] == ["done", "done"]
        assert [here.ask("who news"), there.ask("who news")] == ["ann ann", "ann ann"]
        (id,) = sent(here, "pub news 1")
        assert told(here, 2) == [(0, "1"), (id, "done")]
        assert pushed(there, 1) == ["1"]
        face = one.host.handlers.server
        (session,) = face.sessions()
        one.call(face.send_to(session.account, "to both"))
        assert pushed(here, 1) == pushed(there, 1) == ["to both"]
        one.call(face.disconnect(session.account, "it is late"))
        assert [getattr(client.body(), "text", None) for client in (here, there)] == ["it is late"] * 2
        two.until(lambda: not two.channels)
        assert one.call(face.present("news")) == []


def test_a_session_on_its_way_gets_its_post_afterwards(
    tmp_path: Path, names: dict[str, bytes], loop: JoinedLoop
) -> None:
    broker = MemoryBroker()
    room = Room()
    with loop.joined(tmp_path / "data", room, broker=broker) as server:
        ann, bob = (server.session(token) for token in names.values())
        assert [ann.ask("who x"), bob.ask("who x")] == ["", ""]
        server.call(server.host.handlers.server.send_to(room.sessions[0].account, "1"))
        assert pushed(ann, 1) == ["1"]
        ann.cut()
        bob.cut()
    with loop.joined(tmp_path / "data", room, broker=broker) as server:
        face = server.host.handlers.server
        server.call(face.send_to(room.sessions[0].account, "2"))
        server.call(face.disconnect(room.sessions[1].account, "it is late"))
        ann, _ = server.back(names["ann"], 2)
        assert pushed(ann, 1) == ["2"]
        server.call(face.send_to(room.sessions[0].account, "3"))
        assert pushed(ann, 1) == ["3"]
        bob, _ = server.back(names["bob"], 1)
        assert getattr(bob.body(), "text", None) == "it is late"


async def test_post_is_caught_up_to_a_place_and_no_further() -> None:
    class Home:
        """The channel of a session of account 1, and the session."""

        account, reachable = 1, True

        def __init__(self) -> None:
            self.heard: list[object] = []

        @property
        def shown(self) -> Any:
            return self

        def send(self, message: Payload) -> None:
            self.heard.append(message)

        def takes_post(self, place: Position) -> bool:
            return True

    broker, home = MemoryBroker(), Home()
    topics = Topics(broker, BackgroundTasks(), KIB, lambda: datetime.now(UTC))
    await topics.start()
    since = topics.post.place
    for account, message in ((1, "1"), (2, "2"), (1, "3")):
        await topics.send_to(account, message)
    until = topics.post.place
    assert since is not None
    assert until is not None
    await topics.send_to(1, "delivered as it came")
    assert topics.post.catch_up(home, await topics.post.read(since), until) is None
    assert home.heard == ["1", "3"]
    assert between(since, Position(until.epoch + 1, 9)) is None, "of another life of the topic nobody knows"


class Halting(MemoryBroker):
    """Reads of the post go wrong, or wait, as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[Exception | asyncio.Event | None] = []

    async def read(self, topic: str, after: Position) -> Stretch:
        what = self.reads.pop(0) if topic == POST and self.reads else None
        if isinstance(what, Exception):
            raise what
        if what is not None:
            await what.wait()
        return await super().read(topic, after)


def test_what_comes_while_a_session_is_on_its_way_is_delivered_too(
    tmp_path: Path, names: dict[str, bytes], loop: JoinedLoop
) -> None:
    class Leaving(Room):
        async def closed(self, session: Session) -> None:
            await session.server.send_to(session.account, "1: while it is closed")

    broker, room = Halting(), Leaving()
    with loop.joined(tmp_path / "data", room, broker=broker) as server:
        ann = server.session(names["ann"])
        assert ann.ask("sub x") == "done"
        ann.cut()
    account = room.sessions[0].account
    with loop.joined(tmp_path / "data", room, broker=broker) as server:
        broker.reads = [TryLater()]
        client = server.client()
        client.hello()
        assert isinstance(client.resume(names["ann"], 1), Error)
        server.call(server.host.handlers.server.send_to(account, "2: while it cannot be resumed"))
        assert not server.host.handlers.server.sessions()
    with loop.joined(tmp_path / "data", room, broker=broker) as server:
        gate = asyncio.Event()
        broker.reads = [gate]
        client = server.client()
        client.hello()
        client.send(client.conversation.resume(names["ann"], Resume(received=1))[1])
        server.let_pass(0.1)
        server.call(server.host.handlers.server.send_to(account, "3: while it is resumed"))
        server.read(lambda _: gate.set())
        assert isinstance(client.body(), Welcome)
        assert [str(push)[:2] for push in pushed(client, 3)] == ["1:", "2:", "3:"]
        server.call(server.host.handlers.server.send_to(account, "4"))
        assert pushed(client, 1) == ["4"]


@pytest.mark.parametrize("twice", [False, True], ids=["after a failure", "by two connections at once"])
def test_no_post_is_delivered_twice_to_a_session_that_comes_back_again(
    tmp_path: Path, names: dict[str, bytes], loop: JoinedLoop, *, twice: bool
) -> None:
    broker, room = Halting(), Room()
    with loop.joined(tmp_path / "data", room, broker=broker) as server:
        ann = server.session(names["ann"])
        assert ann.ask("sub x") == "done"
        ann.cut()
    letters = [f"{number}" * (40 * KIB) for number in range(3)]  # more than one read returns
    with loop.joined(tmp_path / "data", room, broker=broker) as server:
        for letter in letters:
            server.call(server.host.handlers.server.send_to(room.sessions[0].account, letter))
        gate = asyncio.Event()
        broker.reads = [gate, gate] if twice else [None, TryLater()]
        first = server.client()
        first.hello()
        if twice:
            first.send(first.conversation.resume(names["ann"], Resume(received=1))[1])
            server.let_pass(0.1)
            server.runner.get_loop().call_later(1, gate.set)
        else:
            assert isinstance(first.resume(names["ann"], 1), Error)
        ann, _ = server.back(names["ann"], 1)
        assert pushed(ann, 3) == letters
        assert ann.ask("pub y nothing more") == "done"


# --- slow subscribers ------------------------------------------------------------------------------------------


def test_who_does_not_read_is_cut_in_time_and_nobody_else_loses_anything(
    tmp_path: Path, names: dict[str, bytes]
) -> None:
    with joined(tmp_path / "data", Room()) as server:
        ann, bob = (server.session(token) for token in names.values())
        assert [ann.ask("sub news"), bob.ask("sub news")] == ["done", "done"]
        (channel,) = (each for each in server.channels if each.shown.name == "ann")

        async def flood(count: int) -> None:
            for number in range(count):
                await server.host.handlers.server.publish("news", f"{number:05}" + "x" * 8000)
                await asyncio.sleep(0.01)

        async def read() -> list[bytes]:
            frames: list[bytes] = []
            while sum(len(frame) for frame in frames) < 300 * 8000:
                frames.append(await bob._end.read(60))
            return frames

        async def both() -> list[bytes]:
            reading = asyncio.ensure_future(read())
            await flood(300)
            return await reading

        data = b"".join(server.call(both()))
        assert [data.count(f"{number:05}xxx".encode()) for number in range(300)] == [1] * 300
        assert channel.replay.sent < 150, "it stands still while the client does not read"
        ann.closed()
        assert "peer-too-slow" in server.log()
        ann, welcome = server.back(names["ann"], 1 + 50)
        assert welcome.missed + channel.replay.sent > 51
