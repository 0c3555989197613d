"""When a connection takes the shortcut, and when each frame is looked at: in order, and by whoever may."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import PeerTooSlow
from antiphon.server.connection.connection import Connection
from antiphon.server.connection.state import State
from antiphon.services import echo
from antiphon.transport.tls import TlsTransport
from antiphon.wire.batch import WAITING
from antiphon.wire.frames import Frame
from support.inside import connections
from support.raw import RawClient
from support.serving import Serving, seed, serving

tokens: list[bytes] = []
"""Sessions of `server` that no test has taken yet."""


@pytest.fixture(scope="module", params=["tcp", "tls"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("shortcut") / "data"
    tokens[:] = seed(folder, sessions=60)
    with serving(folder, echo, plain=request.param == "tcp") as running:
        yield running


@pytest.fixture
def client(server: Serving) -> Iterator[RawClient]:
    with server.session(tokens.pop()) as client:
        assert client.ask("hello") == "hello"
        yield client
        # It may wait for something that never comes.
        server.read(lambda server: list(map(Connection.abort, connections(server))))


def start(server: Serving, client: RawClient, do: Callable[[Connection], object]) -> bool:
    """Do something with a client's connection in one step; return whether what comes is looked at then."""
    host, port = client.sock.getsockname()[:2]

    async def work() -> bool:
        (connection,) = (each for each in connections(server.server) if each.peer.address == f"{host}:{port}")
        do(connection)
        return connection._fast_path is None or bool(connection._fast_path._responder.closed)

    return server.call(work())


def test_when_all_is_answered_what_comes_takes_the_shortcut(server: Serving, client: RawClient) -> None:
    assert not start(server, client, lambda _: None)


def test_there_is_no_step_between_the_socket_and_the_shortcut(server: Serving, client: RawClient) -> None:
    def ways(connection: Connection) -> None:
        transport: Any = connection._writer.transport
        assert connection._fast_path is not None
        hop: object = connection._fast_path._responder
        if isinstance(transport, TlsTransport):
            assert transport._records.received is hop
            hop, transport = transport._records, transport._below
        assert transport._endpoint.received is hop

    start(server, client, ways)


AGAIN: dict[str, Callable[[Connection], object]] = {
    "proceed": Connection.proceed,
    "pump": Connection._pump,
    "nothing more": lambda connection: connection.received(b"", 0),
}


@pytest.mark.parametrize("go_on", AGAIN.values(), ids=AGAIN)
def test_it_is_taken_again(server: Serving, client: RawClient, go_on: Callable[[Connection], object]) -> None:
    def work(connection: Connection) -> None:
        connection._leave_fast_path()
        go_on(connection)

    assert not start(server, client, work)
    assert client.ask("again") == "again"


def paused(connection: Connection) -> None:
    connection._writer.paused = True


def uncounted(connection: Connection) -> None:
    assert connection._channel is not None
    connection._channel.replay.known = False


def at_work(connection: Connection) -> None:
    assert connection._channel is not None
    connection._channel.runner.waiting.begin(1, asyncio.get_running_loop().create_future(), 0.0)


def pausing(connection: Connection) -> None:
    """Have much to send: the peer does not take all of it now."""
    much = 2**24
    connection._writer._parts.append(bytes(much))
    connection._writer._size += much


UNDER_WAY: dict[str, Callable[[Connection], object]] = {
    "a step": lambda connection: setattr(connection, "_busy", True),
    "a goodbye": lambda connection: connection._enter(State.LEAVING),
    "the end of what comes": lambda connection: connection._reading.end(),
    "our own end": lambda connection: connection._enter(State.CLOSING),
    "half a frame": lambda connection: connection._conversation.reader.feed(bytes(3)),
    "no reading": lambda connection: connection._reading.pause(paused=True),
    "no writing": paused,
    "counts that are not known": uncounted,
    "a message": at_work,
    "what makes it pause": pausing,
}


@pytest.mark.parametrize("go_on", [Connection.proceed, Connection._pump], ids=["proceed", "pump"])
@pytest.mark.parametrize("under_way", UNDER_WAY.values(), ids=UNDER_WAY)
def test_while_anything_is_under_way_each_frame_is_looked_at(
    server: Serving,
    client: RawClient,
    under_way: Callable[[Connection], object],
    go_on: Callable[[Connection], object],
) -> None:
    def work(connection: Connection) -> None:
        connection._leave_fast_path()
        under_way(connection)
        go_on(connection)
        assert not connection._reading.paused

    assert start(server, client, work)


def begin(connection: Connection) -> None:
    connection._begin(asyncio.sleep(0))


