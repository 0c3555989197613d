"""Messages and answers of a connection, joined in memory: order, bounds, faults of a service, goodbyes."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.server.connection.write_buffer import QUEUE_LIMIT
from antiphon.services import Session
from antiphon.wire.bodies import Error, ServerBye
from antiphon.wire.conversation import Control
from antiphon.wire.frames import Frame, Payload, encode_message
from antiphon.wire.kinds import KIB, MESSAGE_LIMIT, Flag, Kind
from support.gate import Gate, payloads
from support.joined import JoinedClient, JoinedServer, joined
from support.serving import seed
from support.wire_client import Closed


@pytest.fixture(params=["tcp", "tls"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JoinedServer]:
    """Echo, over connections with and without half-close."""
    seed(tmp_path / "data", sessions=0)
    with joined(tmp_path / "data", plain=request.param == "tcp") as running:
        yield running


@pytest.fixture
def client(server: JoinedServer, tmp_path: Path) -> JoinedClient:
    (token,) = seed(tmp_path / "data", "bob")
    return server.session(token)


# --- echo ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        "hello",
        "",
        "Привет, мир",
        "👩‍👩‍👧 🎶",
        "a\0b",
        "\N{RIGHT-TO-LEFT OVERRIDE}x",
        "\r\n",
        b"",
        b"\0\xff",
        b"text",
    ],
    ids=ascii,
)
def test_a_message_comes_back_as_it_was(client: JoinedClient, message: Payload) -> None:
    answer = client.ask(message)
    assert answer == message
    assert type(answer) is type(message)


def test_an_answer_is_the_last_of_its_id(client: JoinedClient) -> None:
    client.send(client.conversation.message("hello")[1])
    event = client.next()
    assert isinstance(event, Frame)
    assert event.flags == Flag.TEXT | Flag.LAST


def test_one_byte_more_is_refused_from_the_header_with_the_options_name(client: JoinedClient) -> None:
    client.send(client.conversation.message(bytes(MESSAGE_LIMIT + 1))[1][:12])
    error = client.error()
    assert error.code == "message-too-large"
    assert "--message-limit" in error.hint
    assert str(MESSAGE_LIMIT) in error.text
    client.closed()


def test_the_limit_is_the_operators(tmp_path: Path) -> None:
    token = seed(tmp_path / "data")[0]
    with joined(tmp_path / "data", plain=True, message_limit=2 * KIB) as server, server.session(token) as client:
        assert client.ask(bytes(2 * KIB)) == bytes(2 * KIB)
        client.send(client.conversation.message(bytes(2 * KIB + 1))[1])
        assert client.ended_with() == "message-too-large"


def test_text_that_is_not_utf_8_is_refused_and_the_session_goes_on(client: JoinedClient) -> None:
    id = client.conversation.next_id()
    client.send(encode_message(id, b"\xff\xfe", Flag.TEXT, client.token))
    refused = client.next()
    assert isinstance(refused, Control)
    assert isinstance(refused.body, Error)
    assert (refused.id, refused.body.code) == (id, "not-text")
    assert client.ask(b"\xff\xfe") == b"\xff\xfe"


# --- goodbyes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [True, False], ids=["tcp", "tls"])
def test_after_a_goodbye_every_answer_still_comes_and_then_the_servers_goodbye(
    tmp_path: Path, plain: bool
) -> None:
    token, gate = seed(tmp_path / "data")[0], Gate()
    questions = [str(number) for number in range(10)]
    with joined(tmp_path / "data", gate, plain=plain) as server, server.session(token) as client:
        for question in questions:
            client.send(client.conversation.message(question)[1])
        client.send(client.conversation.bye("left"))
        client.send(client.conversation.message("after the goodbye")[1])
        server.call(gate.open())
        assert payloads(client, len(questions)) == questions
        assert client.body() == ServerBye(reason="left")
        with pytest.raises(Closed):
            client.next()
    assert gate.handled == questions


def test_after_a_half_close_on_plain_tcp_every_answer_still_comes(tmp_path: Path) -> None:
    token, gate = seed(tmp_path / "data")[0], Gate()
    questions = [str(number) for number in range(10)]
    with joined(tmp_path / "data", gate, plain=True) as server, server.session(token) as client:
        for question in questions:
            client.send(client.conversation.message(question)[1])
        client.half_close()
        server.call(gate.open())
        assert payloads(client, len(questions)) == questions
        with pytest.raises(Closed):
            client.next()


# --- slow services ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [True, False], ids=["tcp", "tls"])
def test_while_a_handler_is_slow_reading_pauses_and_order_stays(tmp_path: Path, plain: bool) -> None:
    honest, token = seed(tmp_path / "data", sessions=2)
    gate = Gate()

    async def handle(message: Payload) -> Payload:
        return await gate(message) if isinstance(message, bytes) else message

    messages = [number.to_bytes(4, "big") * 16 * KIB for number in range(256)]
    with (
        joined(tmp_path / "data", handle, plain=plain) as server,
        server.session(honest) as other,
        server.session(token) as client,
    ):
        data = b"".join(client.conversation.message(message)[1] for message in messages)
        client.send(data)
        server.let_pass(10)
        taken = len(data) - client.untaken
        assert QUEUE_LIMIT <= taken < 4 * QUEUE_LIMIT, "the server takes no more while its handler is busy"
        assert other.ask("undisturbed") == "undisturbed"
        server.let_pass(20)
        assert len(data) - client.untaken == taken
        server.call(gate.open())
        assert payloads(client, len(messages)) == messages


def test_a_slow_answer_of_one_session_keeps_no_other_waiting(tmp_path: Path) -> None:
    slow, quick = seed(tmp_path / "data", sessions=2)
    gate = Gate()

    async def handle(message: Payload) -> Payload:
        return await gate(message) if message == "slow" else message

    with (
        joined(tmp_path / "data", handle, plain=True) as server,
        server.session(slow) as waiting,
        server.session(quick) as client,
    ):
        waiting.send(waiting.conversation.message("slow")[1])
        assert client.ask("quick") == "quick"
        assert gate.handled == []
        server.call(gate.open())
        assert payloads(waiting, 1) == ["slow"]


# --- services at fault --------------------------------------------------------------------------------------


def fault(message: Payload) -> object:
    """Do what no service should."""
    match message:
        case "raise":
            raise RuntimeError("secret detail")
        case "cancelled":
            raise asyncio.CancelledError
        case "exit":  # as argparse does
            sys.exit(2)
        case "thing":
            return object()
        case "half a character":
            return "\ud800"
        case "too large":
            return bytes(MESSAGE_LIMIT + 1)
        case _:
            return message


def fault_in_session(message: Payload, session: Session) -> object:
    assert session.name == "ann"
    return fault(message)


async def fault_later(message: Payload) -> object:
    await asyncio.sleep(0)
    return fault(message)


FAULTS = ["raise", "cancelled", "exit", "thing", "half a character", "too large"]


@pytest.mark.parametrize(
    ("handler", "asked"),
    [(handler, asked) for handler in (fault, fault_in_session, fault_later) for asked in FAULTS],
)
def test_a_fault_of_the_service_is_its_own_and_the_session_goes_on(
    tmp_path: Path, handler: object, asked: str
) -> None:
    token = seed(tmp_path / "data")[0]
    with joined(tmp_path / "data", handler, plain=True) as server, server.session(token) as client:
        id, data = client.conversation.message(asked)
        client.send(data + client.conversation.message("the next one")[1])
        event = client.next()
        assert isinstance(event, Control)
        assert isinstance(event.body, Error)
        assert (event.id, event.body.code) == (id, "service-failed")
        assert "detail" not in event.body.text + event.body.hint
        assert client.answer(id + 1) == "the next one"
    assert "answer-too-large" in server.log() if asked == "too large" else "Traceback" in server.log()
    assert ("secret detail" in server.log()) == (asked == "raise")


def test_no_answer_is_an_end(tmp_path: Path) -> None:
    token = seed(tmp_path / "data")[0]
    with joined(tmp_path / "data", lambda message: None, plain=True) as server, server.session(token) as client:
        client.send(client.conversation.message("hello")[1])
        event = client.next()
        assert isinstance(event, Frame)
        assert event.kind == Kind.END
