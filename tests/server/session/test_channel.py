"""Sessions and services at the socket: answers of every shape, pushes, and what a broken connection leaves."""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import TryLater
from antiphon.server.handler import lifecycle
from antiphon.server.session import registry
from antiphon.server.session.queue import QUEUED_MOST
from antiphon.server.session.replay import REPLAY_LIMIT
from antiphon.services import Session
from antiphon.store.contracts import Revocation
from antiphon.wire.bodies import Error, Resume, ServerBye, Welcome
from antiphon.wire.conversation import Control
from antiphon.wire.frames import Frame, Payload
from antiphon.wire.kinds import KIB, Flag, Kind
from support.inside import channels, connections, sessions, stored
from support.processes import PASSWORD
from support.raw import RawClient
from support.serving import Serving, seed, serving


class Desk:
    """A service that does what the first word of a message says, and writes down what happens to it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.sessions: list[Session] = []
        self.gate = asyncio.Event()
        self.changed = threading.Condition()

    def note(self, what: str) -> None:
        with self.changed:
            self.seen.append(what)
            self.changed.notify_all()

    def wait_for(self, what: str, times: int = 1) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.seen.count(what) >= times, 20), self.seen

    async def opened(self, session: Session) -> None:
        await asyncio.sleep(0)
        session.state = 0
        self.sessions.append(session)
        self.note(f"opened {session.name}")

    async def closed(self, session: Session) -> None:
        await asyncio.sleep(0)
        self.note(f"closed {session.name} after {session.state}")

    def received(self, message: Payload, session: Session) -> Any:
        session.state += 1
        word = str(message).partition(" ")[0]
        return getattr(self, f"on_{word}", self.on_echo)(message, session)

    def on_echo(self, message: Payload, session: Session) -> Payload:
        return message

    async def on_wait(self, message: str, session: Session) -> str:
        self.note(f"begun {message}")
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.note(f"cancelled {message}")
            raise
        self.note(f"ended {message}")
        return message

    async def on_count(self, message: str, session: Session) -> AsyncIterator[str]:
        try:
            for number in range(int(message.split()[1])):
                yield f"{number}"
        finally:
            self.note(f"counted {message}")

    async def on_flood(self, message: str, session: Session) -> AsyncIterator[bytes]:
        for number in range(int(message.split()[1])):
            self.note("flooded")
            yield bytes([number]) * 64 * KIB

    async def on_break(self, message: str, session: Session) -> AsyncIterator[str]:
        yield "one"
        raise RuntimeError("two")

    def on_push(self, message: str, session: Session) -> None:
        for number in range(int(message.split()[1])):
            session.send(f"push {number}")

    def on_goodbye(self, message: str, session: Session) -> str:
        session.close(message)
        return "as you wish"

    async def open(self) -> None:
        self.gate.set()


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def tokens(tmp_path: Path) -> list[bytes]:
    return seed(tmp_path / "data", sessions=3)


@pytest.fixture
def server(tmp_path: Path, desk: Desk, tokens: list[bytes]) -> Iterator[Serving]:
    with serving(tmp_path / "data", desk, plain=True) as running:
        yield running


@pytest.fixture
def client(server: Serving, tokens: list[bytes]) -> Iterator[RawClient]:
    with server.session(tokens[0]) as client:
        yield client


def sent(client: RawClient, *messages: Payload) -> list[int]:
    """Send messages in one write; return their ids."""
    pairs = [client.conversation.message(message) for message in messages]
    client.send(b"".join(data for _, data in pairs))
    return [id for id, _ in pairs]


def told(client: RawClient, count: int) -> list[tuple[int, object]]:
    """Return the next frames that count: id, and payload, "END" or the code of an ERROR."""
    frames: list[tuple[int, object]] = []
    while len(frames) < count:
        event = client.next()
        if isinstance(event, Control):
            assert isinstance(event.body, Error), event
            frames.append((event.id, event.body.code))
        elif isinstance(event, Frame) and event.kind != Kind.HEARTBEAT:
            frames.append((event.id, event.payload if event.kind == Kind.MESSAGE else "END"))
    return frames


def back(server: Serving, token: bytes, received: int | None) -> tuple[RawClient, Welcome]:
    """Return a new connection that has resumed the session of `token`, and what it was told."""
    client = server.client()
    client.hello()
    welcome = client.resume(token, received)
    assert isinstance(welcome, Welcome), welcome
    return client, welcome


def cut(client: RawClient) -> None:
    """Break a connection off with a reset: on plain TCP a mere close looks like a half-close."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()


