"""Session channel: messages in order and taken back, pushes, and sessions that the service ends."""

import asyncio
from pathlib import Path

import pytest

from antiphon.server.session.queue import QUEUED_MOST
from antiphon.server.session.registry import AWAY_SECONDS
from antiphon.services import Session
from antiphon.wire.bodies import ChangePassword, Error, PasswordAnswer, ServerBye
from antiphon.wire.frames import Frame, Payload, encode_message
from antiphon.wire.kinds import KIB, MESSAGE_LIMIT, TOKEN_SIZE, Flag, Kind
from support.desk import Desk, sent, told
from support.joined import JoinedClient, JoinedServer, joined


@pytest.mark.parametrize("message", ["wait", "count 1000000"])
def test_a_message_that_is_taken_back_is_stopped_and_ends(
    client: JoinedClient, server: JoinedServer, desk: Desk, message: str
) -> None:
    (id,) = sent(client, message)
    if message == "wait":
        desk.wait_for(server, "begun wait")
        frames: list[tuple[int, object]] = [(id, "")]
    else:
        frames = told(client, 1)
    client.send(client.conversation.cancel(id))
    while frames[-1] != (id, "END"):
        frames += told(client, 1)
    assert len(frames) < 500_000, "a service that never waits was not stopped"
    assert client.ask("next") == "next"
    desk.wait_for(server, "cancelled wait" if message == "wait" else f"counted {message}")


def test_a_message_that_waits_and_is_taken_back_is_never_handled_and_ends_in_its_turn(
    client: JoinedClient, desk: Desk, server: JoinedServer
) -> None:
    first, second, third = sent(client, "wait", "count 5", "echo")
    desk.wait_for(server, "begun wait")
    client.send(client.conversation.cancel(second) * 2)
    server.let_pass(1)
    server.call(desk.open())
    assert told(client, 3) == [(first, "wait"), (second, "END"), (third, "echo")]
    assert "counted count 5" not in desk.seen
    assert client.ask("next") == "next"


def test_a_message_that_is_refused_gets_its_error_in_its_turn(
    client: JoinedClient, desk: Desk, server: JoinedServer
) -> None:
    (first,) = sent(client, "wait")
    second = client.message_with(bytes(TOKEN_SIZE), "a wrong token")
    third = client.conversation.next_id()
    client.send(encode_message(third, b"\xff", Flag.TEXT, client.token))
    (fourth,) = sent(client, "echo")
    desk.wait_for(server, "begun wait")
    server.call(desk.open())
    assert told(client, 4) == [
        (first, "wait"), (second, "token-refused"), (third, "not-text"), (fourth, "echo"),
    ]  # fmt: skip


def test_the_answer_to_a_password_does_not_wait_for_messages(
    client: JoinedClient, desk: Desk, server: JoinedServer
) -> None:
    first, second = sent(client, "wait", "next")
    desk.wait_for(server, "begun wait")
    step = ChangePassword(mechanism="SCRAM-SHA-256", data=b"n,,n=ann,r=" + b"c" * 24)
    client.send(client.conversation.request(Kind.PASSWORD, step)[1])
    assert isinstance(client.body(), PasswordAnswer)
    server.call(desk.open())
    assert told(client, 2) == [(first, "wait"), (second, "next")]


def test_what_waits_for_its_turn_is_open_to_the_next_connection(
    client: JoinedClient, desk: Desk, server: JoinedServer, tokens: list[bytes]
) -> None:
    first, second = sent(client, "wait", "count 5")
    third = client.message_with(bytes(TOKEN_SIZE), "a wrong token")
    client.send(client.conversation.cancel(second))
    desk.wait_for(server, "begun wait")
    client.cut()
    client, welcome = server.back(tokens[0], 0)
    assert (welcome.received, welcome.sent, welcome.open) == (3, 0, [first, second, third])
    server.call(desk.open())
    assert told(client, 3) == [(first, "wait"), (second, "END"), (third, "token-refused")]


