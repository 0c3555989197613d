"""Messages and answers at the socket: order, bounds, faults of a service, goodbyes, heartbeats."""

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from antiphon.server.connection.write_buffer import QUEUE_LIMIT
from antiphon.services import Session
from antiphon.wire.bodies import Error, ServerBye
from antiphon.wire.conversation import Control
from antiphon.wire.frames import Frame, Payload, encode_message
from antiphon.wire.kinds import KIB, MESSAGE_LIMIT, Flag, Kind
from support.inside import connections
from support.raw import RawClient
from support.serving import ATTACKER, Honest, Serving, seed, serving
from support.wire_client import Closed


@pytest.fixture(scope="module", params=["tcp", "tls"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Echo, with an honest client on it."""
    folder = tmp_path_factory.mktemp("connection") / "data"
    tokens.clear()
    tokens.extend(seed(folder, sessions=40))
    with serving(folder, plain=request.param == "tcp") as running, Honest(running.address, tokens.pop()):
        yield running


tokens: list[bytes] = []
"""Sessions of `server` that no test has taken yet."""


@pytest.fixture
def client(server: Serving) -> Iterator[RawClient]:
    with server.session(tokens.pop(), ATTACKER) as client:
        yield client


def payloads(client: RawClient, count: int) -> list[Payload]:
    """Return the answers to the next `count` questions."""
    answers: list[Payload] = []
    while len(answers) < count:
        event = client.next()
        assert isinstance(event, Frame), event
        if event.kind == Kind.MESSAGE:
            answers.append(event.payload)
    return answers


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
def test_a_message_comes_back_as_it_was(client: RawClient, message: Payload) -> None:
    answer = client.ask(message)
    assert answer == message
    assert type(answer) is type(message)


def test_an_answer_is_the_last_of_its_id(client: RawClient) -> None:
    client.send(client.conversation.message("hello")[1])
    event = client.next()
    assert isinstance(event, Frame)
    assert event.flags == Flag.TEXT | Flag.LAST


def test_a_message_in_single_bytes_is_one_message(client: RawClient) -> None:
    for byte in client.conversation.message("split at every byte, Вадим")[1]:
        client.send(bytes([byte]))
    assert payloads(client, 1) == ["split at every byte, Вадим"]


def test_a_message_split_anywhere_is_one_message(client: RawClient) -> None:
    size = len(client.conversation.message("наполовину")[1])
    for at in range(1, size):
        data = client.conversation.message("наполовину")[1]
        client.send(data[:at])
        client.send(data[at:])
    assert payloads(client, size - 1) == ["наполовину"] * (size - 1)


def test_ten_thousand_messages_in_one_write_are_all_answered_in_order(client: RawClient) -> None:
    questions = [f"message {number}" for number in range(10_000)]
    client.post(b"".join(client.conversation.message(question)[1] for question in questions))
    assert payloads(client, len(questions)) == questions


def test_a_message_of_the_limit_passes(client: RawClient) -> None:
    message = bytes(MESSAGE_LIMIT)
    client.post(client.conversation.message(message)[1])
    assert payloads(client, 1) == [message]


def test_one_byte_more_is_refused_from_the_header_with_the_options_name(client: RawClient) -> None:
    client.send(client.conversation.message(bytes(MESSAGE_LIMIT + 1))[1][:12])
    error = client.error()
    assert error.code == "message-too-large"
    assert "--message-limit" in error.hint
    assert str(MESSAGE_LIMIT) in error.text
    client.closed()


def test_the_refusal_arrives_although_the_rest_of_the_message_is_on_its_way(client: RawClient) -> None:
    client.post(client.conversation.message(bytes(MESSAGE_LIMIT + 1))[1])
    assert client.ended_with() == "message-too-large"


def test_the_limit_is_the_operators(tmp_path: Path) -> None:
    token = seed(tmp_path / "data")[0]
    with serving(tmp_path / "data", plain=True, message_limit=2 * KIB) as server, server.session(token) as client:
        assert client.ask(bytes(2 * KIB)) == bytes(2 * KIB)
        client.send(client.conversation.message(bytes(2 * KIB + 1))[1])
        assert client.ended_with() == "message-too-large"


def test_text_that_is_not_utf_8_is_refused_and_the_session_goes_on(client: RawClient) -> None:
    id = client.conversation.next_id()
    client.send(encode_message(id, b"\xff\xfe", Flag.TEXT, client.token))
    refused = client.next()
    assert isinstance(refused, Control)
    assert isinstance(refused.body, Error)
    assert (refused.id, refused.body.code) == (id, "not-text")
    assert client.ask(b"\xff\xfe") == b"\xff\xfe"


# --- goodbyes -----------------------------------------------------------------------------------------------


class Gate:
    """A service that answers nobody until it is opened."""

    def __init__(self) -> None:
        self.handled: list[Payload] = []
        self._open = asyncio.Event()

    async def __call__(self, message: Payload) -> Payload:
        await self._open.wait()
        self.handled.append(message)
        return message

    async def open(self) -> None:
        self._open.set()


@pytest.mark.parametrize("plain", [True, False], ids=["tcp", "tls"])
def test_after_a_goodbye_every_answer_still_comes_and_then_the_servers_goodbye(
    tmp_path: Path, plain: bool
) -> None:
    token, gate = seed(tmp_path / "data")[0], Gate()
    questions = [str(number) for number in range(10)]
    with serving(tmp_path / "data", gate, plain=plain) as server, server.session(token) as client:
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
    with serving(tmp_path / "data", gate, plain=True) as server, server.session(token) as client:
        for question in questions:
            client.send(client.conversation.message(question)[1])
        client.sock.shutdown(socket.SHUT_WR)
        server.call(gate.open())
        assert payloads(client, len(questions)) == questions
        with pytest.raises(Closed):
            client.next()


def test_the_answers_to_a_half_closed_connection_are_whole_however_large(tmp_path: Path) -> None:
    token = seed(tmp_path / "data")[0]
    message = bytes(MESSAGE_LIMIT)
    with serving(tmp_path / "data", plain=True) as server, server.session(token) as client:
        client.send(client.conversation.message(message)[1])
        client.sock.shutdown(socket.SHUT_WR)
        assert payloads(client, 1) == [message]


# --- slow services ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [True, False], ids=["tcp", "tls"])
def test_while_a_handler_is_slow_reading_pauses_and_order_stays(tmp_path: Path, plain: bool) -> None:
    honest, token = seed(tmp_path / "data", sessions=2)
    gate = Gate()

    async def handle(message: Payload) -> Payload:
        return await gate(message) if isinstance(message, bytes) else message

    messages = [number.to_bytes(4, "big") * 16 * KIB for number in range(256)]
    with (
        serving(tmp_path / "data", handle, plain=plain) as server,
        Honest(server.address, honest),
        server.session(token) as client,
    ):
        data = memoryview(b"".join(client.conversation.message(message)[1] for message in messages))
        sent = 0
        client.sock.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while sent < len(data):
                sent += client.sock.send(data[sent : sent + 16 * KIB])
        assert sent < len(data), "the server has taken everything while its handler was busy"
        waiting = server.read(
            lambda server: max(
                connection._conversation.reader.buffered + connection._channel.queued
                for connection in connections(server)
                if connection._channel
            )
        )
        assert QUEUE_LIMIT <= waiting < 4 * QUEUE_LIMIT
        client.sock.settimeout(20)
        server.call(gate.open())
        client.post(bytes(data[sent:]))
        assert payloads(client, len(messages)) == messages


def test_a_slow_answer_of_one_session_keeps_no_other_waiting(tmp_path: Path) -> None:
    slow, quick = seed(tmp_path / "data", sessions=2)
    gate = Gate()

    async def handle(message: Payload) -> Payload:
        return await gate(message) if message == "slow" else message

    with (
        serving(tmp_path / "data", handle, plain=True) as server,
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
        case "number":
            return 5
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


FAULTS = ["raise", "cancelled", "exit", "number", "half a character", "too large"]


@pytest.mark.parametrize(
    ("handler", "asked"),
    [(handler, asked) for handler in (fault, fault_in_session, fault_later) for asked in FAULTS],
)
def test_a_fault_of_the_service_is_its_own_and_the_session_goes_on(
    tmp_path: Path, handler: object, asked: str
) -> None:
    token = seed(tmp_path / "data")[0]
    with serving(tmp_path / "data", handler, plain=True) as server, server.session(token) as client:
        id, data = client.conversation.message(asked)
        client.send(data + client.conversation.message("the next one")[1])
        event = client.next()
        assert isinstance(event, Control)
        assert isinstance(event.body, Error)
        assert (event.id, event.body.code) == (id, "service-failed")
        assert "detail" not in event.body.text + event.body.hint
        assert client.answer(id + 1) == "the next one"
        log = server.server.log_path
    assert "answer-too-large" in log.read_text() if asked == "too large" else "Traceback" in log.read_text()
    assert ("secret detail" in log.read_text()) == (asked == "raise")


def test_no_answer_is_an_end(tmp_path: Path) -> None:
    token = seed(tmp_path / "data")[0]
    with serving(tmp_path / "data", lambda message: None, plain=True) as server, server.session(token) as client:
        client.send(client.conversation.message("hello")[1])
        event = client.next()
        assert isinstance(event, Frame)
        assert event.kind == Kind.END


# --- heartbeats ---------------------------------------------------------------------------------------------

BEAT, SILENCE = 0.5, 1.5
TICK = 0.25
LATE = 3.0
"""Seconds after a deadline in which a busy machine must have acted on it."""


@pytest.fixture(scope="module")
def beating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serving, list[bytes]]]:
    folder = tmp_path_factory.mktemp("heartbeats") / "data"
    sessions = seed(folder, sessions=5)
    with serving(folder, plain=True, heartbeat_seconds=BEAT, silence_seconds=SILENCE) as running:
        yield running, sessions


def test_a_server_that_has_nothing_to_say_sends_heartbeats(beating: tuple[Serving, list[bytes]]) -> None:
    server, sessions = beating
    with server.session(sessions.pop()) as client:
        heard = [time.monotonic()]
        for _ in range(2):
            event = client.next()
            assert isinstance(event, Frame)
            assert event.kind == Kind.HEARTBEAT
            heard.append(time.monotonic())
        assert all(BEAT - TICK < after - before < BEAT + LATE for before, after in pairwise(heard))


def test_a_server_that_answers_sends_no_heartbeat(beating: tuple[Serving, list[bytes]]) -> None:
    server, sessions = beating
    with server.session(sessions.pop()) as client:
        began = time.monotonic()
        while time.monotonic() - began < 2 * BEAT:
            client.send(client.conversation.message("x")[1])
            event = client.next()
            assert isinstance(event, Frame)
            assert event.kind == Kind.MESSAGE


def test_a_silent_peer_is_cut(beating: tuple[Serving, list[bytes]]) -> None:
    server, sessions = beating
    with server.session(sessions.pop()) as client, Honest(server.address, sessions.pop()):
        began = time.monotonic()
        assert client.ended_with() == "peer-silent"
        assert SILENCE - TICK < time.monotonic() - began < SILENCE + LATE


def test_a_peer_that_sends_heartbeats_is_not_cut(beating: tuple[Serving, list[bytes]]) -> None:
    server, sessions = beating
    with server.session(sessions.pop()) as client:
        began = time.monotonic()
        while time.monotonic() - began < 2 * SILENCE:
            client.next()  # a heartbeat of the server's, answered by one of ours
            client.send(client.conversation.heartbeat())
        assert client.ask("still here") == "still here"


def test_silence_is_not_counted_while_the_server_itself_does_not_read(tmp_path: Path) -> None:
    token, gate = seed(tmp_path / "data")[0], Gate()
    message = bytes(QUEUE_LIMIT // 2)
    with (
        serving(tmp_path / "data", gate, plain=True, heartbeat_seconds=BEAT, silence_seconds=SILENCE) as server,
        server.session(token) as client,
    ):
        client.send(b"".join(client.conversation.message(message)[1] for _ in range(4)))
        began = time.monotonic()
        while time.monotonic() - began < 2 * SILENCE:
            event = client.next()
            assert isinstance(event, Frame), event
            assert event.kind == Kind.HEARTBEAT
        server.call(gate.open())
        assert payloads(client, 4) == [message] * 4
