"""The swift way: nobody can tell it from the other one but by its pace."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from antiphon.server.server import Server
from antiphon.services import Handler, Session, echo
from antiphon.wire.bodies import Error
from antiphon.wire.conversation import Control
from antiphon.wire.frames import HEADER_SIZE, Frame, encode
from antiphon.wire.kinds import Flag, Kind
from support.inside import connections
from support.raw import RawClient
from support.serving import seed, serving


def plain(message: str) -> str | None:
    """Answer at once, or not at all, or wrongly."""
    if message == "boom":
        raise RuntimeError("why")
    if message == "large":
        return "x" * 2**21
    return None if message == "nothing" else message.upper()


def seeing(message: str, session: Session) -> str | None:
    return plain(message)


class Told:
    """Is told of sessions, and so could say something in one."""

    def opened(self, session: Session) -> None:
        pass

    def received(self, message: str) -> str | None:
        return plain(message)


async def later(message: str) -> str | None:
    return plain(message)


def conversation(client: RawClient, messages: list[str | bytes]) -> list[tuple[int, int, int, object]]:
    """Say everything in one piece; return what comes back."""
    data = b"".join(client.conversation.message(message)[1] for message in messages)
    client.send(data)
    frames: list[tuple[int, int, int, object]] = []
    while len(frames) < len(messages):
        event = client.next()
        if isinstance(event, Frame):
            frames.append((event.kind, event.id, event.flags, event.payload))
        else:
            assert isinstance(event, Control)
            assert isinstance(event.body, Error)
            frames.append((event.kind, event.id, 0, event.body.code))
    return frames


@pytest.mark.parametrize("handler", [plain, seeing, Told(), later], ids=["plain", "session", "object", "async"])
@pytest.mark.parametrize("in_one_piece", [True, False])
def test_every_way_gives_the_same_answers(tmp_path: Path, handler: Handler, in_one_piece: bool) -> None:
    (token,) = seed(tmp_path / "data")
    said: list[str | bytes] = ["one", "nothing", "two", "boom", "three", b"four", "large", "пять", ""]
    with serving(tmp_path / "data", handler, plain=True) as server, server.session(token) as client:
        pieces = [said] if in_one_piece else [[message] for message in said]
        told = [frame for piece in pieces for frame in conversation(client, piece)]
        (books,) = server.read(lambda server: [dialogue.replay for dialogue in server._host.channels])
        assert (books.received, books.sent, books.first, len(books.frames())) == (9, 9, 0, 9)
    text = Flag.LAST | Flag.TEXT
    assert [(kind, flags, payload) for kind, _, flags, payload in told] == [
        (Kind.MESSAGE, text, "ONE"),
        (Kind.END, 0, b""),
        (Kind.MESSAGE, text, "TWO"),
        (Kind.ERROR, 0, "service-failed"),
        (Kind.MESSAGE, text, "THREE"),
        (Kind.ERROR, 0, "text-only"),
        (Kind.ERROR, 0, "service-failed"),
        (Kind.MESSAGE, text, "ПЯТЬ"),
        (Kind.MESSAGE, text, ""),
    ]
    assert [id for _, id, _, _ in told] == sorted({id for _, id, _, _ in told})


async def test_only_what_sees_messages_and_nothing_else_goes_the_swift_way(tmp_path: Path) -> None:
    ways = {}
    for name, handler in {"echo": echo, "session": seeing, "object": Told()}.items():
        async with Server(handler, data=tmp_path / name, plain=True, port=0) as server:
            ways[name] = server._host.handlers.service.sees_messages_only
    assert ways == {"echo": True, "session": False, "object": False}


def test_answers_to_what_was_sent_in_one_piece_come_in_one_piece(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with serving(tmp_path / "data", echo, plain=True) as server, server.session(token) as client:
        data = b"".join(client.conversation.message("x" * 100)[1] for _ in range(16))
        client.send(data)
        assert len(client.sock.recv(2**16)) == 16 * 112


def test_what_is_no_message_does_not_say_that_the_counts_are_known(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")

    def beat(server: Server) -> bool:
        (connection,) = connections(server)
        heartbeat = encode(Kind.HEARTBEAT, 0)
        connection.received(heartbeat, len(heartbeat))
        assert connection._channel is not None
        return connection._channel.replay.known

    with serving(tmp_path / "data", echo, plain=True) as server, server.client() as client:
        client.hello()
        client.resume(token, 0)
        assert not server.read(beat)
        assert client.ask("hello") == "hello"
        assert server.read(beat)


@pytest.mark.parametrize("plain_tcp", [True, False], ids=["tcp", "tls"])
@pytest.mark.parametrize("handler", [plain, later], ids=["plain", "async"])
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


def test_a_message_whose_handler_waits_was_heard(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    begun = threading.Event()

    async def wait(message: str) -> None:
        begun.set()
        await asyncio.Event().wait()

    def look(server: Server) -> float:
        (connection,) = connections(server)
        connection.tick(time.monotonic())
        return connection._deadlines._heard_at

    with serving(tmp_path / "data", wait, plain=True) as server, server.session(token) as client:
        server.read(look)
        heard = server.read(look)
        id, data = client.conversation.message("hello")
        client.send(data)
        assert begun.wait(10)
        assert server.read(look) != heard
        client.send(client.conversation.cancel(id))
        assert client.answer(id) is None


@pytest.mark.parametrize("sees_session", [True, False])
def test_what_is_taken_back_at_once_is_cancelled_and_not_thrown_away(tmp_path: Path, sees_session: bool) -> None:
    (token,) = seed(tmp_path / "data")
    ends: list[str] = []

    async def wait(message: str) -> str:
        try:
            await asyncio.Event().wait()
        except BaseException as error:
            await asyncio.sleep(0)
            ends.append(f"{message}: {type(error).__name__}")
            raise
        return "never"

    async def wait_in(message: str, session: Session) -> str:
        return await wait(message)

    handler = wait_in if sees_session else wait
    with serving(tmp_path / "data", handler, plain=True) as server, server.session(token) as client:
        id, data = client.conversation.message("hello")
        client.send(data + client.conversation.cancel(id))
        event = client.next()
        assert isinstance(event, Frame)
        assert (event.kind, event.id) == (Kind.END, id)
        assert ends == ["hello: CancelledError"]
