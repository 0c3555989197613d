"""Relays between nodes at exact moments: two servers in one event loop, which reach each other over TLS."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec import structs

from antiphon.server.home.watch import DEAD_SECONDS
from antiphon.server.relay.dialer import RelayDialer
from antiphon.server.relay.opening import Opening
from antiphon.store.contracts import ProcessRecord
from antiphon.wire.bodies import Resume, ServerBye, Welcome
from support.desk import Desk, sent, told
from support.joined import JoinedServer, virtual_loop
from support.serving import seed

HOUR = 3600.0


class Nodes(NamedTuple):
    """Two servers, and a session whose home is the first and which nobody holds."""

    home: JoinedServer
    other: JoinedServer
    token: bytes


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Nodes]:
    (token,) = seed(tmp_path / "data")
    with (
        virtual_loop() as loop,
        loop.joined(tmp_path / "data", Desk(), place="one") as home,
        loop.joined(tmp_path / "data", Desk(), place="two") as other,
    ):
        with home.session(token) as client:
            client.ask("hello")
        home.until(lambda: not home.connections)
        yield Nodes(home, other, token)


@pytest.fixture(params=[HOUR, -HOUR], ids=["ahead", "behind"])
def hour_off(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another monotonic clock at who relays, as on another machine."""
    encode = Opening.encode

    def encoded(opening: Opening) -> bytes:
        values = [getattr(opening, name) for name in opening.__struct_fields__]
        values[opening.__struct_fields__.index("accepted_at")] += request.param
        return encode(Opening(*values))

    monkeypatch.setattr(Opening, "encode", encoded)


def test_a_session_is_relayed_over_tls_and_nothing_is_lost_or_doubled(two: Nodes) -> None:
    client, welcome = two.other.back(two.token, 1)
    assert (welcome.received, welcome.missed) == (1, 0)
    words = [f"word {number}" for number in range(100)] + ["x" * 200_000]
    asked = sent(client, *words)
    assert told(client, len(words)) == list(zip(asked, words, strict=True))
    assert (len(two.home.channels), len(two.other.channels)) == (1, 0)
    assert len(two.other.records("relayed")) == 1
    assert "relay-refused" not in two.home.log()
    client.leave()
    two.home.until(lambda: not two.home.connections)
    two.other.until(lambda: not two.other.host.connections)


@pytest.mark.usefixtures("hour_off")
def test_a_newer_connection_takes_the_session_whatever_the_clocks_say(two: Nodes) -> None:
    older, _ = two.home.back(two.token, 1)
    for answered, server in enumerate((two.other, two.home, two.other, two.other), 1):
        two.home.let_pass(0.5)
        newer, _ = server.back(two.token, answered)
        assert older.body() == ServerBye(reason="replaced")
        assert newer.ask("mine") == "mine"
        older.close()
        older = newer
    older.close()


@pytest.mark.usefixtures("hour_off")
def test_an_older_connection_takes_it_from_no_newer_one_whatever_the_clocks_say(two: Nodes) -> None:
    late = two.other.client()
    late.hello()
    two.home.let_pass(0.5)
    newer, _ = two.home.back(two.token, 1)
    late.send(late.conversation.resume(two.token, Resume(received=1))[1])
    error = late.error()
    assert (error.code, error.wait) == ("try-later", 1)
    assert newer.ask("mine") == "mine"
    newer.close()
    late.close()


