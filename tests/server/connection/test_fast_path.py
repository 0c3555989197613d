"""The swift way: nobody can tell it from the other one but by its pace."""

import asyncio
from pathlib import Path

import pytest

from antiphon.services import Handler, Session, as_service, echo
from antiphon.wire.bodies import Error
from antiphon.wire.conversation import Control
from antiphon.wire.frames import Frame
from antiphon.wire.kinds import Flag, Kind
from support.joined import JoinedClient, joined
from support.serving import seed


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


def conversation(client: JoinedClient, messages: list[str | bytes]) -> list[tuple[int, int, int, object]]:
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
    with joined(tmp_path / "data", handler, plain=True) as server, server.session(token) as client:
        pieces = [said] if in_one_piece else [[message] for message in said]
        told = [frame for piece in pieces for frame in conversation(client, piece)]
        (books,) = [channel.replay for channel in server.channels]
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
    with joined(tmp_path / "data", handler, plain=True) as server, server.session(token) as client:
        id, data = client.conversation.message("hello")
        client.send(data + client.conversation.cancel(id))
        event = client.next()
        assert isinstance(event, Frame)
        assert (event.kind, event.id) == (Kind.END, id)
        assert ends == ["hello: CancelledError"]


def test_only_what_sees_messages_and_nothing_else_goes_the_swift_way() -> None:
    handlers: dict[str, Handler] = {"echo": echo, "session": seeing, "object": Told()}
    ways = {name: as_service(handler).sees_messages_only for name, handler in handlers.items()}
    assert ways == {"echo": True, "session": False, "object": False}


def test_what_is_no_message_does_not_say_that_the_counts_are_known(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", echo) as server:
        client, _ = server.back(token, 0)
        (channel,) = server.channels

        def known_after_a_heartbeat() -> bool:
            client.send(client.conversation.heartbeat())
            server.until(lambda: not client.untaken)
            return channel.replay.known

        assert not known_after_a_heartbeat()
        assert client.ask("hello") == "hello"
        assert known_after_a_heartbeat()


@pytest.mark.parametrize("plain_tcp", [True, False], ids=["tcp", "tls"])
@pytest.mark.parametrize("handler", [plain, later], ids=["plain", "async"])
def test_what_takes_the_shortcut_is_heard_and_its_answer_is_no_silence(
    tmp_path: Path, handler: Handler, plain_tcp: bool
) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", handler, plain=plain_tcp) as server, server.session(token) as client:
        while server.now < 100:  # answers only, and no heartbeat between them
            client.send(client.conversation.message("one")[1])
            event = client.next()
            assert isinstance(event, Frame)
            assert event.payload == "ONE"
            server.let_pass(19)
        beats = 0
        while server.now < 200:  # acknowledgements are heard, and nothing is said to them
            client.send(client.conversation.ack(1))
            server.let_pass(19)
        client.send(client.conversation.message("last")[1])
        while (event := client.next()) and isinstance(event, Frame) and event.kind == Kind.HEARTBEAT:
            beats += 1
        assert isinstance(event, Frame)
        assert event.payload == "LAST"
        assert beats == 5


def test_a_message_whose_handler_waits_was_heard(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    cancelled = []

    async def wait(message: str) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(message)
            raise

    with joined(tmp_path / "data", wait) as server, server.session(token) as client:
        server.let_pass(39)
        id, data = client.conversation.message("hello")
        client.send(data)
        server.let_pass(39)
        client.send(client.conversation.cancel(id))
        assert client.answer(id) is None
        assert cancelled == ["hello"]
        server.let_pass(42)
        assert client.error().code == "peer-silent"
