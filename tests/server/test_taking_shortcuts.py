"""When a connection takes the shortcut, and when each frame is looked at: in order, and by whoever may."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import PeerTooSlow
from antiphon.server.connection import Connection
from antiphon.services import echo
from antiphon.transport.tls import TlsTransport
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
        server.read(lambda server: list(map(Connection.abort, server._context.connections)))


def step(server: Serving, client: RawClient, do: Callable[[Connection], object]) -> bool:
    """Do something with a client's connection in one step; return whether what comes is looked at then."""
    host, port = client.sock.getsockname()[:2]

    async def work() -> bool:
        connections = server.server._context.connections
        (connection,) = (each for each in connections if each.address == f"{host}:{port}")
        do(connection)
        return connection._swift is None or connection._swift.shortcut.held

    return server.call(work())


def test_when_all_is_answered_what_comes_takes_the_shortcut(server: Serving, client: RawClient) -> None:
    assert not step(server, client, lambda _: None)


def test_there_is_no_step_between_the_socket_and_the_shortcut(server: Serving, client: RawClient) -> None:
    def ways(connection: Connection) -> None:
        transport: Any = connection._transport
        assert connection._swift is not None
        hop: object = connection._swift.shortcut
        if isinstance(transport, TlsTransport):
            assert transport._records.received is hop
            hop, transport = transport._records, transport._below
        assert transport._endpoint.received is hop

    step(server, client, ways)


AGAIN: dict[str, Callable[[Connection], object]] = {
    "proceed": Connection.proceed,
    "pump": Connection._pump,
    "nothing more": lambda connection: connection.received(b"", 0),
}


@pytest.mark.parametrize("go_on", AGAIN.values(), ids=AGAIN)
def test_it_is_taken_again(server: Serving, client: RawClient, go_on: Callable[[Connection], object]) -> None:
    def work(connection: Connection) -> None:
        connection._look()
        go_on(connection)

    assert not step(server, client, work)
    assert client.ask("again") == "again"


def paused(connection: Connection) -> None:
    connection._outbox.paused = True


def uncounted(connection: Connection) -> None:
    assert connection._dialogue is not None
    connection._dialogue.counted = False


def at_work(connection: Connection) -> None:
    assert connection._dialogue is not None
    connection._dialogue._busy = True


def pausing(connection: Connection) -> None:
    """Have much to send: the peer does not take all of it now."""
    much = 2**24
    connection._outbox._parts.append(bytes(much))
    connection._outbox._size += much


UNDER_WAY: dict[str, Callable[[Connection], object]] = {
    "a step": lambda connection: setattr(connection, "_busy", True),
    "a goodbye": lambda connection: setattr(connection, "_bye", "drained"),
    "the end of what comes": lambda connection: setattr(connection, "_ended", True),
    "our own end": lambda connection: setattr(connection, "_closing_at", 1.0),
    "half a frame": lambda connection: connection._reader.feed(bytes(3)),
    "no reading": lambda connection: setattr(connection, "_reading_paused", True),
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
        connection._look()
        under_way(connection)
        go_on(connection)
        assert not connection._reading_paused

    assert step(server, client, work)


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
    assert step(server, client, change)


def test_what_comes_behind_our_last_words_is_not_kept(server: Serving, client: RawClient) -> None:
    def work(connection: Connection) -> None:
        connection.lose("revoked")
        connection.received(bytes(100), 100)
        assert connection._reader.buffered == 0

    assert step(server, client, work)


def test_nothing_is_given_to_a_service_behind_our_last_words(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    handled: list[str] = []

    def handle(message: str) -> str:
        handled.append(message)
        return message

    with serving(tmp_path / "data", handle, plain=True) as server, server.session(token) as client:
        client.ask("one")
        step(server, client, lambda connection: connection.lose("revoked"))
        client.send(client.conversation.message("two")[1])
        client.closed()
        client.sock.close()

        while server.read(lambda server: bool(server._context.connections)):
            pass  # each look is a step of the server
    assert handled == ["one"]