def test_a_connection_that_may_be_older_is_put_off_until_it_is_certain(
    two: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GO comes 2 s after READY: for all that the home knows, the client was accepted 2 s before it was."""
    answered = RelayDialer._answered

    async def answered_late(dialer: RelayDialer, home: ProcessRecord, ready: "asyncio.Future[None]") -> None:
        await answered(dialer, home, ready)
        await asyncio.sleep(2)

    first, _ = two.home.back(two.token, 1)
    two.home.let_pass(1)
    second = two.other.client()
    second.hello()
    with monkeypatch.context() as late:
        late.setattr(RelayDialer, "_answered", answered_late)
        second.send(second.conversation.resume(two.token, Resume(received=1))[1])
        assert second.error().code == "try-later"
    assert first.ask("mine") == "mine"
    assert isinstance(second.resume(two.token, 2), Welcome)
    assert second.ask("mine") == "mine"
    first.close()
    second.close()


def test_a_node_speaks_for_itself_alone(two: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home notes who relays a session: it has proved its id, and names no other."""
    encode = Opening.encode
    client = two.other.client()
    client.hello()
    with monkeypatch.context() as lying:
        lying.setattr(Opening, "encode", lambda opening: encode(structs.replace(opening, process="cc" * 8)))
        client.send(client.conversation.resume(two.token, Resume(received=1))[1])
        assert client.error().code == "try-later"
    assert two.home.records("resumed")[1:] == []
    assert isinstance(client.resume(two.token, 1), Welcome)
    client.close()


def entered(two: Nodes, record: ProcessRecord) -> None:
    """Change or add the row of a process."""
    two.home.call(two.home.store.processes.enter(record))


def test_a_home_that_cannot_be_reached_is_not_robbed_while_it_lives(two: Nodes) -> None:
    """A firewall refuses, too."""
    record = two.home.call(two.home.store.processes.find(two.home.home.id))
    with two.other.client() as client:
        client.hello()
        for address in ("127.0.0.1:1", "nowhere.invalid:7700"):
            entered(two, replace(record, node_address=address))
            client.send(client.conversation.resume(two.token, Resume(received=1))[1])
            assert client.error().code == "try-later"
        assert two.other.call(two.other.home.find(two.home.home.id)) is not None
        assert len(two.other.records("relay-failed")) == 2
        entered(two, record)
        assert isinstance(client.resume(two.token, 1), Welcome)


@pytest.mark.parametrize("another", [True, False], ids=["another-listens", "nobody-listens"])
def test_one_that_cannot_be_reached_is_dead_when_its_counter_has_stood_still(two: Nodes, another: bool) -> None:
    record = two.home.call(two.home.store.processes.find(two.home.home.id))
    address = record.node_address if another else "127.0.0.1:1"
    killed = replace(record, id="dd" * 8, place="three", node_address=address, certificate="00" * 32)
    entered(two, killed)
    (channel,) = two.home.channels
    two.home.call(two.home.host.channels.hand_on(channel.session.fingerprint))
    (session,) = two.other.call(two.other.store.sessions.all())
    claim = two.other.store.sessions.claim
    assert two.other.call(claim(session.fingerprint, session.claim, killed.id, "::1", session.seen_at))
    watch = two.other.home.watch
    two.other.until(lambda: watch.counter(killed.id) is not None)
    still = DEAD_SECONDS - 0.1
    setattr(watch, "still_for", lambda id, now: still if id == killed.id else 0.0)  # noqa: B010 - a method
    with two.other.client() as client:
        client.hello()
        client.send(client.conversation.resume(two.token, Resume(received=1))[1])
        assert client.error().code == "try-later"
        assert two.other.records("process-dead") == []
        still = DEAD_SECONDS
        assert isinstance(client.resume(two.token, 1), Welcome)
        assert len(two.other.records("process-dead")) == 1
        assert client.ask("here") == "here"
    assert len(two.other.channels) == 1


def test_what_processes_of_other_nodes_have_left_is_tidied_up_if_nobody_listens(two: Nodes) -> None:
    record = two.home.call(two.home.store.processes.find(two.home.home.id))
    killed = replace(record, id="dd" * 8, place="three", node_address="127.0.0.1:1")
    hidden = replace(record, id="ee" * 8, place="three")
    entered(two, killed)
    entered(two, hidden)
    watch = two.other.home.watch
    two.other.until(lambda: watch.counter(hidden.id) is not None)
    still = {killed.id: DEAD_SECONDS, hidden.id: DEAD_SECONDS}
    setattr(watch, "still_for", lambda id, now: still.get(id, 0.0))  # noqa: B010 - a method
    two.other.call(two.other.home.tidy())
    assert two.other.call(two.other.home.find(killed.id)) is None
    assert two.other.call(two.other.home.find(hidden.id)) is not None
