"""Headers of a client that docs/protocol.md allows, or not: ids, flags and lengths (“The frame”)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.services import Handler, echo
from antiphon.wire import bodies
from antiphon.wire.bodies import Bye, ChangePassword, Resume, ServerBye
from antiphon.wire.frames import Frame, encode, encode_message
from antiphon.wire.kinds import COUNT_SIZE, Flag, Kind
from support.desk import Desk, told
from support.joined import JoinedClient, JoinedServer, joined

REQUEST = bodies.encode(ChangePassword(data=b"c=biws"))
SHORT = [length.to_bytes(4, "big") for length in range(8)]


@pytest.fixture(params=["fast path", "frame by frame"])
def handler(request: pytest.FixtureRequest, desk: Desk) -> Handler:
    """A service that answers with what it gets; one that takes the session has no fast path."""
    return echo if request.param == "fast path" else desk


@pytest.fixture
def server(tmp_path: Path, handler: Handler, tokens: list[bytes]) -> Iterator[JoinedServer]:
    with joined(tmp_path / "data", handler) as running:
        yield running


# --- flags --------------------------------------------------------------------------------------------------


def test_the_flag_last_of_a_client_is_ignored(client: JoinedClient) -> None:
    client.send(encode_message(7, "one", Flag.LAST, client.token) + encode_message(8, "two", token=client.token))
    for id, answer in ((7, "one"), (8, "two")):
        event = client.next()
        assert event == Frame(Kind.MESSAGE, Flag.TEXT | Flag.LAST, id, answer)


@pytest.mark.parametrize("flag", [0x04, 0x80])
def test_another_flag_on_a_message_ends_the_connection(client: JoinedClient, flag: int) -> None:
    client.send(encode(Kind.MESSAGE, 7, b"one", flag, client.token))
    assert client.ended_with() == "frame-invalid"


# --- ids ----------------------------------------------------------------------------------------------------


def test_an_id_that_is_answered_may_be_used_again(client: JoinedClient) -> None:
    for text in ("one", "two"):
        client.send(encode_message(7, text, token=client.token))
        assert told(client, 1) == [(7, text)]


def test_two_open_messages_of_one_id_are_both_answered_in_order(client: JoinedClient) -> None:
    client.send(b"".join(encode_message(7, text, token=client.token) for text in ("one", "two")))
    assert told(client, 2) == [(7, "one"), (7, "two")]


def test_the_id_of_an_ack_is_ignored(client: JoinedClient, server: JoinedServer) -> None:
    assert client.ask("one") == "one"
    client.send(encode(Kind.ACK, 7, (1).to_bytes(COUNT_SIZE, "big"), token=client.token))
    assert client.ask("two") == "two"
    kept = server.read(lambda running: [each.replay.frames() for each in running.channels])
    assert [len(frames) for frames in kept] == [1]


def test_the_ids_of_heartbeat_and_bye_are_ignored(client: JoinedClient) -> None:
    client.send(encode(Kind.HEARTBEAT, 7))
    assert client.ask("one") == "one"
    client.send(encode(Kind.BYE, 7, bodies.encode(Bye(reason="left"))))
    goodbye = client.next()
    assert (goodbye.id, getattr(goodbye, "body", None)) == (0, ServerBye(reason="left"))
    client.closed()


def test_before_sign_in_too(server: JoinedServer) -> None:
    with server.client() as stranger:
        stranger.hello()
        stranger.send(encode(Kind.HEARTBEAT, 7) + encode(Kind.BYE, 7, b"{}"))
        assert stranger.body() == ServerBye(reason="left")
        stranger.closed()


def test_a_cancel_with_id_0_is_ignored(client: JoinedClient) -> None:
    client.send(client.conversation.cancel(0))
    assert client.ask("one") == "one"


def test_a_password_with_id_0_ends_the_connection(client: JoinedClient) -> None:
    client.send(encode(Kind.PASSWORD, 0, REQUEST, token=client.token))
    assert client.ended_with() == "frame-invalid"


def test_a_resume_with_id_0_ends_the_connection(server: JoinedServer, tokens: list[bytes]) -> None:
    with server.client() as client:
        client.hello()
        client.send(encode(Kind.RESUME, 0, bodies.encode(Resume()), token=tokens[0]))
        assert client.ended_with() == "frame-invalid"
    assert server.session(tokens[0]).ask("the session stays") == "the session stays"


# --- lengths ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", SHORT)
@pytest.mark.parametrize("behind", [b"", bytes(7), b"\x00\x00\x00\x08\x10\x00\x00\x00", b"\xff" * 8])
def test_a_length_under_8_is_refused_as_soon_as_it_is_there(
    client: JoinedClient, server: JoinedServer, length: bytes, behind: bytes
) -> None:
    began = server.now
    client.send(length + behind)
    assert client.ended_with() == "frame-invalid"
    assert server.now - began < 1


@pytest.mark.parametrize("length", SHORT)
def test_before_sign_in_it_is_refused_at_once_too(server: JoinedServer, length: bytes) -> None:
    with server.client() as stranger:
        stranger.hello()
        for byte in length:
            stranger.send(bytes([byte]))
        assert stranger.ended_with() == "frame-invalid"
        assert server.now < 1


def test_it_is_refused_behind_a_whole_frame(client: JoinedClient) -> None:
    client.send(client.conversation.message("one")[1] + bytes(4))
    assert told(client, 1)[0][1] == "one"
    assert client.ended_with() == "frame-invalid"


# --- goodbyes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["drained", "", "Left", "later", pytest.param("ё" * 100, id="long")])
def test_a_bye_with_any_reason_but_left_keeps_the_session(
    client: JoinedClient, server: JoinedServer, tokens: list[bytes], reason: str
) -> None:
    assert client.ask("one") == "one"
    client.send(client.conversation.bye(reason))
    assert client.body() == ServerBye(reason="drained")
    client.closed()
    client, welcome = server.back(tokens[0], 1)
    assert (welcome.received, welcome.sent) == (1, 1)
    assert client.ask("two") == "two"
