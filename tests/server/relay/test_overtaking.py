"""Requests of one session that overtake each other on their way through relays, at exact moments."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from antiphon.wire.bodies import Error, Resume, ServerBye, Welcome
from support.desk import Desk, sent, told
from support.joined import JoinedClient, JoinedServer, virtual_loop
from support.serving import seed


class Joined(NamedTuple):
    """Two servers in one event loop."""

    home: JoinedServer
    other: JoinedServer
    desk: Desk
    """The home's service."""
    token: bytes
    """Of a session whose home it is, and which nobody holds."""


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Joined]:
    (token,) = seed(tmp_path / "data")
    desk = Desk()
    with (
        virtual_loop() as loop,
        loop.joined(tmp_path / "data", desk) as home,
        loop.joined(tmp_path / "data", Desk()) as other,
    ):
        with home.session(token) as client:
            client.ask("hello")
        home.until(lambda: not home.connections)
        yield Joined(home, other, desk, token)


class Held:
    """A function of a store whose next call waits."""

    def __init__(self, server: JoinedServer, part: object, name: str) -> None:
        self._server = server
        self._real: Callable[..., Awaitable[Any]] = getattr(part, name)
        self.asked = 0
        self._gate = server.read(lambda _: asyncio.Event())
        setattr(part, name, self._wait)

    async def _wait(self, *arguments: Any, **options: Any) -> Any:
        self.asked += 1
        if self.asked == 1:
            await self._gate.wait()
        return await self._real(*arguments, **options)

    def until_asked(self) -> None:
        """Wait for the call."""
        self._server.until(lambda: self.asked)

    def let_on(self) -> None:
        """Let it be answered."""
        self._server.read(lambda _: self._gate.set())


def knocking(server: JoinedServer, token: bytes) -> JoinedClient:
    """Return a client that has asked to resume a session, and was not answered yet."""
    client = server.client()
    client.hello()
    client.send(client.conversation.resume(token, Resume(received=0))[1])
    return client


def test_a_late_request_of_an_older_connection_does_not_replace_a_newer_one(two: Joined) -> None:
    held = Held(two.other, two.other.store.processes, "find")
    late = knocking(two.other, two.token)
    held.until_asked()
    two.home.let_pass(1)
    newer, _ = two.home.back(two.token, 1)
    held.let_on()
    error = late.error()
    assert (error.code, error.wait) == ("try-later", 1)
    assert newer.ask("mine") == "mine"
    assert two.home.sessions.held == 1
    newer.close()
    late.close()


def test_a_request_of_a_newer_connection_replaces_the_older_one_however_late_it_is(two: Joined) -> None:
    older, _ = two.home.back(two.token, 1)
    held = Held(two.other, two.other.store.processes, "find")
    newer = knocking(two.other, two.token)
    held.until_asked()
    two.home.let_pass(2.5)  # a store takes no longer
    held.let_on()
    assert isinstance(newer.body(), Welcome)
    assert older.body() == ServerBye(reason="replaced")
    newer.close()


def test_an_older_connection_that_is_gone_is_no_hindrance(two: Joined) -> None:
    """A client may come back over the connection that was accepted first, if the other one is lost."""
    first = two.other.client()
    first.hello()
    two.home.let_pass(1)
    second, _ = two.home.back(two.token, 1)
    second.cut()
    welcome = first.resume(two.token, 1)
    assert isinstance(welcome, Welcome)
    assert first.ask("mine") == "mine"
    first.close()


@pytest.mark.parametrize("half", [True, False], ids=["half-closed", "cut"])
def test_a_client_that_is_gone_before_the_home_is_told_of_it_changes_nothing(two: Joined, half: bool) -> None:
    holder, _ = two.home.back(two.token, 1)
    held = Held(two.other, two.other.store.processes, "find")
    gone = knocking(two.other, two.token)
    held.until_asked()
    gone.half_close() if half else gone.cut()
    two.other.until(lambda: not any(each.present for each in two.other.connections))
    held.let_on()
    two.home.let_pass(2)
    assert holder.ask("mine") == "mine"
    assert not two.home.records("resumed")[2:]
    holder.close()
    if half:
        gone.close()


