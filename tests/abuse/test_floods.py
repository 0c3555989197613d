"""Strangers who write without end: nobody else waits for what they send (issue 14, point 1)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.wire.bodies import Identify
from antiphon.wire.conversation import ClientConversation
from antiphon.wire.frames import encode
from antiphon.wire.kinds import KIB, Kind
from support.attack import (
    NEWCOMER_SECONDS,
    ROUNDS,
    SOURCES,
    WORST_WAIT,
    Flood,
    flooding,
    newcomer,
    tell,
    worst_wait,
)
from support.processes import ServerProcess
from support.raw import RawClient
from support.serving import ATTACKER, seed

OPTIONAL = 0x99
"""A kind that the server does not know and has to pass over."""
BEFORE_SIGN_IN_MOST = 16 * KIB
"""Bytes of frames that ask for nothing which a stranger may send at the most: more than any honest client does."""
PIECES = {
    "optional": encode(OPTIONAL, 0),
    "heartbeats": encode(Kind.HEARTBEAT, 0),
    "large-optional": encode(OPTIONAL, 0, bytes(4 * KIB)),
    "identify": ClientConversation().request(Kind.IDENTIFY, Identify(name="ann"))[1],
}
"""What strangers write again and again."""
WIDE = ("--entry-begin", "300", "--entry-most", "600")
"""Places for all attackers, so that nothing but their frames keeps anybody waiting."""


class Attacked:
    """A server with an honest client's session and a newcomer's account."""

    def __init__(self, folder: Path, *options: str) -> None:
        """Start it."""
        self.token = seed(folder)[0]
        seed(folder, "bea")
        self.home = folder.parent
        self.server = ServerProcess(folder, *options)


@pytest.fixture(scope="module", params=["tcp", "tls"])
def attacked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    folder = tmp_path_factory.mktemp("floods") / "data"
    attacked = Attacked(folder, *WIDE, *(["--plain"] if request.param == "tcp" else []))
    yield attacked
    attacked.server.kill()  # one that is stalled does not stop in order


@pytest.mark.parametrize(
    ("attacked", "piece", "connections", "sources"),
    [
        ("tcp", "optional", 1, 1),
        ("tcp", "optional", 40, 1),
        ("tcp", "optional", 250, 7),
        ("tcp", "heartbeats", 40, 1),
        ("tcp", "large-optional", 40, 1),
        ("tcp", "identify", 40, 1),
        ("tls", "optional", 250, 7),
        ("tls", "identify", 40, 1),
        pytest.param("tls", "optional", 1, 1, marks=pytest.mark.long),
        pytest.param("tls", "optional", 40, 1, marks=pytest.mark.long),
        pytest.param("tls", "heartbeats", 40, 1, marks=pytest.mark.long),
        pytest.param("tls", "large-optional", 40, 1, marks=pytest.mark.long),
    ],
    indirect=["attacked"],
)
def test_nobody_in_session_waits_for_strangers_who_write_without_end(
    attacked: Attacked, piece: str, connections: int, sources: int
) -> None:
    flood = Flood(
        address=attacked.server.address,
        pieces=[PIECES[piece]],
        connections=connections,
        sources=SOURCES[:sources],
        again=True,
    )
    assert worst_wait(attacked.server, attacked.token, flood, attacked.home) < WORST_WAIT


@pytest.mark.parametrize(("connections", "sources"), [(40, 1), (250, 7)])
def test_a_newcomer_is_in_soon_while_strangers_write_without_end(
    attacked: Attacked, connections: int, sources: int
) -> None:
    flood = Flood(
        address=attacked.server.address,
        pieces=[PIECES["optional"]],
        connections=connections,
        sources=SOURCES[:sources],
        again=True,
    )
    times = []
    for _ in range(ROUNDS):
        with flooding(flood, attacked.home):
            times.append(newcomer(attacked.server, "bea"))
        if times[-1] < NEWCOMER_SECONDS:
            break
    tell("newcomer", seconds=times)
    assert min(times) < NEWCOMER_SECONDS


@pytest.mark.parametrize("piece", ["optional", "heartbeats"])
def test_what_asks_for_nothing_ends_the_connection_where_too_much_of_it_comes_before_sign_in(
    attacked: Attacked, piece: str
) -> None:
    with RawClient(attacked.server.address, source=ATTACKER) as client:
        client.hello()
        client.post(PIECES[piece] * (2 * BEFORE_SIGN_IN_MOST // len(PIECES[piece])))
        assert client.ended_with() == "frame-unexpected"


@pytest.mark.parametrize("piece", ["optional", "heartbeats"])
def test_a_few_of_them_before_sign_in_are_passed_over(attacked: Attacked, piece: str) -> None:
    with RawClient(attacked.server.address, source=ATTACKER) as client:
        client.hello()
        client.send(PIECES[piece] * 16)
        client.request(Kind.IDENTIFY, Identify(name="ann"))
        client.leave()
