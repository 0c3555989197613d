"""Counts of both directions (docs/protocol.md, "Continuity"): what counts, and which counts cannot be."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.services import Handler, echo
from antiphon.wire import bodies
from antiphon.wire.bodies import ChangePassword, Error, ServerBye
from antiphon.wire.conversation import Control
from antiphon.wire.frames import encode
from antiphon.wire.kinds import COUNT_SIZE, TOKEN_SIZE, Kind
from support.desk import Desk, sent, told
from support.joined import JoinedClient, JoinedServer, joined

WRONG = bytes(TOKEN_SIZE)
PROOF = bodies.encode(ChangePassword(data=b"c=biws"))
ID = 2
"""The id of the first message; RESUME has the one before."""
SPOILED = {
    "CANCEL": encode(Kind.CANCEL, ID, token=WRONG),
    "ACK": encode(Kind.ACK, 0, (1).to_bytes(COUNT_SIZE, "big"), token=WRONG),
    "PASSWORD": encode(Kind.PASSWORD, 9, PROOF, token=WRONG),
    "END_OTHERS": encode(Kind.END_OTHERS, 9, b"{}", token=WRONG),
    "PASSWORD with id 0": encode(Kind.PASSWORD, 0, PROOF, token=WRONG),
}
"""Frames of a session with a wrong token that are no messages."""
ANSWERED = ("PASSWORD", "END_OTHERS")


@pytest.fixture(params=["fast path", "frame by frame"])
def handler(request: pytest.FixtureRequest, desk: Desk) -> Handler:
    """A service that answers with what it gets; one that takes the session has no fast path."""
    return echo if request.param == "fast path" else desk


@pytest.fixture
def server(tmp_path: Path, handler: Handler, tokens: list[bytes]) -> Iterator[JoinedServer]:
    with joined(tmp_path / "data", handler) as running:
        yield running


@pytest.fixture
def client(server: JoinedServer, tokens: list[bytes]) -> JoinedClient:
    """A client that counts from its first message on, and has had one answer."""
    client, _ = server.back(tokens[0], None)
    assert sent(client, "one") == [ID]
    assert told(client, 1) == [(ID, "one")]
    return client


@pytest.mark.parametrize("spoiled", SPOILED)
def test_a_wrong_token_on_what_is_no_message_counts_in_neither_direction(
    server: JoinedServer, client: JoinedClient, tokens: list[bytes], spoiled: str
) -> None:
    client.send(SPOILED[spoiled])
    if spoiled in ANSWERED:
        refused = client.next()
        assert isinstance(refused, Control)
        assert isinstance(refused.body, Error)
        assert (refused.id, refused.body.code) == (9, "token-refused")
    assert client.ask("two") == "two"  # the next frame: nothing else was answered
    client.cut()
    client, welcome = server.back(tokens[0], 0)
    assert (welcome.received, welcome.sent, welcome.missed) == (2, 2, 0)
    assert told(client, 2) == [(ID, "one"), (ID + 1, "two")]
    client.leave()


def test_a_message_with_a_wrong_token_counts_and_its_error_is_sent_again(
    server: JoinedServer, client: JoinedClient, tokens: list[bytes]
) -> None:
    id = client.message_with(WRONG, "two")
    assert told(client, 1) == [(id, "token-refused")]
    client.cut()
    client, welcome = server.back(tokens[0], 1)
    assert (welcome.received, welcome.sent) == (2, 2)
    assert told(client, 1) == [(id, "token-refused")]
    client.leave()


@pytest.mark.parametrize("spoiled", SPOILED)
def test_the_third_wrong_token_ends_the_connection_whatever_carries_it(
    server: JoinedServer, client: JoinedClient, tokens: list[bytes], spoiled: str
) -> None:
    answered = spoiled in ANSWERED
    client.send(SPOILED[spoiled] * 2)
    assert [client.error().code for _ in range(2 * answered)] == ["token-refused"] * 2 * answered
    assert client.ask("two") == "two"
    client.send(SPOILED[spoiled])
    assert client.ended_with() == "too-many-refusals"
    client, welcome = server.back(tokens[0], 2)
    assert (welcome.received, welcome.sent) == (2, 2)
    client.leave()


def test_a_refused_frame_that_is_no_message_does_not_say_that_the_counts_are_known(
    server: JoinedServer, tokens: list[bytes]
) -> None:
    for spoiled in SPOILED.values():
        client, welcome = server.back(tokens[1], 7)  # a session of a server that kept nothing of it
        assert welcome.received is None
        client.send(spoiled)
        client.send(client.conversation.bye("drained"))
        client.closed()


# --- counts that cannot be ------------------------------------------------------------------------------------


def test_an_ack_of_more_than_was_sent_ends_the_connection(
    server: JoinedServer, client: JoinedClient, tokens: list[bytes]
) -> None:
    client.send(client.conversation.ack(1))
    client.send(client.conversation.ack(2))
    assert client.ended_with() == "frame-invalid"
    client, welcome = server.back(tokens[0], 1)
    assert (welcome.received, welcome.sent) == (1, 1)
    assert client.ask("the session goes on") == "the session goes on"


def test_such_an_ack_behind_a_message_leaves_the_message_its_answer(
    server: JoinedServer, client: JoinedClient
) -> None:
    asked = client.conversation.message("two")[1]
    client.send(asked + client.conversation.ack(3))
    assert told(client, 1) == [(ID + 1, "two")]
    assert client.ended_with() == "frame-invalid"


def test_an_ack_of_fewer_than_the_last_one_changes_nothing(server: JoinedServer, client: JoinedClient) -> None:
    client.send(client.conversation.ack(1) + client.conversation.ack(0))
    assert client.ask("two") == "two"
    kept = server.read(lambda running: [each.replay.frames() for each in running.channels])
    assert [len(frames) for frames in kept] == [1]


def test_a_resume_with_more_than_was_sent_is_refused_and_the_session_stays(
    server: JoinedServer, client: JoinedClient, tokens: list[bytes]
) -> None:
    impostor = server.client()
    impostor.hello()
    refused = impostor.resume(tokens[0], 2)
    assert isinstance(refused, Error)
    assert refused.code == "body-invalid"
    impostor.closed()
    assert client.body() == ServerBye(reason="replaced")
    client.closed()
    client, welcome = server.back(tokens[0], 1)
    assert (welcome.received, welcome.sent) == (1, 1)
    assert client.ask("two") == "two"
    client.leave()
    assert server.sessions.held == 0
    assert server.connections == []


def test_where_the_counts_are_not_known_no_count_is_refused(server: JoinedServer, tokens: list[bytes]) -> None:
    client, welcome = server.back(tokens[1], 7)  # a session of a server that kept nothing of it
    assert welcome.received is None
    client.send(client.conversation.ack(7))  # as if it was sent before WELCOME had come
    client.send(client.conversation.bye("drained"))
    assert client.body() == ServerBye(reason="drained"), "it is not refused"
    client.closed()
    client, welcome = server.back(tokens[1], 7)
    assert welcome.received is None, "an ACK of the old count does not say that the new one is known"
    assert client.ask("one") == "one"
    client.send(client.conversation.ack(1))
    assert client.ask("two") == "two"
    client.send(client.conversation.ack(7))
    assert client.ended_with() == "frame-invalid"
