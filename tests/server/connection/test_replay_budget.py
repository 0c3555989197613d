"""What the bounds of all replay buffers do to connections."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.server.session import registry
from antiphon.server.session.budget import ReplayBudget
from antiphon.wire.frames import Frame
from antiphon.wire.kinds import KIB
from support.inside import channels
from support.raw import RawClient
from support.serving import ATTACKER, Serving, in_session, seed, serving
from support.wire_client import Closed

LIMIT = 64 * KIB


@pytest.fixture
def tokens(tmp_path: Path) -> list[bytes]:
    return [token for name in ("ann", "eve") for token in seed(tmp_path / "data", name)]


@pytest.fixture
def server(tmp_path: Path, tokens: list[bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    monkeypatch.setattr(registry, "ReplayBudget", lambda: ReplayBudget(LIMIT, 4 * LIMIT))
    with serving(tmp_path / "data") as running:
        yield running


def read_all(client: RawClient) -> None:
    while True:
        client.next()


def test_over_the_bound_of_a_source_the_worst_is_cut_and_others_are_answered(
    server: Serving, tokens: list[bytes]
) -> None:
    own, attackers = tokens
    with in_session(server.address, own) as honest, in_session(server.address, attackers, ATTACKER) as eve:
        for number in range(12):  # nothing is acknowledged
            eve.send(eve.conversation.message(f"{number}" * 8 * KIB)[1])
        with pytest.raises((Closed, OSError)):
            read_all(eve)
        _, data = honest.conversation.message("still here")
        honest.send(data)
        answer = honest.next()
        assert isinstance(answer, Frame)
        assert answer.payload == "still here"
    (cut,) = server.records("cut")
    assert 'name="eve"' in cut
    assert "peer-too-slow" in cut
    assert server.read(
        lambda server: [each.replay.frames() for each in channels(server) if each.host == ATTACKER]
    ) in (
        [[]],
        [],
    )


def test_an_acknowledgement_in_time_saves_the_connection(server: Serving, tokens: list[bytes]) -> None:
    with in_session(server.address, tokens[0]) as client:
        for number in range(40):
            _, data = client.conversation.message("x" * 8 * KIB)
            client.send(data)
            assert isinstance(client.next(), Frame)
            if number % 4 == 3:
                client.send(client.conversation.ack(number + 1))
    assert server.records("cut") == []