# --- answers of every shape ---------------------------------------------------------------------------------


def test_a_generator_answers_many_times_and_then_ends(client: RawClient, desk: Desk) -> None:
    (id,) = sent(client, "count 3")
    assert told(client, 4) == [(id, "0"), (id, "1"), (id, "2"), (id, "END")]
    assert client.ask("next") == "next"


def test_none_of_many_answers_says_that_it_is_the_last(client: RawClient) -> None:
    sent(client, "count 1")
    event = client.next()
    assert isinstance(event, Frame)
    assert event.flags == Flag.TEXT


def test_a_generator_without_answers_just_ends(client: RawClient) -> None:
    (id,) = sent(client, "count 0")
    assert told(client, 1) == [(id, "END")]


def test_a_generator_that_fails_ends_with_an_error_behind_its_answers(client: RawClient) -> None:
    (id,) = sent(client, "break")
    assert told(client, 2) == [(id, "one"), (id, "service-failed")]
    assert client.ask("next") == "next"


def test_a_generator_waits_while_its_answers_are_not_taken(client: RawClient, desk: Desk) -> None:
    (id,) = sent(client, "flood 200")
    first = told(client, 1)
    desk.wait_for("flooded", 4)
    assert desk.seen.count("flooded") < 150, "it has run on without anybody to take its answers"
    frames = first + told(client, 200)
    assert [payload[0] for _, payload in frames[:-1]] == list(range(200))  # type: ignore[index]
    assert frames[-1] == (id, "END")


def test_a_service_that_takes_too_long_is_stopped_and_the_session_goes_on(
    tmp_path: Path, desk: Desk, tokens: list[bytes]
) -> None:
    with (
        serving(tmp_path / "data", desk, plain=True, service_seconds=0.2) as server,
        server.session(tokens[0]) as client,
    ):
        ids = sent(client, "wait for ever", "next")
        assert told(client, 2) == [(ids[0], "service-too-slow"), (ids[1], "next")]
        log = server.server.log_path
    assert "cancelled wait for ever" in desk.seen
    assert "service-too-slow" in log.read_text()


def test_many_answers_may_take_longer_than_one(tmp_path: Path, tokens: list[bytes]) -> None:
    async def slowly(message: str) -> AsyncIterator[str]:
        for number in range(5):
            await asyncio.sleep(0.1)
            yield str(number)

    with (
        serving(tmp_path / "data", slowly, plain=True, service_seconds=0.3) as server,
        server.session(tokens[0]) as client,
    ):
        sent(client, "go")
        assert [payload for _, payload in told(client, 6)] == ["0", "1", "2", "3", "4", "END"]


def test_a_service_of_text_refuses_bytes_and_answers_the_next_message(tmp_path: Path, tokens: list[bytes]) -> None:
    def shout(message: str) -> str:
        return message.upper()

    with serving(tmp_path / "data", shout, plain=True) as server, server.session(tokens[0]) as client:
        ids = sent(client, b"bytes", "text")
        assert told(client, 2) == [(ids[0], "text-only"), (ids[1], "TEXT")]


# --- taking a message back ----------------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["wait", "count 1000000"])
def test_a_message_that_is_taken_back_is_stopped_and_ends(client: RawClient, desk: Desk, message: str) -> None:
    (id,) = sent(client, message)
    if message == "wait":
        desk.wait_for("begun wait")
        frames: list[tuple[int, object]] = [(id, "")]
    else:
        frames = told(client, 1)
    client.send(client.conversation.cancel(id))
    while frames[-1] != (id, "END"):
        frames += told(client, 1)
    assert len(frames) < 500_000, "a service that never waits was not stopped"
    assert client.ask("next") == "next"
    desk.wait_for("cancelled wait" if message == "wait" else f"counted {message}")


