"""A broken connection: what the session channel keeps, sends again and says of its counts."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from antiphon.server.session.registry import AWAY_SECONDS
from antiphon.server.session.replay import REPLAY_LIMIT
from antiphon.store.contracts import Revocation
from antiphon.wire.bodies import Resume, ServerBye
from antiphon.wire.frames import encode
from antiphon.wire.kinds import KIB, Kind
from support.desk import Desk, sent, told
from support.joined import JoinedClient, JoinedServer, joined
from support.serving import seed


def test_what_was_sent_and_not_received_is_sent_again(server: JoinedServer, tokens: list[bytes]) -> None:
    client, _ = server.back(tokens[0], None)
    ids = sent(client, "one", "two", "three")
    assert told(client, 3) == list(zip(ids, ("one", "two", "three"), strict=True))
    client.close()
    client, welcome = server.back(tokens[0], 1)  # as if the second and third answer had been lost
    assert (welcome.received, welcome.missed) == (3, 0)
    assert told(client, 2) == [(ids[1], "two"), (ids[2], "three")]
    client.close()


def test_what_is_acknowledged_is_kept_no_longer(server: JoinedServer, client: JoinedClient) -> None:
    for number in range(5):
        assert client.ask(str(number)) == str(number)
    client.send(client.conversation.ack(5))
    assert client.ask("last") == "last"
    kept = server.read(lambda running: [each.replay.frames() for each in running.channels])
    assert [len(frames) for frames in kept] == [1]


@pytest.mark.parametrize("payload", [b"", b"1234567", b"123456789"])
def test_an_acknowledgement_of_another_length_ends_the_connection(client: JoinedClient, payload: bytes) -> None:
    client.send(encode(Kind.ACK, 0, payload, token=client.token))
    assert client.ended_with() in ("frame-invalid", "frame-too-large")


def test_a_handler_goes_on_without_a_connection_and_its_answer_waits(
    server: JoinedServer, desk: Desk, tokens: list[bytes]
) -> None:
    client, _ = server.back(tokens[0], None)
    ids = sent(client, "wait", "next")
    desk.wait_for(server, "begun wait")
    client.cut()
    server.call(desk.open())
    desk.wait_for(server, "ended wait")
    client, welcome = server.back(tokens[0], 0)
    assert welcome.received == 2
    assert told(client, 2) == [(ids[0], "wait"), (ids[1], "next")]
    client.close()
    assert desk.seen.count("begun wait") == 1


def test_a_connection_that_takes_a_session_over_waits_for_the_message_under_way(
    server: JoinedServer, desk: Desk, tokens: list[bytes]
) -> None:
    first, _ = server.back(tokens[0], None)
    (id,) = sent(first, "wait")
    desk.wait_for(server, "begun wait")
    second, _ = server.back(tokens[0], 0)
    assert first.body() == ServerBye(reason="replaced")
    first.closed()
    (later,) = sent(second, "next")
    server.call(desk.open())
    assert told(second, 2) == [(id, "wait"), (later, "next")]
    second.close()


def test_of_more_than_is_kept_the_oldest_is_missed_and_counted(server: JoinedServer, tokens: list[bytes]) -> None:
    client, _ = server.back(tokens[0], None)
    sent(client, "flood 10")
    assert len(told(client, 11)) == 11
    client.close()
    client, welcome = server.back(tokens[0], 0)
    kept = REPLAY_LIMIT // (64 * KIB + 12)
    assert welcome.missed == 10 - kept
    assert [payload[0] for _, payload in told(client, kept)] == list(range(10 - kept, 10))  # type: ignore[index]
    client.close()


def test_what_is_pushed_meanwhile_is_there_on_the_next_connection(
    server: JoinedServer, desk: Desk, tokens: list[bytes]
) -> None:
    client, _ = server.back(tokens[0], None)
    assert client.ask("here") == "here"
    client.close()

    async def push() -> None:
        while server.connections:
            await asyncio.sleep(0.01)
        desk.sessions[0].send("missed you")

    server.call(push())
    client, _ = server.back(tokens[0], 1)
    assert told(client, 1) == [(0, "missed you")]
    client.close()


def test_a_client_that_does_not_count_begins_anew(server: JoinedServer, tokens: list[bytes]) -> None:
    client, _ = server.back(tokens[0], None)
    assert client.ask("one") == "one"
    client.close()
    client, welcome = server.back(tokens[0], None)
    assert (welcome.received, welcome.missed) == (None, 0)
    assert client.ask("two") == "two"
    client.close()
    client, welcome = server.back(tokens[0], 1)
    assert welcome.received == 1
    client.close()


def test_a_session_without_a_connection_is_closed_after_a_while(
    server: JoinedServer, desk: Desk, tokens: list[bytes]
) -> None:
    client, _ = server.back(tokens[0], None)
    sent(client, "wait")
    desk.wait_for(server, "begun wait")
    client.cut()
    server.let_pass(AWAY_SECONDS - 1)
    assert "cancelled wait" not in desk.seen
    desk.wait_for(server, "closed ann after 1")
    assert server.now == pytest.approx(AWAY_SECONDS, abs=1)
    assert "cancelled wait" in desk.seen
    client, welcome = server.back(tokens[0], 0)
    assert (welcome.received, welcome.missed) == (1, 0)  # from the snapshot
    assert client.error().code == "service-too-slow"  # which comes after 60 s as well
    client.close()


def test_a_revoked_session_without_a_connection_is_closed_at_once(
    server: JoinedServer, desk: Desk, tokens: list[bytes]
) -> None:
    client, _ = server.back(tokens[0], None)
    sent(client, "wait")
    desk.wait_for(server, "begun wait")
    client.cut()

    async def revoke() -> None:
        while server.connections:
            await asyncio.sleep(0.01)
        (running,) = server.channels
        await server.store.sessions.revoke(running.session.fingerprint, "test", datetime.now(UTC))

    server.call(revoke())
    desk.wait_for(server, "closed ann after 1")


@pytest.mark.parametrize("whole_account", [False, True], ids=["the session", "the account"])
def test_a_revocation_from_before_a_session_was_taken_up_does_not_close_it(
    server: JoinedServer, desk: Desk, tokens: list[bytes], whole_account: bool
) -> None:
    client, _ = server.back(tokens[0], None)
    sent(client, "wait")
    desk.wait_for(server, "begun wait")
    client.cut()

    async def read_late() -> None:
        while server.connections:
            await asyncio.sleep(0.01)
        (running,) = server.channels
        entry = Revocation(
            id=running.session.position,
            fingerprint=None if whole_account else running.session.fingerprint,
            account_id=running.session.account_id if whole_account else None,
            owner=None,
            reason="test",
        )
        server.host.channels.revoked(entry)
        assert server.channels == [running]

    server.call(read_late())
    server.call(desk.open())
    desk.wait_for(server, "ended wait")


# --- counts that one of the two may not know -------------------------------------------------------------------


def test_a_client_that_may_not_have_heard_of_new_counts_is_told_of_them_again(
    server: JoinedServer, tokens: list[bytes]
) -> None:
    for _ in range(2):
        client, welcome = server.back(tokens[1], 0)  # a session of a server that kept nothing of it
        assert welcome.received is None
        client.cut()
    client, welcome = server.back(tokens[1], 0)
    assert (welcome.received, client.ask("hello")) == (None, "hello")
    client.cut()
    client, welcome = server.back(tokens[1], 1)
    assert (welcome.received, welcome.missed, welcome.sent, welcome.open) == (1, 0, 1, [])
    client.leave()


def test_a_client_is_told_what_is_at_work_and_how_much_was_sent(
    server: JoinedServer, client: JoinedClient, tokens: list[bytes], desk: Desk
) -> None:
    done, at_work, waiting = sent(client, "done", "wait", "more")
    assert told(client, 1) == [(done, "done")]
    desk.wait_for(server, "begun wait")
    client.cut()
    client, welcome = server.back(tokens[0], 0)
    assert (welcome.received, welcome.sent, welcome.open) == (3, 1, [at_work, waiting])
    server.call(desk.open())
    assert told(client, 3) == [(done, "done"), (at_work, "wait"), (waiting, "more")]
    client.leave()


def test_what_a_stopped_server_kept_outlives_a_connection_that_breaks_while_it_is_taken_up(
    tmp_path: Path, desk: Desk
) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", desk, plain=True) as server:
        client = server.session(token)
        assert client.ask("hello") == "hello"
        client.close()
    with joined(tmp_path / "data", desk, plain=True) as server:
        client = server.client()
        client.hello()
        client.send(client.conversation.resume(token, Resume(received=1))[1])
        client.cut()
        client, welcome = server.back(token, 1)
        assert (welcome.received, welcome.sent) == (1, 1)
        client.leave()


def test_of_a_dialogue_that_ends_while_it_is_taken_up_no_counts_are_known(
    server: JoinedServer, tokens: list[bytes]
) -> None:
    client, welcome = server.back(tokens[0], None)

    async def take_up() -> int | None:
        registry = server.host.channels
        (channel,) = registry
        registry.finish(channel)
        return registry.admit(channel.session, welcome, Resume(received=3))[1].received

    assert server.call(take_up()) is None
    client.close()