def test_messages_that_wait_for_their_refusal_are_as_many_as_may_wait(
    client: JoinedClient, desk: Desk, server: JoinedServer
) -> None:
    (first,) = sent(client, "wait")
    desk.wait_for(server, "begun wait")
    bad = [client.conversation.next_id() for _ in range(2 * QUEUED_MOST)]
    client.send(b"".join(encode_message(id, b"\xff", Flag.TEXT, client.token) for id in bad))
    (channel,) = server.channels
    server.until(lambda: channel.full)
    sent(client, "not read")
    server.let_pass(1)
    assert client.untaken > 0
    server.call(desk.open())
    assert told(client, 1 + len(bad)) == [(first, "wait"), *((id, "not-text") for id in bad)]


def test_a_cancel_with_id_0_cancels_nothing(client: JoinedClient, desk: Desk, server: JoinedServer) -> None:
    waits, queued = (encode_message(0, f"wait {number}", token=client.token) for number in range(2))
    client.send(waits + queued)
    desk.wait_for(server, "begun wait 0")
    client.send(client.conversation.cancel(0))
    server.call(desk.open())
    desk.wait_for(server, "ended wait 1")
    assert client.ask("next") == "next"
    assert not any(what.startswith("cancelled") for what in desk.seen)


def test_of_two_open_messages_with_one_id_both_are_answered_and_the_first_is_taken_back(
    client: JoinedClient, desk: Desk, server: JoinedServer
) -> None:
    first, second, third = (encode_message(7, text, token=client.token) for text in ("wait", "wait 2", "echo"))
    client.send(first + second + third)
    desk.wait_for(server, "begun wait")
    client.send(client.conversation.cancel(7))
    desk.wait_for(server, "cancelled wait")
    server.call(desk.open())
    assert told(client, 3) == [(7, "END"), (7, "wait 2"), (7, "echo")]


def test_to_take_back_what_is_answered_or_never_was_is_no_news(client: JoinedClient) -> None:
    (id,) = sent(client, "hello")
    assert told(client, 1) == [(id, "hello")]
    client.send(client.conversation.cancel(id) + client.conversation.cancel(4_000_000_000))
    assert client.ask("next") == "next"


def test_no_more_is_read_while_sixteen_messages_wait(
    client: JoinedClient, server: JoinedServer, desk: Desk
) -> None:
    messages = [f"wait {number}" for number in range(2 * QUEUED_MOST)]
    sent(client, *messages)
    desk.wait_for(server, "begun wait 0")

    (channel,) = server.channels
    assert channel.full
    assert channel.queued == sum(len(message) for message in messages[1 : QUEUED_MOST + 1])
    sent(client, "not read")
    server.let_pass(1)
    assert client.untaken > 0
    server.call(desk.open())
    assert [payload for _, payload in told(client, len(messages) + 1)] == [*messages, "not read"]
    assert client.ask("next") == "next"


# --- what the service says by itself ---------------------------------------------------------------------------


def test_what_a_service_pushes_answers_nothing_and_comes_in_order(client: JoinedClient) -> None:
    (id,) = sent(client, "push 3")
    frames = told(client, 4)
    assert [frame for frame in frames if frame[0] == 0] == [(0, f"push {number}") for number in range(3)]
    assert (id, "END") in frames


def test_a_service_can_push_to_another_session(
    client: JoinedClient, server: JoinedServer, desk: Desk, tokens: list[bytes]
) -> None:
    with server.session(tokens[1]) as other:
        assert other.ask("here") == "here"

        async def push() -> None:
            desk.sessions[-1].send(b"\x00bytes")

        server.call(push())
        assert told(other, 1) == [(0, b"\x00bytes")]
    assert client.ask("undisturbed") == "undisturbed"