def test_a_message_that_waits_and_is_taken_back_is_never_handled(
    client: RawClient, desk: Desk, server: Serving
) -> None:
    first, second, third = sent(client, "wait", "count 5", "echo")
    desk.wait_for("begun wait")
    client.send(client.conversation.cancel(second))
    assert told(client, 1) == [(second, "END")]
    server.call(desk.open())
    assert told(client, 2) == [(first, "wait"), (third, "echo")]
    assert "counted count 5" not in desk.seen


def test_to_take_back_what_is_answered_or_never_was_is_no_news(client: RawClient) -> None:
    (id,) = sent(client, "hello")
    assert told(client, 1) == [(id, "hello")]
    client.send(client.conversation.cancel(id) + client.conversation.cancel(4_000_000_000))
    assert client.ask("next") == "next"


# --- what the service says by itself ------------------------------------------------------------------------


def test_what_a_service_pushes_answers_nothing_and_comes_in_order(client: RawClient) -> None:
    (id,) = sent(client, "push 3")
    frames = told(client, 4)
    assert [frame for frame in frames if frame[0] == 0] == [(0, f"push {number}") for number in range(3)]
    assert (id, "END") in frames


def test_a_service_can_push_to_another_session(
    client: RawClient, server: Serving, desk: Desk, tokens: list[bytes]
) -> None:
    with server.session(tokens[1]) as other:
        assert other.ask("here") == "here"

        async def push() -> None:
            desk.sessions[-1].send(b"\x00bytes")

        server.call(push())
        assert told(other, 1) == [(0, b"\x00bytes")]
    assert client.ask("undisturbed") == "undisturbed"


def test_whoever_does_not_take_what_is_pushed_is_cut(client: RawClient, server: Serving, desk: Desk) -> None:
    assert client.ask("here") == "here"

    async def flood() -> None:
        for _ in range(200):
            desk.sessions[0].send(bytes(64 * KIB))
            await asyncio.sleep(0)

    server.call(flood())
    client.closed()
    assert "peer-too-slow" in server.log()


def test_whoever_is_pushed_too_much_in_one_step_is_cut_once(
    tmp_path: Path, desk: Desk, tokens: list[bytes]
) -> None:
    with (
        serving(tmp_path / "data", desk, plain=True) as server,
        server.session(tokens[0]) as client,
    ):
        assert client.ask("here") == "here"

        async def flood() -> None:
            for _ in range(200):
                desk.sessions[0].send(bytes(64 * KIB))

        server.call(flood())
        client.closed()
    assert server.log().count("peer-too-slow") == 1


def test_a_service_can_end_a_session_and_say_why(client: RawClient, server: Serving, tokens: list[bytes]) -> None:
    (id,) = sent(client, "goodbye it is six")
    assert told(client, 1) == [(id, "as you wish")]
    assert client.body() == ServerBye(reason="closed", text="goodbye it is six")
    client.closed()
    with server.client() as late:
        late.hello()
        refused = late.resume(tokens[0])
        assert isinstance(refused, Error)
        assert refused.code == "session-ended"


class Doorkeeper:
    """A service that ends sessions as soon as they are opened, at once or a little later."""

    def __init__(self, *, later: bool) -> None:
        self.opened = self.open_later if later else self.open_at_once

    def open_at_once(self, session: Session) -> None:
        session.close("not today")

    async def open_later(self, session: Session) -> None:
        await asyncio.sleep(0)
        session.close("not today")

    def received(self, message: Payload) -> Payload:
        return message


@pytest.mark.parametrize("later", [False, True])
def test_a_session_can_be_ended_as_soon_as_it_is_opened(tmp_path: Path, tokens: list[bytes], later: bool) -> None:
    with serving(tmp_path / "data", Doorkeeper(later=later), plain=True) as server:
        with server.session(tokens[0]) as client:
            assert client.body() == ServerBye(reason="closed", text="not today")
            client.closed()
        with server.client() as late:
            late.hello()
            refused = late.resume(tokens[0])
            assert isinstance(refused, Error)
            assert refused.code == "session-ended"


