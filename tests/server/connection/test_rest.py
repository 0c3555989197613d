"""Rest of a connection: signed in and silent it costs no looks, and its deadlines are as exact as before."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.server.connection.deadlines import REST_SECONDS
from antiphon.server.upkeep import TICK_SECONDS
from antiphon.services import Handler, Session, echo
from antiphon.settings import ServerSettings
from antiphon.wire.frames import Frame
from antiphon.wire.kinds import Kind
from support.desk import Desk
from support.joined import JoinedClient, JoinedServer, joined, virtual_loop
from support.serving import seed
from support.work import calls_counted

WRITE, SILENCE = ServerSettings().write_seconds, ServerSettings().silence_seconds
BEAT = ServerSettings().heartbeat_seconds
LATE = 3 * TICK_SECONDS
"""Seconds after a deadline in which a server must have acted: what was received is noted when it looks."""
SETTLED = REST_SECONDS + 2 * TICK_SECONDS
"""Seconds after which a connection without anything to do is at rest."""


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[tuple[JoinedServer, JoinedClient]]:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data") as server, server.session(token) as client:
        yield server, client


def at_rest(server: JoinedServer) -> bool:
    (connection,) = server.connections
    return connection.rests_until > server.now


def test_those_who_are_signed_in_and_silent_are_not_looked_at_and_strangers_are(tmp_path: Path) -> None:
    tokens = seed(tmp_path / "data", sessions=5)
    with joined(tmp_path / "data") as server:
        clients = [server.session(token) for token in tokens]
        server.let_pass(SETTLED)
        with calls_counted() as silent:
            server.let_pass(3)
        stranger = server.client()
        with calls_counted() as strange:
            server.let_pass(3)
        for client in (*clients, stranger):
            client.close()
    looks = calls(silent, "ConnectionHost.tick")
    assert looks == pytest.approx(3 / TICK_SECONDS, abs=2), "what runs is counted"
    assert calls(silent, "PeerSide.") + calls(silent, "Connection.") + calls(silent, "Deadlines.") == 0
    assert calls(strange, "PeerSide.tick") == calls(strange, "ConnectionHost.tick")


def calls(work: dict[str, int], function: str) -> int:
    """Return how often a function was called, or any of a class."""
    return sum(count for name, count in work.items() if f":{function}" in name and "<locals>" not in name)


def test_a_heartbeat_wakes_neither_side_for_long(serving: tuple[JoinedServer, JoinedClient]) -> None:
    server, client = serving
    with calls_counted() as work:
        for _ in range(3):
            event = client.next()
            assert isinstance(event, Frame)
            assert event.kind == Kind.HEARTBEAT
            client.send(client.conversation.heartbeat())
    assert server.now > 60
    assert 3 <= calls(work, "PeerSide.tick") <= 3 * (REST_SECONDS / TICK_SECONDS + 3)


def frame_by_frame(message: str, session: Session) -> str:
    return message


@pytest.mark.parametrize("service", [echo, frame_by_frame])
def test_silence_begins_anew_with_what_is_received_at_rest(tmp_path: Path, service: Handler) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", service) as server, server.session(token) as client:
        server.let_pass(BEAT - 5)  # a heartbeat closes the fast path
        assert at_rest(server)
        began = server.now
        assert client.ask("still here") == "still here"
        assert client.ended_with() == "peer-silent"
        assert SILENCE - TICK_SECONDS < server.now - began < SILENCE + LATE


def test_a_rest_leaves_the_fast_path_open(serving: tuple[JoinedServer, JoinedClient]) -> None:
    server, client = serving
    (connection,) = server.connections
    fast_path = connection._fast_path
    assert fast_path is not None
    with calls_counted() as work:
        for _ in range(3):
            assert [client.ask(text) for text in "abc"] == ["a", "b", "c"]
            assert (at_rest(server), fast_path.is_open) == (False, True)
            server.let_pass(SETTLED)
            assert (at_rest(server), fast_path.is_open) == (True, True)
    assert calls(work, "PeerSide._woken") == 2
    assert calls(work, "Connection.received") == 0


def test_what_is_pushed_at_rest_must_be_taken_in_the_time_of_a_slow_reader(
    serving: tuple[JoinedServer, JoinedClient],
) -> None:
    server, client = serving
    server.let_pass(WRITE + 5)
    assert at_rest(server)
    (channel,), began = server.channels, server.now

    def push(_: object) -> None:
        client._end.transport.pause_reading()
        channel.push("untaken")

    server.read(push)
    server.until(lambda: not server.connections)
    assert WRITE - TICK_SECONDS < server.now - began < WRITE + LATE
    assert "peer-too-slow" in server.log()


def test_what_tls_sends_at_rest_must_be_taken_in_the_time_of_a_slow_reader(
    serving: tuple[JoinedServer, JoinedClient],
) -> None:
    server, client = serving
    server.let_pass(WRITE + 5)
    assert at_rest(server)
    (connection,), began = server.connections, server.now

    def answer(_: object) -> None:  # as `TlsTransport` does
        client._end.transport.pause_reading()
        client._end.transport.other.write(b"of TLS itself")
        connection.peer_lags()

    server.read(answer)
    server.until(lambda: not server.connections)
    assert WRITE - TICK_SECONDS < server.now - began < WRITE + LATE


def test_a_message_in_part_is_looked_at(serving: tuple[JoinedServer, JoinedClient]) -> None:
    server, client = serving
    client.send(client.conversation.message("in two parts")[1][:-1])
    server.let_pass(SETTLED)
    assert not at_rest(server)


def test_a_relayed_connection_rests_at_its_home(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with (
        virtual_loop() as loop,
        loop.joined(tmp_path / "data", Desk()) as home,
        loop.joined(tmp_path / "data", Desk()) as other,
    ):
        with home.session(token) as client:
            client.ask("hello")
        home.until(lambda: not home.connections)
        with other.session(token) as client:
            for _ in range(2):
                home.let_pass(2 * SETTLED)
                assert at_rest(home)
                began = home.now
                client.ask("again")
                assert home.now - began < TICK_SECONDS
                assert not at_rest(home)
            assert client.ended_with() == "peer-silent"
            assert SILENCE - TICK_SECONDS < home.now - began < SILENCE + LATE
