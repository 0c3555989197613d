"""Heartbeats and silence with the times that a server has by default, in virtual time."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from antiphon.server.connection.write_buffer import QUEUE_LIMIT
from antiphon.server.upkeep import TICK_SECONDS
from antiphon.settings import ServerSettings
from antiphon.wire.frames import Frame
from antiphon.wire.kinds import Kind
from support.gate import Gate, payloads
from support.joined import JoinedClient, JoinedServer, joined
from support.serving import seed

BEAT, SILENCE = ServerSettings().heartbeat_seconds, ServerSettings().silence_seconds
LATE = 3 * TICK_SECONDS
"""Seconds after a deadline in which a server must have acted: what was received is noted when it looks."""


@pytest.fixture
def beating(tmp_path: Path) -> Iterator[tuple[JoinedServer, list[bytes]]]:
    sessions = seed(tmp_path / "data", sessions=2)
    with joined(tmp_path / "data") as running:
        yield running, sessions


def beat(client: JoinedClient) -> None:
    event = client.next()
    assert isinstance(event, Frame), event
    assert event.kind == Kind.HEARTBEAT


def test_the_times_are_those_of_the_documents() -> None:
    assert (BEAT, SILENCE) == (20, 40)


def test_a_server_that_has_nothing_to_say_sends_heartbeats(beating: tuple[JoinedServer, list[bytes]]) -> None:
    server, sessions = beating
    with server.session(sessions.pop()) as client:
        heard = [server.now]
        for _ in range(3):
            beat(client)
            heard.append(server.now)
            client.send(client.conversation.heartbeat())
        assert all(BEAT - TICK_SECONDS < after - before < BEAT + LATE for before, after in pairwise(heard))


def test_a_server_that_answers_sends_no_heartbeat(beating: tuple[JoinedServer, list[bytes]]) -> None:
    server, sessions = beating
    with server.session(sessions.pop()) as client:
        while server.now < 5 * BEAT:
            client.send(client.conversation.message("x")[1])
            event = client.next()
            assert isinstance(event, Frame)
            assert event.kind == Kind.MESSAGE
            server.let_pass(BEAT - LATE)


def test_a_silent_peer_is_cut(beating: tuple[JoinedServer, list[bytes]]) -> None:
    server, sessions = beating
    with server.session(sessions.pop()) as client, server.session(sessions.pop()) as honest:
        began = server.now
        honest.idle(SILENCE - TICK_SECONDS)
        assert len(server.connections) == 2
        assert client.ended_with() == "peer-silent"
        assert SILENCE - TICK_SECONDS < server.now - began < SILENCE + LATE
        assert honest.ask("undisturbed") == "undisturbed"


def test_a_peer_that_sends_heartbeats_is_not_cut(beating: tuple[JoinedServer, list[bytes]]) -> None:
    server, sessions = beating
    with server.session(sessions.pop()) as client:
        while server.now < 5 * SILENCE:
            beat(client)  # answered by one of ours
            client.send(client.conversation.heartbeat())
        assert client.ask("still here") == "still here"


def test_silence_is_not_counted_while_the_server_itself_does_not_read(tmp_path: Path) -> None:
    token, gate = seed(tmp_path / "data")[0], Gate()
    message = bytes(QUEUE_LIMIT // 2)
    with joined(tmp_path / "data", gate, service_seconds=600) as server, server.session(token) as client:
        client.send(b"".join(client.conversation.message(message)[1] for _ in range(4)))
        while server.now < 5 * SILENCE:
            beat(client)
        server.call(gate.open())
        assert payloads(client, 4) == [message] * 4


@pytest.mark.parametrize(
    ("frames", "seconds"), [(0, ServerSettings().first_frame_seconds), (1, ServerSettings().entry_seconds)]
)
def test_who_does_not_sign_in_is_cut_in_time(tmp_path: Path, frames: int, seconds: float) -> None:
    with joined(tmp_path / "data") as server, server.client() as client:
        client.hello()
        client.send(client.conversation.heartbeat() * frames)
        assert client.error().code == "sign-in-timed-out"
        assert seconds - TICK_SECONDS < server.now < seconds + LATE
        client.closed()


def test_who_takes_nothing_is_cut_in_time(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data") as server, server.session(token) as client:
        client.send(b"".join(client.conversation.message(bytes(QUEUE_LIMIT // 2))[1] for _ in range(4)))
        server.until(lambda: not server.connections)
        assert 10 - TICK_SECONDS < server.now < 10 + LATE
        assert server.settings.write_seconds == 10
        assert "peer-too-slow" in server.log()