def test_whoever_does_not_take_what_is_pushed_is_cut(
    client: JoinedClient, server: JoinedServer, desk: Desk
) -> None:
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
        joined(tmp_path / "data", desk, plain=True) as server,
        server.session(tokens[0]) as client,
    ):
        assert client.ask("here") == "here"

        async def flood() -> None:
            for _ in range(200):
                desk.sessions[0].send(bytes(64 * KIB))

        server.call(flood())
        client.closed()
    assert server.log().count("peer-too-slow") == 1


def test_a_service_can_end_a_session_and_say_why(
    client: JoinedClient, server: JoinedServer, tokens: list[bytes]
) -> None:
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
    with joined(tmp_path / "data", Doorkeeper(later=later), plain=True) as server:
        with server.session(tokens[0]) as client:
            assert client.body() == ServerBye(reason="closed", text="not today")
            client.closed()
        with server.client() as late:
            late.hello()
            refused = late.resume(tokens[0])
            assert isinstance(refused, Error)
            assert refused.code == "session-ended"


def test_a_session_that_is_ended_while_nobody_is_there_is_ended_for_who_comes_back(
    client: JoinedClient, server: JoinedServer, desk: Desk, tokens: list[bytes]
) -> None:
    away(client, server, desk)

    async def close() -> None:
        desk.sessions[0].close("it is late")

    server.call(close())
    late, _ = server.back(tokens[0], 1)
    with late:
        assert late.body() == ServerBye(reason="closed", text="it is late")
    desk.wait_for(server, "closed ann after 1")


def test_a_session_that_was_ended_is_so_too_if_nobody_comes_back_in_time(
    client: JoinedClient, server: JoinedServer, desk: Desk, tokens: list[bytes]
) -> None:
    away(client, server, desk)

    async def close() -> None:
        desk.sessions[0].close("it is late")

    server.call(close())
    server.until(lambda: not (server.host.tasks or server.channels))
    assert server.now == pytest.approx(AWAY_SECONDS, abs=1)
    with server.client() as late:
        late.hello()
        refused = late.resume(tokens[0])
        assert isinstance(refused, Error)
        assert refused.code == "session-ended"


def away(client: JoinedClient, server: JoinedServer, desk: Desk) -> None:
    """Break the link of a session that has been opened, and wait until the server knows."""
    assert client.ask("here") == "here"
    client.cut()
    server.until(lambda: not (server.connections or server.host.tasks))


def test_more_than_the_limit_cannot_be_pushed(client: JoinedClient, server: JoinedServer, desk: Desk) -> None:
    assert client.ask("here") == "here"
    with pytest.raises(ValueError, match="--message-limit"):
        server.read(lambda _: desk.sessions[0].send(bytes(MESSAGE_LIMIT + 1)))
    assert client.ask("undisturbed") == "undisturbed"


def test_what_is_pushed_after_the_end_of_a_session_is_dropped(
    client: JoinedClient, server: JoinedServer, desk: Desk
) -> None:
    assert client.ask("here") == "here"
    client.leave()
    desk.wait_for(server, "closed ann after 1")
    server.read(lambda _: desk.sessions[0].send("too late"))
    assert server.channels == []


def test_a_session_is_opened_although_its_connection_is_gone(tmp_path: Path, tokens: list[bytes]) -> None:
    gate, seen = asyncio.Event(), list[str]()

    class Slow:
        async def opened(self, session: Session) -> None:
            await gate.wait()
            seen.append("opened")

        def received(self, message: str) -> str:
            return message

    with joined(tmp_path / "data", Slow()) as server:
        client, _ = server.back(tokens[0], 0)
        client.send(client.conversation.message("waits")[1])
        server.let_pass(1)
        client.cut()
        server.let_pass(1)
        server.read(lambda _: gate.set())
        server.until(lambda: seen)
        client, _ = server.back(tokens[0], 0)
        event = client.next()
        assert isinstance(event, Frame)
        assert event.payload == "waits"
