"""Peer side of a connection: HELLO, the last words, and deadlines, over a transport that records."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from antiphon.errors import PeerSilent, PeerTooSlow
from antiphon.server.connection.connection import Connection
from antiphon.server.connection.deadlines import LINGER_SECONDS
from antiphon.server.connection.peer_side import PeerSide
from antiphon.server.connection.state import State
from antiphon.server.peer import Peer
from antiphon.wire.bodies import Error, Hello, ServerBye
from antiphon.wire.conversation import ClientConversation, Control
from support.gate import Gate
from support.joined import JoinedServer, joined
from support.serving import seed
from support.transports import RecordingTransport

PEER = Peer("127.0.0.1:1", "127.0.0.1", None)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[JoinedServer]:
    with joined(tmp_path / "data") as running:
        yield running
        for each in running.connections:
            running.read(partial(lose, each))


def lose(connection: Connection, _: object) -> None:
    connection.connection_lost(None)


def connected(server: JoinedServer, transport: RecordingTransport) -> Connection:
    def connect(_: object) -> Connection:
        assert server.host.limits.admit(PEER.host)
        connection = Connection(server.host, PEER, server.now)
        assert not connection.made
        connection.connection_made(transport)
        return connection

    return server.read(connect)


def said(transport: RecordingTransport) -> list[object]:
    """Return the bodies written so far."""
    conversation = ClientConversation()
    conversation.feed(bytes(transport.written))
    bodies: list[object] = []
    while (event := conversation.next()) is not None:
        assert isinstance(event, Control)
        bodies.append(event.body.code if isinstance(event.body, Error) else event.body)
    return bodies


def test_hello_is_the_first_frame(server: JoinedServer) -> None:
    transport = RecordingTransport()
    connection = connected(server, transport)
    assert connection.made
    assert connection.state is State.ENTRY
    (hello,) = said(transport)
    assert isinstance(hello, Hello)
    assert "connected" in server.log()


def test_who_connects_to_a_server_that_stops_is_told_so(server: JoinedServer) -> None:
    server.host.tasks.stopping = True
    transport = RecordingTransport()
    connection = connected(server, transport)
    assert said(transport)[1:] == ["server-stopping"]
    assert connection.state is State.CLOSING


@pytest.mark.parametrize(("can_half_close", "asked"), [(True, ["write_eof"]), (False, ["close"])])
def test_the_last_words_are_followed_by_the_end_of_output_or_of_all(
    server: JoinedServer, can_half_close: bool, asked: list[str]
) -> None:
    transport = RecordingTransport(can_half_close=can_half_close)
    connection = connected(server, transport)
    server.read(lambda _: connection.lose("revoked"))
    assert said(transport)[1:] == [ServerBye(reason="revoked")]
    assert transport.asked == asked


def test_who_has_sent_the_last_byte_is_not_waited_for_after_the_last_words(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", Gate()) as server, server.session(token) as client:
        client.send(client.conversation.message("wait")[1])
        client.half_close()
        server.let_pass(1)
        (connection,) = server.connections
        server.read(lambda _: connection.lose("revoked"))
        server.let_pass(0.01)
        assert server.connections == []
        assert client.body() == ServerBye(reason="revoked")
        client.closed()


def test_after_the_last_words_nothing_is_sent(server: JoinedServer) -> None:
    transport = RecordingTransport()
    connection = connected(server, transport)
    server.read(lambda _: connection.close())
    written = bytes(transport.written)

    def more(_: object) -> None:
        connection.send(b"more")
        connection.fail(PeerSilent(seconds="40"))
        connection.lose("revoked")
        connection.drain()
        connection.close()

    server.read(more)
    assert (bytes(transport.written), transport.asked) == (written, ["close"])


def test_who_takes_nothing_is_not_told_why_it_is_cut(server: JoinedServer) -> None:
    transport = RecordingTransport()
    connection = connected(server, transport)
    server.read(lambda _: connection.fail(PeerTooSlow()))
    assert (said(transport)[1:], transport.asked, connection.state) == ([], ["abort"], State.CLOSED)
    (record,) = server.records("cut")
    assert 'code="peer-too-slow"' in record


def test_a_transport_that_takes_no_more_blocks_until_it_does(server: JoinedServer) -> None:
    connection = connected(server, RecordingTransport())
    assert not connection.blocked
    server.read(lambda _: connection.pause_writing())
    assert connection.blocked
    server.read(lambda _: connection.resume_writing())
    assert not connection.blocked


@pytest.mark.parametrize(("unsent", "seconds"), [(0, LINGER_SECONDS), (1, 10.0)])
def test_a_connection_that_does_not_end_is_aborted(server: JoinedServer, unsent: int, seconds: float) -> None:
    assert server.settings.write_seconds == 10
    transport = RecordingTransport()
    connection = connected(server, transport)
    server.read(lambda _: connection.close())
    transport.unsent = unsent
    server.let_pass(seconds - 0.3)
    assert "abort" not in transport.asked
    server.let_pass(0.8)
    assert "abort" in transport.asked


def test_what_a_lost_session_means_is_for_the_connection_to_say(server: JoinedServer) -> None:
    side = server.read(lambda _: PeerSide(server.host, PEER, 0))
    with pytest.raises(NotImplementedError):
        side.lose("revoked")