CHANGES: dict[str, Callable[[Connection], object]] = {
    "something is to be sent": lambda connection: connection.send(b""),
    "the peer takes no more": Connection.pause_writing,
    "a step begins": begin,
    "it closes": Connection.close,
    "it is cut": lambda connection: connection.fail(PeerTooSlow()),
    "the last words are said": lambda connection: connection.lose("revoked"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_comes_is_looked_at_from_then_on(
    server: Serving, client: RawClient, change: Callable[[Connection], object]
) -> None:
    assert start(server, client, change)


gates: list[asyncio.Future[str]] = []
"""What each message to `waiting_server` waits for."""


async def wait(message: str) -> str:
    gate = asyncio.get_running_loop().create_future()
    gates.append(gate)
    return f"{message}{await gate}"


@pytest.fixture(scope="module", params=["tcp", "tls"])
def waiting_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("waiting") / "data"
    waiting_tokens[:] = seed(folder, sessions=20)
    with serving(folder, wait, plain=request.param == "tcp") as running:
        yield running


waiting_tokens: list[bytes] = []


@pytest.fixture
def waiting(waiting_server: Serving) -> Iterator[RawClient]:
    """A client whose first message waits."""
    gates.clear()
    with waiting_server.session(waiting_tokens.pop()) as client:
        client.send(client.conversation.message("one")[1])
        while not waiting_server.read(lambda _: list(gates)):
            pass  # each look is a step of the server
        yield client
        waiting_server.read(lambda server: list(map(Connection.abort, connections(server))))


def go_on(server: Serving) -> None:
    server.read(lambda _: gates.pop(0).set_result(" and on"))


def held(server: Serving) -> list[int]:
    """How the shortcuts are held; once more, since what a gate lets go on does so in the next step."""
    server.read(lambda _: None)
    paths = server.read(lambda server: [connection._fast_path for connection in connections(server)])
    return [path._responder.closed for path in paths if path is not None]


def test_a_handler_that_has_waited_alone_answers_by_the_shortcut(
    waiting_server: Serving, waiting: RawClient
) -> None:
    (books,) = waiting_server.read(
        lambda server: [each.replay for each in server._host.channels if each.away_since is None]
    )
    assert (books.received, books.sent) == (1, 0)
    assert held(waiting_server) == [WAITING]
    go_on(waiting_server)
    answered = waiting.next()
    assert isinstance(answered, Frame)
    assert answered.payload == "one and on"
    assert held(waiting_server) == [False]
    assert books.unsettled[1:] == [0]
    assert (books.received, books.sent, len(books.frames())) == (1, 1, 1)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_happens_while_a_handler_waits_has_its_answer_looked_at(
    waiting_server: Serving, waiting: RawClient, change: Callable[[Connection], object]
) -> None:
    assert start(waiting_server, waiting, change)
    assert not {WAITING, False} & set(held(waiting_server))


def held_back(server: Serving) -> int:
    """Messages that are held back until a handler has ended."""
    (connection,) = server.read(lambda server: list(connections(server)))
    assert connection._fast_path is not None
    return connection._fast_path.held


def test_messages_that_come_while_a_handler_waits_stay_bytes_until_their_turn(
    waiting_server: Serving, waiting: RawClient
) -> None:
    waiting.send(waiting.conversation.message("two")[1])
    while not held_back(waiting_server):
        pass
    assert held(waiting_server) == [WAITING]
    for text in ("one", "two"):
        while not waiting_server.read(lambda _: list(gates)):
            pass
        go_on(waiting_server)
        answered = waiting.next()
        assert isinstance(answered, Frame)
        assert answered.payload == f"{text} and on"
    assert held(waiting_server) == [False]


def test_a_handler_whose_connection_is_gone_answers_the_next_one(
    waiting_server: Serving, waiting: RawClient
) -> None:
    (dialogue,) = waiting_server.read(
        lambda server: [each for each in server._host.channels if each.away_since is None]
    )
    waiting_server.read(lambda server: list(map(Connection.abort, connections(server))))
    while waiting_server.read(lambda _: dialogue.away_since) is None:
        pass
    go_on(waiting_server)
    while not dialogue.idle:
        held(waiting_server)
    assert (dialogue.replay.received, dialogue.replay.sent) == (1, 1)
    assert dialogue.replay.frames()[0].endswith(b"one and on")
    assert dialogue.runner.waiting.answer is None


def test_what_comes_behind_our_last_words_is_not_kept(server: Serving, client: RawClient) -> None:
    def work(connection: Connection) -> None:
        connection.lose("revoked")
        connection.received(bytes(100), 100)
        assert connection._conversation.reader.buffered == 0

    assert start(server, client, work)


def test_nothing_is_given_to_a_service_behind_our_last_words(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    handled: list[str] = []

    def handle(message: str) -> str:
        handled.append(message)
        return message

    with serving(tmp_path / "data", handle, plain=True) as server, server.session(token) as client:
        client.ask("one")
        start(server, client, lambda connection: connection.lose("revoked"))
        client.send(client.conversation.message("two")[1])
        client.closed()
        client.sock.close()

        while server.read(lambda server: bool(connections(server))):
            pass  # each look is a step of the server
    assert handled == ["one"]