def test_a_client_that_is_gone_while_the_home_looks_for_its_session_changes_nothing(two: Joined) -> None:
    holder, _ = two.home.back(two.token, 1)
    held = Held(two.home, two.home.store.sessions, "find")
    gone = knocking(two.other, two.token)
    held.until_asked()
    gone.cut()
    two.home.until(lambda: len(two.home.connections) == 1)
    held.let_on()
    two.home.let_pass(2)
    assert holder.ask("mine") == "mine"
    assert not two.home.records("resumed")[2:]
    holder.close()


def test_a_client_that_is_gone_when_the_home_admits_it_can_come_back(two: Joined) -> None:
    held = Held(two.home, two.home.store.sessions, "hold")
    gone = knocking(two.other, two.token)
    held.until_asked()
    gone.cut()
    two.home.until(lambda: not two.home.connections)
    held.let_on()
    two.home.let_pass(2)
    assert two.home.sessions.held == 0
    client, welcome = two.other.back(two.token, 1)
    assert (welcome.received, welcome.missed) == (1, 0)
    client.close()


def test_of_requests_for_one_session_through_both_servers_the_newest_connection_gets_it(two: Joined) -> None:
    clients = []
    for server in (two.home, two.other, two.home, two.other):
        clients.append(server.client())
        clients[-1].hello()
        two.home.let_pass(0.1)
    for client in clients:
        client.send(client.conversation.resume(two.token, Resume(received=1))[1])
    *others, last = [client.body() for client in clients]
    assert isinstance(last, Welcome)
    two.home.let_pass(1)
    assert (two.home.sessions.held, two.other.sessions.held, len(two.home.channels)) == (1, 0, 1)
    for client, answer in zip(clients, others, strict=False):
        if isinstance(answer, Welcome):
            assert client.body() == ServerBye(reason="replaced")
        else:
            assert isinstance(answer, Error)
            assert answer.code == "try-later"
    assert clients[-1].ask("mine") == "mine"
    for client in clients:
        client.close()


def test_a_session_that_moves_three_times_while_it_is_looked_for_is_to_be_tried_later(two: Joined) -> None:
    sessions = two.other.store.sessions
    (stale,) = two.home.call(sessions.all())
    (channel,) = two.home.channels
    two.home.call(two.home.host.channels.hand_on(channel.session.fingerprint))
    find, looks = sessions.find, []

    async def find_stale(fingerprint: bytes) -> Any:
        looks.append(fingerprint)
        return stale

    sessions.find = find_stale
    client = knocking(two.other, two.token)
    error = client.error()
    assert (error.code, error.wait) == ("try-later", 1)
    assert len(looks) == 3
    sessions.find = find
    welcome = client.resume(two.token, 1)  # the same connection may ask again
    assert isinstance(welcome, Welcome)
    assert welcome.received == 1
    assert client.ask("here") == "here"
    assert len(two.other.channels) == 1
    client.close()


def test_bytes_behind_the_request_are_handled_at_the_home_in_order(two: Joined) -> None:
    client = two.other.client()
    client.hello()
    conversation = client.conversation
    _, resume = conversation.resume(two.token, Resume(received=1))
    pairs = [conversation.message(f"behind {number}") for number in range(3)]
    client.send(resume + b"".join(data for _, data in pairs))
    assert isinstance(client.body(), Welcome)
    (later,) = sent(client, "later")
    assert told(client, 4) == [
        *((id, f"behind {number}") for number, (id, _) in enumerate(pairs)),
        (later, "later"),
    ]
    client.close()


def test_a_home_whose_socket_is_lost_is_not_robbed_while_it_lives(two: Joined, tmp_path: Path) -> None:
    path = tmp_path / "data" / "relay" / f"{two.home.home.id}.sock"
    moved = path.with_suffix(".moved")
    path.rename(moved)
    client = knocking(two.other, two.token)
    error = client.error()
    assert (error.code, error.wait) == ("try-later", 1)
    assert len(two.home.channels) == 1
    assert len(two.other.channels) == 0
    moved.rename(path)
    assert isinstance(client.resume(two.token, 1), Welcome)
    client.close()
