"""Connections at the socket: records of TLS, half-close, full buffers, and what is split on its way."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from antiphon.server.connection import deadlines
from antiphon.server.connection.connection import Connection
from antiphon.server.connection.deadlines import LINGER_SECONDS
from antiphon.server.connection.state import State
from antiphon.server.server import Server
from antiphon.services import Handler, echo
from antiphon.wire.bodies import ServerBye
from antiphon.wire.frames import HEADER_SIZE, Frame, Payload
from antiphon.wire.kinds import KIB, MESSAGE_LIMIT, MESSAGE_LIMIT_MOST
from support.gate import Gate, payloads
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


def test_the_refusal_arrives_although_the_rest_of_the_message_is_on_its_way(client: RawClient) -> None:
    client.post(client.conversation.message(bytes(MESSAGE_LIMIT + 1))[1])
    assert client.ended_with() == "message-too-large"


def test_the_answers_to_a_half_closed_connection_are_whole_however_large(tmp_path: Path) -> None:
    token = seed(tmp_path / "data")[0]
    message = bytes(MESSAGE_LIMIT)
    with serving(tmp_path / "data", plain=True) as server, server.session(token) as client:
        client.send(client.conversation.message(message)[1])
        client.half_close()
        assert payloads(client, 1) == [message]


def test_after_a_half_close_on_plain_tcp_every_answer_still_comes(tmp_path: Path) -> None:
    token, gate = seed(tmp_path / "data")[0], Gate()
    questions = [str(number) for number in range(10)]
    with serving(tmp_path / "data", gate, plain=True) as server, server.session(token) as client:
        for question in questions:
            client.send(client.conversation.message(question)[1])
        client.half_close()
        server.call(gate.open())
        assert payloads(client, len(questions)) == questions
        with pytest.raises(Closed):
            client.next()


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
        client.sock.settimeout(60)
        server.call(gate.open())
        client.post(bytes(data[sent:]))
        assert payloads(client, len(messages)) == messages


# --- the fast path ------------------------------------------------------------------------------------------


def test_answers_to_what_was_sent_in_one_piece_come_in_one_piece(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with serving(tmp_path / "data", echo, plain=True) as server, server.session(token) as client:
        data = b"".join(client.conversation.message("x" * 100)[1] for _ in range(16))
        client.send(data)
        assert len(client.sock.recv(2**16)) == 16 * 112


def upper(message: str) -> str:
    return message.upper()


async def upper_later(message: str) -> str:
    return message.upper()


@pytest.mark.parametrize("plain_tcp", [True, False], ids=["tcp", "tls"])
@pytest.mark.parametrize("handler", [upper, upper_later], ids=["plain", "async"])
def test_deadlines_know_what_takes_the_shortcut(tmp_path: Path, handler: Handler, plain_tcp: bool) -> None:
    (token,) = seed(tmp_path / "data")

    def look(server: Server) -> tuple[float, float, int]:
        """Return when a deadline was last put off by what came, by what was said, and how much that was."""
        (connection,) = connections(server)
        connection.tick(time.monotonic())
        watch = connection._deadlines
        return watch._heard_at, watch._spoke_at, connection._writer._written

    def acknowledged(server: Server) -> bool:
        return all(dialogue.replay.first == 3 for dialogue in server._host.channels)

    with serving(tmp_path / "data", handler, plain=plain_tcp) as server, server.session(token) as client:
        client.ask("first")
        heard, spoke, said = server.read(look)
        assert server.read(look) == (heard, spoke, said)
        client.ask("one")
        heard_again, spoke_again, said_again = server.read(look)
        assert heard_again != heard
        assert spoke_again != spoke
        assert said_again - said == HEADER_SIZE + 3
        client.ask("two")
        _, spoke, said = server.read(look)
        assert said - said_again == HEADER_SIZE + 3
        heard = server.read(look)[0]
        client.send(client.conversation.ack(3))
        while not server.read(acknowledged):
            pass  # each look is a step of the server
        assert server.read(look)[0] != heard
        assert server.read(look)[1:] == (spoke, said)


def wait_for(server: Serving, condition: Callable[[Connection], bool]) -> None:
    """Wait until something holds for a connection; each look is a step of the server's loop."""
    deadline = time.monotonic() + 60
    while not server.read(lambda server: any(map(condition, connections(server)))):
        assert time.monotonic() < deadline


def test_over_tls_who_reads_late_still_gets_what_was_answered_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "LINGER_SECONDS", LINGER_SECONDS / 10)
    (token,) = seed(tmp_path / "data")
    with serving(tmp_path / "data", message_limit=MESSAGE_LIMIT_MOST) as server, server.session(token) as client:
        id, asked = client.conversation.message(bytes(MESSAGE_LIMIT_MOST))
        client.send(asked)
        wait_for(server, lambda connection: connection.blocked)
        with server.session(token):
            wait_for(server, lambda connection: connection.state is State.CLOSING)
            closing_at = time.monotonic()
            wait_for(
                server, lambda _: time.monotonic() - closing_at > LINGER_SECONDS / 2
            )  # some looks at deadlines
            answer = client.next()
            assert isinstance(answer, Frame)
            assert (answer.id, len(answer.payload)) == (id, MESSAGE_LIMIT_MOST)
            assert client.body() == ServerBye(reason="replaced")
