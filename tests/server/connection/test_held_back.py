"""Messages behind a handler that waits: they stay bytes, and nobody can tell but by the pace."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from antiphon.server.connection.write_buffer import WriteBuffer
from antiphon.server.handler.turn_end import TurnEnd
from antiphon.server.session.queue import QUEUED_MOST
from antiphon.wire.bodies import Error
from antiphon.wire.conversation import Control
from antiphon.wire.frames import Frame, encode, split_frames
from antiphon.wire.kinds import Kind
from support.joined import JoinedClient, JoinedServer, joined
from support.serving import seed


class Gated:
    """Waits for its gate before it answers, unless a message says otherwise."""

    def __init__(self) -> None:
        self.gates: list[asyncio.Future[None]] = []
        self.seen: list[str] = []

    async def answer(self, message: str) -> str | None:
        self.seen.append(message)
        if message.startswith("at once"):
            return message
        gate = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        await gate
        if message == "boom":
            raise ValueError(message)
        return None if message == "nothing" else message


@pytest.fixture
def gated() -> Gated:
    return Gated()


@pytest.fixture
def server(tmp_path: Path, gated: Gated) -> Iterator[JoinedServer]:
    tokens[:] = seed(tmp_path / "data", sessions=1)
    with joined(tmp_path / "data", gated.answer, plain=True) as running:
        yield running


tokens: list[bytes] = []


@pytest.fixture
def client(server: JoinedServer) -> Iterator[JoinedClient]:
    with server.session(tokens[0]) as client:
        yield client


def send(server: JoinedServer, client: JoinedClient, *messages: str) -> list[int]:
    """Send messages in one piece, which the server has read when this returns; return their ids."""
    made = [client.conversation.message(message) for message in messages]
    client.send(b"".join(data for _, data in made))
    server.until(lambda: not client.untaken)
    return [id for id, _ in made]


def let_on(server: JoinedServer, gated: Gated) -> None:
    """Let the handler that waits go on."""
    server.until(lambda: any(not gate.done() for gate in gated.gates))
    server.read(lambda _: gated.gates[-1].set_result(None))


def next_answer(client: JoinedClient) -> tuple[int, object]:
    """Return id and payload of the next answer; END, or the code of an ERROR, in the place of a payload."""
    event = client.next()
    if isinstance(event, Control):
        assert isinstance(event.body, Error)
        return event.id, event.body.code
    assert isinstance(event, Frame)
    return event.id, Kind(event.kind).name if event.kind == Kind.END else event.payload


def buffered(server: JoinedServer) -> int:
    (connection,) = server.connections
    assert connection._fast_path is not None
    return connection._conversation.reader.buffered + connection._fast_path.held


def queued(server: JoinedServer) -> int:
    (channel,) = server.channels
    return len(channel._queue)


def test_all_are_answered_in_order_and_none_is_queued(
    server: JoinedServer, client: JoinedClient, gated: Gated
) -> None:
    messages = ["one", "at once 1", "at once 2", "two", "boom", "nothing", "at once 3", "three"]
    ids = send(server, client, *messages)
    expected = {"boom": "service-failed", "nothing": "END"}
    for id, message in zip(ids, messages, strict=True):
        assert not queued(server)
        if not message.startswith("at once"):
            let_on(server, gated)
        assert next_answer(client) == (id, expected.get(message, message))
    assert gated.seen == messages
    assert not buffered(server)
    (connection,) = server.connections
    assert connection._fast_path is not None
    assert connection._fast_path.is_open


def test_what_comes_later_waits_behind_it(server: JoinedServer, client: JoinedClient, gated: Gated) -> None:
    sent = [("one", *send(server, client, "one")), ("two", *send(server, client, "two"))]
    (id, data) = client.conversation.message("three")
    for piece in (data[:5], data[5:20], data[20:]):
        client.send(piece)
        server.until(lambda: not client.untaken)
    for message, its in [*sent, ("three", id)]:
        assert not queued(server)
        let_on(server, gated)
        assert next_answer(client) == (its, message)


def test_no_more_are_read_than_a_queue_takes(server: JoinedServer, client: JoinedClient, gated: Gated) -> None:
    def paused() -> bool:
        (connection,) = server.connections
        return connection._reading.paused

    messages = [f"{number}" for number in range(QUEUED_MOST)]
    ids = send(server, client, *messages)
    assert not paused()
    ids += send(server, client, "one more", "another")
    assert server.read(lambda _: paused())
    for id, message in zip(ids, [*messages, "one more", "another"], strict=True):
        let_on(server, gated)
        assert next_answer(client) == (id, message)
    assert not server.read(lambda _: paused())


@pytest.mark.parametrize("which", [0, 2], ids=["the one that waits", "one behind it"])
def test_a_cancel_behind_messages_is_heeded_at_once(
    server: JoinedServer, client: JoinedClient, gated: Gated, which: int
) -> None:
    messages = ["one", "two", "three", "four"]
    ids = send(server, client, *messages)
    client.send(client.conversation.cancel(ids[which]))
    if which:
        server.until(lambda: not client.untaken)
    for number, (id, message) in enumerate(zip(ids, messages, strict=True)):
        if number == which:
            assert next_answer(client) == (id, "END")
        else:
            let_on(server, gated)
            assert next_answer(client) == (id, message)
    assert ("three" in gated.seen) is not (which == 2)


def test_what_is_held_back_is_not_counted_and_a_resumed_session_goes_on_without_it(
    server: JoinedServer, client: JoinedClient, gated: Gated
) -> None:
    send(server, client, "one", "two", "three")
    server.until(lambda: gated.gates)
    client.cut()
    server.until(lambda: not server.connections)
    let_on(server, gated)
    with server.back(tokens[0], 0)[0] as again:
        event = again.next()
        assert isinstance(event, Frame)
        assert event.payload == "one"
        (channel,) = server.channels
        assert channel.replay.received == 1
    assert gated.seen == ["one"]


def test_a_heartbeat_between_answers_changes_nothing(
    server: JoinedServer, client: JoinedClient, gated: Gated
) -> None:
    ids = send(server, client, "one", "two", "three")
    (connection,) = server.connections
    server.read(lambda _: connection.proceed())  # as after something was sent
    for id, message in zip(ids, ["one", "two", "three"], strict=True):
        let_on(server, gated)
        assert next_answer(client) == (id, message)


async def queued_answer(message: str) -> str:
    waiting: asyncio.Queue[str] = asyncio.Queue()
    asyncio.get_running_loop().call_soon(waiting.put_nowait, message)
    return await waiting.get()


def test_answers_that_follow_at_once_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    put = WriteBuffer.put

    def counted(buffer: WriteBuffer, data: bytes) -> None:
        written.append(len(list(split_frames(data))))
        put(buffer, data)

    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", queued_answer, plain=True) as server, server.session(token) as client:
        monkeypatch.setattr(WriteBuffer, "put", counted)
        messages = [f"{number}" for number in range(8)]
        ids = send(server, client, *messages)
        assert [next_answer(client) for _ in ids] == list(zip(ids, messages, strict=True))
    assert sum(written) == len(messages)
    assert max(written) > 1


def test_answers_of_several_sessions_are_written_when_the_handlers_of_all_have_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: set[TurnEnd] = set()
    due: list[int] = []
    grew = TurnEnd.grew

    def noted(end: TurnEnd) -> None:
        ends.add(end)
        grew(end)

    async def handler(message: str) -> str:
        due.append(max((len(end.due) for end in ends), default=0))
        gates.append(asyncio.get_running_loop().create_future())
        await gates[-1]
        return message

    def let_all_on(_: object) -> None:
        for gate in gates[-2:]:
            gate.set_result(None)

    gates: list[asyncio.Future[None]] = []
    monkeypatch.setattr(TurnEnd, "grew", noted)
    messages = ["one", "two", "three", "four", "five"]
    one, other = seed(tmp_path / "data", sessions=2)
    with (
        joined(tmp_path / "data", handler, plain=True) as running,
        running.session(one) as first,
        running.session(other) as second,
    ):
        ids = [send(running, client, *messages) for client in (first, second)]
        for number, message in enumerate(messages):
            running.until(lambda: len(gates) == 2 * (number + 1))  # noqa: B023 - called at once
            running.read(let_all_on)
            for client, its in zip((first, second), ids, strict=True):
                assert next_answer(client) == (its[number], message)
    assert (
        due == [0] * 6 + [1, 2] * 2
    )  # the first two answers of each have waited for the next one of their session


def test_an_answer_does_not_wait_for_a_handler_that_waits(
    server: JoinedServer, client: JoinedClient, gated: Gated
) -> None:
    (first, *_) = send(server, client, "one", "two")
    began = server.now
    let_on(server, gated)
    assert next_answer(client) == (first, "one")
    assert (server.now, len(gated.gates)) == (began, 2)


def test_what_is_said_in_between_does_not_overtake_an_answer(tmp_path: Path) -> None:
    async def handler(message: str) -> str:
        answered = await queued_answer(message)
        if message == "2":
            (connection,) = running.connections
            connection.send(connection._conversation.heartbeat())
        return answered

    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", handler, plain=True) as running, running.session(token) as client:
        ids = send(running, client, *(f"{number}" for number in range(4)))
        kinds: list[int] = []
        while len(kinds) < 5:
            event = client.next()
            assert isinstance(event, Frame)
            kinds.append(event.id)
        assert kinds == [*ids[:2], 0, *ids[2:]]


@pytest.mark.parametrize("seed_of_random", range(6))
def test_whatever_comes_in_whatever_pieces_each_is_answered_once_and_in_order(
    tmp_path: Path, seed_of_random: int
) -> None:
    chance = Random(seed_of_random)

    async def handler(message: str) -> str | None:
        for _ in range(int(message.partition(" ")[0])):
            await asyncio.sleep(0)
        if "queue" in message:
            await queued_answer(message)
        if "boom" in message:
            raise ValueError(message)
        return None if "nothing" in message else "x" * 2**21 if "large" in message else message

    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", handler, plain=True) as running, running.session(token) as client:
        data, due, cancelled = bytearray(), dict[int, str](), set[int]()
        for _ in range(200):
            message = (
                f"{chance.choice((0, 0, 1, 3))} {chance.choice(('', '', '', 'queue', 'boom', 'nothing', 'large'))}"
            )
            id, frame = client.conversation.message(message)
            due[id] = message
            data += frame
            if chance.random() < 0.05:
                cancelled.add(id)
                data += client.conversation.cancel(id)
            if chance.random() < 0.05:
                data += encode(Kind.HEARTBEAT, 0)
        at = 0
        answers: list[tuple[int, object]] = []
        while at < len(data):
            piece = data[at : at + chance.choice((1, 30, 100, 1000, 5000))]
            client.send(bytes(piece))
            at += len(piece)
            if chance.random() < 0.5:
                running.read(lambda _: None)  # a step of the server
        while len(answers) < len(due):
            answers.append(next_answer(client))
        assert [id for id, _ in answers] == list(due)
        for id, answer in answers:
            message = due[id]
            failed = "service-failed" if "boom" in message or "large" in message else None
            expected = failed or ("END" if "nothing" in message else message)
            assert answer == expected or (id in cancelled and answer == "END")
