"""What nobody acknowledges takes bounded memory: of a session, a source and the server (issue 14, point 5)."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.wire.bodies import Identify, Welcome
from antiphon.wire.frames import encode_message
from antiphon.wire.kinds import KIB, Kind
from support.attack import LONG, Flood, Paced, flooding, resident, resuming, tell
from support.processes import ServerProcess
from support.raw import RawClient
from support.serving import ATTACKER, seed

MIB = 1024 * KIB
PROVED_MOST = 400 * KIB
"""Bytes that a session of an account may take with the 256 KiB of its replay buffer, Python's objects included."""
UNPROVED_MOST = 128 * KIB
"""The same of a session that nobody has proved a password for."""
SERVER_MOST = 64 * MIB
"""Memory that all sessions of one source may take together for what nobody acknowledges."""
FILLING = 30_000
"""Messages that are answered with more than a replay buffer holds, 12 bytes each."""
FILLING_UNPROVED = 20_000
"""The same for a session that nobody has proved a password for; without its own limit it would be too much."""
LOOKS = 300
"""Looks at the memory of a server, 0.3 s apart; if it takes too much, it does so at each of them."""
GIVE_BACK = {"MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_THRESHOLD_": "32768", "MALLOC_TOP_PAD_": "0"}
"""Variables of glibc: freed memory goes back to the system at once, so that the process shows what is kept."""
UNPROVED = 300 if LONG else 12
SERVICE = """
def silent(message: str):
    return "1" if message == "1" else None
"""


@pytest.fixture
def service(tmp_path: Path) -> str:
    (tmp_path / "service.py").write_text(SERVICE)
    return f"{tmp_path}/service.py:silent"


def filling(server: ServerProcess, tokens: list[bytes], times: int = FILLING) -> Flood:
    """Return the flood that fills what is kept of the sessions of `tokens`."""
    return Flood(
        address=server.address,
        pieces=[encode_message(1, "x", token=token) for token in tokens],
        prologues=[resuming(token) for token in tokens],
        connections=len(tokens),
        sources=[ATTACKER],
        times=times,
        seconds=12.0,
        holds=True,
    )


@contextlib.contextmanager
def unproved(server: ServerProcess, count: int, name: str) -> Iterator[list[bytes]]:
    """Give the tokens of sessions that were opened under a name alone."""
    tokens = []
    for _ in range(count):
        with RawClient(server.address, source=ATTACKER) as client:
            client.hello()
            welcome = client.request(Kind.IDENTIFY, Identify(name=name))
            assert isinstance(welcome, Welcome), welcome
            tokens.append(welcome.token or b"")
    yield tokens


def grown(server: ServerProcess, flood: Flood, home: Path, most: int = 0) -> int:
    """Return by how many bytes the server has grown while a flood holds what it has filled.

    It is the least of several looks, or the first below `most`: what is read and not yet handled is bounded too,
    and is not kept.
    """
    before = resident(server.process.pid)
    with flooding(flood, home) as running:
        running.held()
        looks = [resident(server.process.pid) - before]
        while min(looks) >= most and len(looks) < LOOKS:
            time.sleep(0.3)
            looks.append(resident(server.process.pid) - before)
        return min(looks)


def test_ends_that_are_not_acknowledged_take_what_the_replay_buffer_may(tmp_path: Path, service: str) -> None:
    tokens = seed(tmp_path / "data", sessions=6)
    warming = seed(tmp_path / "data", "bea")
    with ServerProcess(tmp_path / "data", service, "--plain", **GIVE_BACK) as server:
        grown(server, filling(server, warming), tmp_path, SERVER_MOST)  # what it takes itself
        each = grown(server, filling(server, tokens), tmp_path, PROVED_MOST * len(tokens)) / len(tokens)
        tell("memory", a_session=round(each))
        assert each < PROVED_MOST


def test_sessions_that_nobody_has_proved_take_far_less(tmp_path: Path, service: str) -> None:
    with (
        ServerProcess(tmp_path / "data", service, "--plain", "--access", "identify", **GIVE_BACK) as server,
        unproved(server, 1, "warm") as warming,
        unproved(server, UNPROVED, "eve") as tokens,
    ):
        most = min(UNPROVED_MOST * len(tokens), SERVER_MOST)
        grown(server, filling(server, warming, FILLING_UNPROVED), tmp_path, SERVER_MOST)
        taken = grown(server, filling(server, tokens, FILLING_UNPROVED), tmp_path, most)
        tell("memory", sessions=len(tokens), a_session=round(taken / len(tokens)), all=taken)
        assert taken / len(tokens) < UNPROVED_MOST
        assert taken < SERVER_MOST


def test_who_acknowledges_loses_nothing_meanwhile(tmp_path: Path, service: str) -> None:
    """The bounds are for those that they concern: an honest client is answered all the while, with its answers."""
    seed(tmp_path / "data")
    with (
        ServerProcess(tmp_path / "data", service, "--plain", "--access", "identify") as server,
        unproved(server, UNPROVED // 3, "eve") as tokens,
    ):
        with RawClient(server.address) as client:
            client.hello()
            welcome = client.request(Kind.IDENTIFY, Identify(name="ann"))
            assert isinstance(welcome, Welcome), welcome
        flood = filling(server, tokens, FILLING_UNPROVED)
        with Paced(server, welcome.token or b""), flooding(flood, tmp_path) as running:
            running.held()
