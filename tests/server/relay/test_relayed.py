"""A session that another server relays: what it does is what it does at its home."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.wire.frames import Frame, encode
from antiphon.wire.kinds import KIB, Kind
from support.desk import sent, told
from support.moving import Two, back, close_clients, descriptors, refused, two_servers, until
from support.processes import ServerProcess
from support.raw import RawClient
from support.serving import seed

LARGE = 1024 * KIB
SESSIONS = 20


@pytest.fixture(scope="module", params=["tcp", "tls"])
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("relayed")
    tokens.extend(seed(folder / "data", sessions=SESSIONS))
    with two_servers(folder, *(["--plain"] if request.param == "tcp" else [])) as servers:
        yield servers
    tokens.clear()


tokens: list[bytes] = []
"""Sessions that no test has used."""


@pytest.fixture
def token(two: Two) -> bytes:
    return tokens.pop()


def relayed(two: Two, token: bytes) -> RawClient:
    """Return a connection to the other server, of a session that has had one message at its home."""
    client, _ = back(two.home, token)
    assert client.ask("state") == "1"
    client.cut()
    client, welcome = back(two.other, token, 1)
    assert (welcome.received, welcome.missed, welcome.sent) == (1, 0, 1)
    return client


def test_messages_streams_and_pushes_go_to_the_home_and_come_back_in_order(two: Two, token: bytes) -> None:
    with relayed(two, token) as client:
        assert client.ask("pid") == str(two.home.process.pid)
        ids = sent(client, "count 3", "push 2", "state")
        assert told(client, 8) == [
            *((ids[0], str(number)) for number in range(3)),
            (ids[0], "END"),
            *((0, f"push {number}") for number in range(2)),
            (ids[1], "END"),
            (ids[2], "5"),
        ]
        client.leave()


def test_a_cancel_reaches_the_handler_at_the_home(two: Two, token: bytes, tmp_path: Path) -> None:
    with relayed(two, token) as client:
        gate = tmp_path / "never"
        (id,) = sent(client, f"wait {gate}")
        two.wait_for(f"run wait {gate}")
        client.send(encode(Kind.CANCEL, id, b"", token=token))
        assert told(client, 1) == [(id, "END")]
        two.wait_for(f"cancelled {gate}")
        client.leave()


def test_large_messages_come_whole_both_ways(two: Two, token: bytes) -> None:
    with relayed(two, token) as client:
        messages = [bytes([number]) * LARGE for number in range(4)]
        for message in messages:
            client.post(client.conversation.message(message)[1])
        for message in messages:
            frame = client.next()
            assert isinstance(frame, Frame)
            assert frame.payload == message
        client.leave()


def test_a_handler_goes_on_while_its_session_moves_and_nothing_is_lost_or_doubled(
    two: Two, token: bytes, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    client, _ = back(two.home, token)
    ids = sent(client, f"wait {gate}", "count 2")
    two.wait_for(f"run wait {gate}")
    for server in (two.other, two.home, two.other):
        client.cut()
        client, welcome = back(server, token, 0)
        assert (welcome.received, welcome.missed, welcome.sent, welcome.open) == (2, 0, 0, ids)
    gate.touch()
    assert told(client, 4) == [(ids[0], "done"), (ids[1], "0"), (ids[1], "1"), (ids[1], "END")]
    assert two.ran(f"run wait {gate}") == 1
    client.leave()


def test_a_session_that_is_left_through_a_relay_is_over_everywhere(two: Two, token: bytes) -> None:
    closed = two.ran("closed ann")
    with relayed(two, token) as client:
        client.leave()
    two.wait_for("closed ann", closed + 1)
    assert {refused(server, token).code for server in (two.home, two.other)} == {"session-ended"}


def test_a_connection_that_is_replaced_elsewhere_is_told_so(two: Two, token: bytes) -> None:
    with relayed(two, token) as first, back(two.home, token, 1)[0] as second:
        frame = first.body()
        assert getattr(frame, "reason", "") == "replaced"
        first.closed()
        with back(two.other, token, 1)[0] as third:
            assert getattr(second.body(), "reason", "") == "replaced"
            second.closed()
            assert third.ask("state") == "2"
            third.leave()


@pytest.mark.parametrize("two", ["tcp"], indirect=True)  # TLS is closed both ways at once
def test_a_half_closed_connection_gets_its_answers_through_a_relay(two: Two, token: bytes) -> None:
    with relayed(two, token) as client:
        ids = sent(client, "one", "count 2", "two")
        client.half_close()
        assert told(client, 5) == [
            (ids[0], "one"), (ids[1], "0"), (ids[1], "1"), (ids[1], "END"), (ids[2], "two")
        ]  # fmt: skip
        client.closed()


def test_both_processes_have_the_descriptors_again_that_they_had(two: Two, token: bytes) -> None:
    close_clients()  # those of earlier tests
    for server, sockets in zip((two.home, two.other), two.sockets, strict=True):
        until(lambda server=server, sockets=sockets: descriptors(server)["socket"] == sockets)  # type: ignore[misc]
    before = [descriptors(server) for server in (two.home, two.other)]
    clients = [relayed(two, each) for each in (token, tokens.pop(), tokens.pop())]
    assert descriptors(two.other)["socket"] == before[1]["socket"] + 2 * len(clients)
    clients[0].cut()
    clients[1].leave()
    clients[2].close()
    for server, were in zip((two.home, two.other), before, strict=True):
        until(lambda server=server, were=were: descriptors(server) == were)  # type: ignore[misc]


def test_many_sessions_are_relayed_beside_each_other(two: Two, token: bytes) -> None:
    wrong: list[object] = []

    def talk(mark: str, own: bytes) -> None:
        with relayed(two, own) as client:
            wrong.extend(
                (mark, answer)
                for number in range(200)
                if (answer := client.ask(f"{mark} {number}")) != f"{mark} {number}"
            )

    threads = [threading.Thread(target=talk, args=(str(number), tokens.pop())) for number in range(2)]
    for thread in threads:
        thread.start()
    talk("here", token)
    for thread in threads:
        thread.join()
    assert not wrong


def test_batches_that_the_fast_path_answers_are_relayed(tmp_path: Path) -> None:
    (own,) = seed(tmp_path / "data")
    with ServerProcess(tmp_path / "data") as home, ServerProcess(tmp_path / "data") as other:
        with back(home, own)[0] as client:
            assert client.ask("one") == "one"
        with back(other, own, 1)[0] as client:
            for number in range(20):
                messages = [f"{number} {place}" * place for place in range(50)]
                ids = sent(client, *messages)
                assert told(client, 50) == list(zip(ids, messages, strict=True))
        with back(home, own, 1001)[0] as client:
            assert client.ask("last") == "last"