def test_a_session_that_is_ended_while_nobody_is_there_is_ended_for_who_comes_back(
    client: RawClient, server: Serving, desk: Desk, tokens: list[bytes]
) -> None:
    away(client, server, desk)

    async def close() -> None:
        desk.sessions[0].close("it is late")

    server.call(close())
    late, _ = back(server, tokens[0], 1)
    with late:
        assert late.body() == ServerBye(reason="closed", text="it is late")
    desk.wait_for("closed ann after 1")


def test_a_session_that_was_ended_is_so_too_if_nobody_comes_back_in_time(
    client: RawClient, server: Serving, desk: Desk, tokens: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    away(client, server, desk)
    monkeypatch.setattr(registry, "AWAY_SECONDS", 0)

    async def close() -> None:
        desk.sessions[0].close("it is late")

    server.call(close())
    while server.read(lambda running: running._host.tasks or list(running._host.channels)):
        threading.Event().wait(0.01)
    with server.client() as late:
        late.hello()
        refused = late.resume(tokens[0])
        assert isinstance(refused, Error)
        assert refused.code == "session-ended"


def away(client: RawClient, server: Serving, desk: Desk) -> None:
    """Break the link of a session that has been opened, and wait until the server knows."""
    assert client.ask("here") == "here"
    cut(client)
    while server.read(lambda running: connections(running) or running._host.tasks):
        threading.Event().wait(0.01)


def test_a_session_that_ends_while_it_is_taken_in_is_not_taken_in(tmp_path: Path, tokens: list[bytes]) -> None:
    seen: list[str] = []

    class Slow:
        async def opened(self, session: Session) -> None:
            seen.append("begun")
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("given up")

        def closed(self, session: Session) -> None:
            seen.append("closed")

        def received(self, message: Payload) -> Payload:
            return message

    with serving(tmp_path / "data", Slow(), plain=True) as server, server.session(tokens[0]):
        while not seen:
            threading.Event().wait(0.01)
        server.call(stop(server))
    assert seen == ["begun", "given up", "closed"]


async def stop(server: Serving) -> None:
    """End the dialogues of a server, as at the end of its drain."""
    await server.server._host.channels.stop()


def test_the_service_sees_each_session_come_and_go_once(tmp_path: Path, desk: Desk) -> None:
    tokens = seed(tmp_path / "data", sessions=2)
    with serving(tmp_path / "data", desk, plain=True) as server:
        for _ in range(3):
            client, _ = back(server, tokens[0], 0)
            assert client.ask("hello") == "hello"
            client.sock.close()
        client, _ = back(server, tokens[0], 3)
        assert client.ask("hello") == "hello"
        client.leave()
        desk.wait_for("closed ann after 4")
        with server.session(tokens[1]) as client:
            client.ask("hello")
    assert desk.seen == ["opened ann", "closed ann after 4", "opened ann", "closed ann after 1"]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("fault", [RuntimeError, SystemExit, asyncio.CancelledError])
def test_a_session_that_the_service_cannot_take_is_told_so(
    tmp_path: Path, tokens: list[bytes], fault: type[BaseException], later: bool
) -> None:
    class Unready(Desk):
        def opened(self, session: Session) -> Any:
            if later:
                return self.fail()
            raise fault("not ready")

        async def fail(self) -> None:
            await asyncio.sleep(0)
            raise fault("not ready")

    with serving(tmp_path / "data", Unready(), plain=True) as server, server.session(tokens[0]) as client:
        assert client.ended_with() == "service-failed"
        log = server.server.log_path
    assert "not ready" in log.read_text()


@pytest.mark.parametrize("fault", [RuntimeError, SystemExit, asyncio.CancelledError])
def test_the_server_stops_in_order_whatever_a_service_raises_at_the_end(
    tmp_path: Path, tokens: list[bytes], fault: type[BaseException]
) -> None:
    class Clumsy(Desk):
        async def closed(self, session: Session) -> None:
            await super().closed(session)
            raise fault("clumsy")

    clumsy = Clumsy()
    with serving(tmp_path / "data", clumsy, plain=True) as server:
        with server.session(tokens[0]) as first, server.session(tokens[1]) as second:
            first.leave()
            clumsy.wait_for("closed ann after 0")
            assert second.ask("hello") == "hello"
        log = server.server.log_path
    assert clumsy.seen[-1] == "closed ann after 1"
    assert log.read_text().count("clumsy") >= 2


def test_an_end_that_takes_too_long_is_cut_short_and_told_to_the_log(tmp_path: Path, tokens: list[bytes]) -> None:
    async def endless(message: str) -> AsyncIterator[str]:
        try:
            yield message * KIB
        finally:
            await asyncio.sleep(60)

    settings = {"message_limit": KIB, "service_seconds": 0.5}
    with (
        serving(tmp_path / "data", endless, plain=True, **settings) as server,
        server.session(tokens[0]) as client,
    ):
        first, _ = sent(client, "too long", "x")
        assert client.error().code == "service-failed"
        client.send(client.conversation.cancel(first))  # crosses the refusal: nothing more can be said to this id
        assert client.answer(client.conversation.next_id() - 1) == "x" * KIB
        log = server.server.log_path
    assert "service-too-slow" in log.read_text()


async def steps(turned: asyncio.Event) -> AsyncIterator[int]:
    """Go on, without ever waiting, until the event loop has had a turn."""
    asyncio.get_running_loop().call_soon(turned.set)
    for step in range(300):
        time.sleep(0.001)
        yield step
        if turned.is_set():
            return
    raise RuntimeError("nobody else had a turn")


async def in_answers(message: str) -> AsyncIterator[str]:
    async for step in steps(asyncio.Event()):
        yield str(step)
    yield "done"


async def in_pushes(message: str, session: Session) -> str:
    async for _ in steps(asyncio.Event()):
        await session.ready()
    return "done"


@pytest.mark.parametrize("service", [in_answers, in_pushes])
def test_a_service_that_never_waits_lets_others_have_their_turn(
    tmp_path: Path, tokens: list[bytes], service: Any
) -> None:
    with serving(tmp_path / "data", service, plain=True) as server, server.session(tokens[0]) as client:
        sent(client, "go", "again")
        for _ in range(2):
            while (answer := told(client, 1)[0][1]) != "done":
                assert answer != "service-failed"


def test_no_more_is_read_while_sixteen_messages_wait(client: RawClient, server: Serving, desk: Desk) -> None:
    messages = [f"wait {number}" for number in range(2 * QUEUED_MOST)]
    sent(client, *messages)
    desk.wait_for("begun wait 0")

    def waiting(running: Any) -> tuple[int, bool]:
        (connection,) = connections(running)
        assert connection._channel is not None
        return len(connection._channel._queue), connection._reading.paused

    assert server.read(waiting) == (QUEUED_MOST, True)
    server.call(desk.open())
    assert [payload for _, payload in told(client, len(messages))] == messages
    assert client.ask("next") == "next"


# --- a broken connection ------------------------------------------------------------------------------------


def test_what_was_sent_and_not_received_is_sent_again(server: Serving, tokens: list[bytes]) -> None:
    client, _ = back(server, tokens[0], None)
    ids = sent(client, "one", "two", "three")
    assert told(client, 3) == list(zip(ids, ("one", "two", "three"), strict=True))
    client.sock.close()
    client, welcome = back(server, tokens[0], 1)  # as if the second and third answer had been lost
    assert (welcome.received, welcome.missed) == (3, 0)
    assert told(client, 2) == [(ids[1], "two"), (ids[2], "three")]
    client.sock.close()


def test_what_is_acknowledged_is_kept_no_longer(server: Serving, client: RawClient) -> None:
    for number in range(5):
        assert client.ask(str(number)) == str(number)
    client.send(client.conversation.ack(5))
    assert client.ask("last") == "last"
    kept = server.read(lambda running: [each.replay.frames() for each in running._host.channels])
    assert [len(frames) for frames in kept] == [1]


@pytest.mark.parametrize("payload", [b"", b"1234567", b"123456789"])
def test_an_acknowledgement_of_another_length_ends_the_connection(client: RawClient, payload: bytes) -> None:
    from antiphon.wire.frames import encode

    client.send(encode(Kind.ACK, 0, payload, token=client.token))
    assert client.ended_with() in ("frame-invalid", "frame-too-large")


def test_a_handler_goes_on_without_a_connection_and_its_answer_waits(
    server: Serving, desk: Desk, tokens: list[bytes]
) -> None:
    client, _ = back(server, tokens[0], None)
    ids = sent(client, "wait", "next")
    desk.wait_for("begun wait")
    cut(client)
    server.call(desk.open())
    desk.wait_for("ended wait")
    client, welcome = back(server, tokens[0], 0)
    assert welcome.received == 2
    assert told(client, 2) == [(ids[0], "wait"), (ids[1], "next")]
    client.sock.close()
    assert desk.seen.count("begun wait") == 1


def test_a_connection_that_takes_a_session_over_waits_for_the_message_under_way(
    server: Serving, desk: Desk, tokens: list[bytes]
) -> None:
    first, _ = back(server, tokens[0], None)
    (id,) = sent(first, "wait")
    desk.wait_for("begun wait")
    second, _ = back(server, tokens[0], 0)
    assert first.body() == ServerBye(reason="replaced")
    first.closed()
    (later,) = sent(second, "next")
    server.call(desk.open())
    assert told(second, 2) == [(id, "wait"), (later, "next")]
    second.sock.close()


def test_of_more_than_is_kept_the_oldest_is_missed_and_counted(server: Serving, tokens: list[bytes]) -> None:
    client, _ = back(server, tokens[0], None)
    sent(client, "flood 10")
    assert len(told(client, 11)) == 11
    client.sock.close()
    client, welcome = back(server, tokens[0], 0)
    kept = REPLAY_LIMIT // (64 * KIB + 12)
    assert welcome.missed == 10 - kept
    assert [payload[0] for _, payload in told(client, kept)] == list(range(10 - kept, 10))  # type: ignore[index]
    client.sock.close()


def test_what_is_pushed_meanwhile_is_there_on_the_next_connection(
    server: Serving, desk: Desk, tokens: list[bytes]
) -> None:
    client, _ = back(server, tokens[0], None)
    assert client.ask("here") == "here"
    client.sock.close()

    async def push() -> None:
        while connections(server.server):
            await asyncio.sleep(0.01)
        desk.sessions[0].send("missed you")

    server.call(push())
    client, _ = back(server, tokens[0], 1)
    assert told(client, 1) == [(0, "missed you")]
    client.sock.close()


def test_a_client_that_does_not_count_begins_anew(server: Serving, tokens: list[bytes]) -> None:
    client, _ = back(server, tokens[0], None)
    assert client.ask("one") == "one"
    client.sock.close()
    client, welcome = back(server, tokens[0], None)
    assert (welcome.received, welcome.missed) == (None, 0)
    assert client.ask("two") == "two"
    client.sock.close()
    client, welcome = back(server, tokens[0], 1)
    assert welcome.received == 1
    client.sock.close()


def test_a_session_without_a_connection_is_closed_after_a_while(
    server: Serving, desk: Desk, tokens: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "AWAY_SECONDS", 0.1)
    client, _ = back(server, tokens[0], None)
    sent(client, "wait")
    desk.wait_for("begun wait")
    cut(client)
    desk.wait_for("closed ann after 1")
    assert "cancelled wait" in desk.seen
    client, welcome = back(server, tokens[0], 0)
    assert welcome.received is None
    client.sock.close()


def test_a_revoked_session_without_a_connection_is_closed_at_once(
    server: Serving, desk: Desk, tokens: list[bytes]
) -> None:
    client, _ = back(server, tokens[0], None)
    sent(client, "wait")
    desk.wait_for("begun wait")
    cut(client)

    async def revoke() -> None:
        while connections(server.server):
            await asyncio.sleep(0.01)
        (running,) = channels(server.server)
        await stored(server.server).sessions.revoke(running.session.fingerprint, "test", datetime.now(UTC))

    server.call(revoke())
    desk.wait_for("closed ann after 1")


@pytest.mark.parametrize("whole_account", [False, True], ids=["the session", "the account"])
def test_a_revocation_from_before_a_session_was_taken_up_does_not_close_it(
    server: Serving, desk: Desk, tokens: list[bytes], whole_account: bool
) -> None:
    client, _ = back(server, tokens[0], None)
    sent(client, "wait")
    desk.wait_for("begun wait")
    cut(client)

    async def read_late() -> None:
        while connections(server.server):
            await asyncio.sleep(0.01)
        (running,) = channels(server.server)
        entry = Revocation(
            id=running.session.position,
            fingerprint=None if whole_account else running.session.fingerprint,
            account_id=running.session.account_id if whole_account else None,
            owner=None,
            reason="test",
        )
        server.server._host.channels.revoked(entry)
        assert channels(server.server) == [running]

    server.call(read_late())
    server.call(desk.open())
    desk.wait_for("ended wait")


# --- over a restart -----------------------------------------------------------------------------------------


def test_a_server_that_stops_in_order_keeps_what_the_next_one_needs(tmp_path: Path, tokens: list[bytes]) -> None:
    first = Desk()
    with serving(tmp_path / "data", first, plain=True) as server:
        client, _ = back(server, tokens[0], None)
        ids = sent(client, "one", "two")
        assert len(told(client, 2)) == 2
        client.sock.close()
    assert first.seen[-1] == "closed ann after 2"
    with serving(tmp_path / "data", Desk(), plain=True) as server:
        client, welcome = back(server, tokens[0], 1)
        assert (welcome.received, welcome.missed) == (2, 0)
        assert told(client, 1) == [(ids[1], "two")]
        client.sock.close()


def test_what_is_kept_for_the_next_server_is_given_once(tmp_path: Path, tokens: list[bytes]) -> None:
    with serving(tmp_path / "data", plain=True) as server:
        client, _ = back(server, tokens[0], None)
        assert client.ask("one") == "one"
        client.sock.close()
    with serving(tmp_path / "data", plain=True) as second:
        client, welcome = back(second, tokens[0], 0)
        assert welcome.received == 1
        with serving(tmp_path / "data", plain=True) as third:
            other, welcome = back(third, tokens[0], 0)
            assert welcome.received is None
            other.sock.close()
        client.sock.close()


def test_a_message_that_is_cut_short_by_the_stop_is_reported_as_unknown_and_one_that_waits_is_handled_later(
    tmp_path: Path, tokens: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "CLOSED_SECONDS", 1.0)
    first, second = Desk(), Desk()
    with serving(tmp_path / "data", first, plain=True, drain_seconds=0.3) as server:
        client, _ = back(server, tokens[0], None)
        ids = sent(client, "wait", "next")
        first.wait_for("begun wait")
        cut(client)
    assert "cancelled wait" in first.seen
    with serving(tmp_path / "data", second, plain=True) as server:
        client, welcome = back(server, tokens[0], 0)
        assert welcome.received == 2
        assert sorted(told(client, 2)) == sorted([(ids[0], "outcome-unknown"), (ids[1], "next")])
        client.sock.close()


def test_a_server_that_has_lost_the_counts_says_so(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:
        client, welcome = back(server, token, 7)
        assert welcome.received is None
        assert client.ask("hello") == "hello"
        client.sock.close()
        client, welcome = back(server, token, 1)
        assert welcome.received == 1
        client.sock.close()


def test_a_session_whose_kept_bytes_cannot_be_had_is_held_by_nobody(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:
        store = stored(server.server)
        (record,) = server.call(store.sessions.all())
        server.call(store.snapshots.save({record.fingerprint: b"kept"}))
        take = store.snapshots.take

        async def fail(fingerprint: bytes) -> bytes | None:
            raise TryLater

        store.snapshots.take = fail  # a store that goes away right after the claim
        with server.client() as client:
            client.hello()
            refused = client.resume(token, 0)
            assert isinstance(refused, Error), refused
            assert refused.code == "try-later"
        assert not server.read(lambda running: sessions(running)._held)
        (record,) = server.call(store.sessions.all())
        assert record.owner is None
        store.snapshots.take = take
        client, _ = back(server, token, 0)
        assert client.ask("hello") == "hello"
        client.sock.close()


def test_kept_bytes_that_cannot_be_read_are_as_none(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:

        async def spoil() -> None:
            store = stored(server.server)
            (record,) = await store.sessions.all()
            await store.snapshots.save({record.fingerprint: b"\xc1spoilt"})

        server.call(spoil())
        client, welcome = back(server, token, 0)
        assert welcome.received is None
        assert client.ask("hello") == "hello"
        client.sock.close()


def test_a_person_who_signs_in_talks_to_the_service(tmp_path: Path, desk: Desk) -> None:
    seed(tmp_path / "data", sessions=0)
    with serving(tmp_path / "data", desk) as server, server.client() as client:
        client.sign_in("ann", PASSWORD)
        assert client.ask("hello") == "hello"
        (session,) = desk.sessions
        assert (session.name, session.address.partition(":")[0]) == ("ann", "127.0.0.1")
        assert session.account >= 1
        client.leave()


# --- counts that one of the two may not know ----------------------------------------------------------------


def test_a_client_that_may_not_have_heard_of_new_counts_is_told_of_them_again(
    server: Serving, tokens: list[bytes]
) -> None:
    for _ in range(2):
        client, welcome = back(server, tokens[1], 0)  # a session of a server that kept nothing of it
        assert welcome.received is None
        cut(client)
    client, welcome = back(server, tokens[1], 0)
    assert (welcome.received, client.ask("hello")) == (None, "hello")
    cut(client)
    client, welcome = back(server, tokens[1], 1)
    assert (welcome.received, welcome.missed, welcome.sent, welcome.open) == (1, 0, 1, [])
    client.leave()


def test_a_client_is_told_what_is_at_work_and_how_much_was_sent(
    server: Serving, client: RawClient, tokens: list[bytes], desk: Desk
) -> None:
    done, at_work, waiting = sent(client, "done", "wait", "more")
    assert told(client, 1) == [(done, "done")]
    desk.wait_for("begun wait")
    cut(client)
    client, welcome = back(server, tokens[0], 0)
    assert (welcome.received, welcome.sent, welcome.open) == (3, 1, [at_work, waiting])
    server.call(desk.open())
    assert told(client, 3) == [(done, "done"), (at_work, "wait"), (waiting, "more")]
    client.leave()


def test_what_a_stopped_server_kept_outlives_a_connection_that_breaks_while_it_is_taken_up(
    tmp_path: Path, desk: Desk
) -> None:
    (token,) = seed(tmp_path / "data")
    with serving(tmp_path / "data", desk, plain=True) as server:
        client = server.session(token)
        assert client.ask("hello") == "hello"
        client.sock.close()
    with serving(tmp_path / "data", desk, plain=True) as server:
        client = server.client()
        client.hello()
        client.send(client.conversation.resume(token, Resume(received=1))[1])
        cut(client)
        client, welcome = back(server, token, 1)
        assert (welcome.received, welcome.sent) == (1, 1)
        client.leave()


def test_of_a_dialogue_that_ends_while_it_is_taken_up_no_counts_are_known(
    server: Serving, tokens: list[bytes]
) -> None:
    client, welcome = back(server, tokens[0], None)

    async def take_up() -> int | None:
        registry = server.server._host.channels
        (session,) = sessions(server.server)._held.values()
        registry._channels.clear()
        return registry.admit(session, welcome, Resume(received=3))[1].received

    assert server.call(take_up()) is None
    client.sock.close()
