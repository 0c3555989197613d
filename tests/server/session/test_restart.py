"""Session channels over a restart: snapshots of a server that stops, and servers that have none."""

from pathlib import Path

from antiphon.errors import TryLater
from antiphon.store.contracts import Store
from antiphon.wire.bodies import Error
from antiphon.wire.kinds import TOKEN_SIZE
from support.desk import Desk, sent, told
from support.joined import JoinedServer, joined, virtual_loop
from support.serving import seed


def resumes(server: JoinedServer) -> dict[str, int]:
    """Return the sessions that clients have resumed, by what the server knew of their counts."""
    return {str(outcome): count for outcome, count in server.host.channels.resumes.items()}


def test_a_server_that_stops_in_order_keeps_what_the_next_one_needs(tmp_path: Path, tokens: list[bytes]) -> None:
    first = Desk()
    with joined(tmp_path / "data", first, plain=True) as server:
        client, _ = server.back(tokens[0], None)
        ids = sent(client, "one", "two")
        assert len(told(client, 2)) == 2
        client.close()
    assert first.seen[-1] == "closed ann after 2"
    with joined(tmp_path / "data", Desk(), plain=True) as server:
        client, welcome = server.back(tokens[0], 1)
        assert (welcome.received, welcome.missed) == (2, 0)
        assert told(client, 1) == [(ids[1], "two")]
        client.close()


def test_what_a_stopped_server_leaves_is_taken_up_by_one_and_others_relay_to_it(
    tmp_path: Path, tokens: list[bytes]
) -> None:
    with joined(tmp_path / "data", plain=True) as server:
        client, _ = server.back(tokens[0], None)
        assert client.ask("one") == "one"
        client.close()
    with (
        virtual_loop() as loop,
        loop.joined(tmp_path / "data", plain=True) as second,
        loop.joined(tmp_path / "data", plain=True) as third,
    ):
        client, welcome = second.back(tokens[0], 0)
        assert welcome.received == 1
        assert client.ask("two") == "one"  # sent again, since it was not acknowledged
        other, welcome = third.back(tokens[0], 1)
        assert welcome.received == 2
        assert (len(second.channels), len(third.channels)) == (1, 0)
        other.close()
        assert (resumes(second), resumes(third)) == ({"restored": 1}, {}), "a relay is an event"


def test_a_message_that_is_cut_short_by_the_stop_is_reported_as_unknown_and_one_that_waits_is_handled_later(
    tmp_path: Path, tokens: list[bytes]
) -> None:
    first, second = Desk(), Desk()
    with joined(tmp_path / "data", first, plain=True, drain_seconds=10) as server:
        client, _ = server.back(tokens[0], None)
        ids = sent(client, "wait", "next")
        first.wait_for(server, "begun wait")
        client.cut()
    assert "cancelled wait" in first.seen
    with joined(tmp_path / "data", second, plain=True) as server:
        client, welcome = server.back(tokens[0], 0)
        assert welcome.received == 2
        assert sorted(told(client, 2)) == sorted([(ids[0], "outcome-unknown"), (ids[1], "next")])
        client.close()


def test_what_waits_for_its_turn_outlives_the_stop(tmp_path: Path, tokens: list[bytes]) -> None:
    first, second = Desk(), Desk()
    with joined(tmp_path / "data", first, plain=True, drain_seconds=10) as server:
        client, _ = server.back(tokens[0], None)
        ids = sent(client, "wait", "one", "two")
        ids.append(client.message_with(bytes(TOKEN_SIZE), "a wrong token"))
        client.send(client.conversation.cancel(ids[2]))
        first.wait_for(server, "begun wait")
        client.cut()
    with joined(tmp_path / "data", second, plain=True) as server:
        client, welcome = server.back(tokens[0], 0)
        assert (welcome.received, welcome.open) == (4, ids[1:])
        assert told(client, 4) == list(zip(ids, ("outcome-unknown", "one", "END", "token-refused"), strict=True))
        assert second.sessions[0].state == 1, "only one message was handled"
        client.close()


def test_a_server_that_has_lost_the_counts_says_so(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", plain=True) as server:
        client, welcome = server.back(token, 7)
        assert welcome.received is None
        assert resumes(server) == {"unknown": 1}
        assert client.ask("hello") == "hello"
        client.close()
        client, welcome = server.back(token, 1)
        assert welcome.received == 1
        client.close()


async def leave_snapshot(store: Store, snapshot: bytes) -> None:
    """Leave a snapshot in the only session, as a server does that stops."""
    (record,) = await store.sessions.all()
    claim = await store.sessions.claim(record.fingerprint, record.claim, "stopped", "::1", record.seen_at)
    assert claim is not None
    assert await store.sessions.hand_on(record.fingerprint, "stopped", claim.number, snapshot, record.seen_at)


def test_a_snapshot_that_cannot_be_dropped_is_kept_and_its_session_held_by_nobody(
    tmp_path: Path, tokens: list[bytes]
) -> None:
    with joined(tmp_path / "data", plain=True) as server:
        client, _ = server.back(tokens[0], None)
        assert client.ask("one") == "one"
        client.close()
    with joined(tmp_path / "data", plain=True) as server:
        store = server.store
        drop = store.sessions.drop_snapshot

        async def fail(fingerprint: bytes, home: str, claim: int) -> bool:
            raise TryLater

        store.sessions.drop_snapshot = fail  # a store that goes away right after the claim
        with server.client() as client:
            client.hello()
            refused = client.resume(tokens[0], 0)
            assert isinstance(refused, Error), refused
            assert refused.code == "try-later"
        assert server.sessions.held == 0
        records = server.call(store.sessions.all())
        assert {record.owner for record in records} == {None}
        store.sessions.drop_snapshot = drop
        client, welcome = server.back(tokens[0], 1)
        assert (welcome.received, welcome.missed) == (1, 0)
        assert client.ask("hello") == "hello"
        client.close()


def test_kept_bytes_that_cannot_be_read_are_as_none(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    with joined(tmp_path / "data", plain=True) as server:
        server.call(leave_snapshot(server.store, b"\xc1spoilt"))
        client, welcome = server.back(token, 0)
        assert welcome.received is None
        assert client.ask("hello") == "hello"
        client.close()
