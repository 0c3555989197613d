"""Messages that a service fails on, or that are refused, pipelined without end (issue 14, point 2).

Nobody else waits for them, and the log holds what happened without growing by each.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from antiphon.wire.frames import HEADER, encode, encode_message
from antiphon.wire.kinds import KIB, Flag, Kind
from support.attack import WORST_WAIT, Flood, resuming, tell, worst_wait
from support.processes import ServerProcess
from support.serving import in_session, seed

LOG_RATE = 100 * KIB
"""Bytes a second that the log may grow by (issue 14)."""
SESSIONS = 10
"""As many as one account may have."""
SERVICES = """
import asyncio

def number(message: str):
    return str(int(message) + 1)

async def awaited_number(message: str):
    return str(int(message) + 1)

async def later_number(message: str):
    await asyncio.sleep(0)
    return str(int(message) + 1)

async def stream(message: str):
    if message.isdigit():
        yield str(int(message) + 1)
        return
    for count in range(200):
        yield "x"
    raise ValueError(message)

def too_large(message: str):
    return "x" * 3_000_000 if message == "x" else message
"""


class Piece(NamedTuple):
    """What is sent again and again to a service."""

    service: str
    kind: Kind = Kind.MESSAGE
    payload: bytes = b"x"
    flags: int = int(Flag.TEXT)
    must_change: bool = False
    id: int = 1

    def frame(self, token: bytes) -> bytes:
        """Return it for the session of `token`."""
        if self.kind == Kind.MESSAGE:
            return (
                HEADER.pack(8 + 16 + len(self.payload), self.kind, self.flags, 0, self.id) + token + self.payload
            )
        return encode(self.kind, self.id, self.payload, token=b"" if self.kind == Kind.HEARTBEAT else token)


PIECES = {
    "raises": Piece("number"),
    "raises-awaited": Piece("awaited_number"),
    "raises-later": Piece("later_number"),
    "raises-in-a-stream": Piece("stream"),
    "not-text": Piece("echo", payload=b"\xff"),
    "text-only": Piece("number", flags=0),
    "too-large-answers": Piece("too_large"),
    "password-due": Piece("echo", must_change=True),
    "cancels": Piece("number", kind=Kind.CANCEL, payload=b"", flags=0),
    "heartbeats": Piece("number", kind=Kind.HEARTBEAT, payload=b"", flags=0, id=0),
    "unanswered": Piece("number", id=0),
}


class Attacked(NamedTuple):
    """A server with sessions of an honest client and of an attacker."""

    server: ServerProcess
    honest: bytes
    attackers: list[bytes]

    def flood(self, piece: Piece) -> Flood:
        """Return the flood of all attackers' sessions that send `piece`."""
        return Flood(
            address=self.server.address,
            pieces=[piece.frame(token) for token in self.attackers],
            prologues=[resuming(token) for token in self.attackers],
            connections=len(self.attackers),
        )


@pytest.fixture(params=PIECES)
def piece(request: pytest.FixtureRequest) -> Piece:
    return PIECES[request.param]


@pytest.fixture
def attacked(piece: Piece, tmp_path: Path) -> Iterator[Attacked]:
    (tmp_path / "services.py").write_text(SERVICES)
    honest = seed(tmp_path / "data")[0]
    attackers = seed(tmp_path / "data", "eve", SESSIONS, must_change=piece.must_change)
    service = piece.service if piece.service == "echo" else f"{tmp_path}/services.py:{piece.service}"
    server = ServerProcess(tmp_path / "data", service, "--plain")
    yield Attacked(server, honest, attackers)
    server.kill()  # one that is stalled does not stop in order


def test_nobody_waits_for_messages_that_fail_without_end_and_the_log_stays_small(
    attacked: Attacked, piece: Piece, tmp_path: Path
) -> None:
    log = Path(attacked.server.start["log"])
    before, began = log.stat().st_size, time.monotonic()
    worst = worst_wait(attacked.server, attacked.honest, attacked.flood(piece), tmp_path)
    rate = (log.stat().st_size - before) / (time.monotonic() - began)
    tell("log", bytes_a_second=round(rate))
    assert worst < WORST_WAIT
    assert rate < LOG_RATE


@pytest.mark.parametrize(
    ("piece", "event"), [(PIECES["raises"], "service-failed"), (PIECES["not-text"], "message-refused")]
)
def test_equal_faults_of_a_session_are_told_once_and_then_counted(
    attacked: Attacked, piece: Piece, event: str
) -> None:
    times = 1000
    token = attacked.attackers[0]
    with in_session(attacked.server.address, token) as client:
        client.post(piece.frame(token) * times)
        for _ in range(times):
            assert client.error().code in ("service-failed", "not-text")
        client.leave()
    assert attacked.server.stop() == 0
    records = [line for line in attacked.server.log.splitlines() if f" {event} " in line]
    repeated = [int(count) for line in records for count in re.findall(r" repeated=(\d+)", line)]
    told = len(records) - len(repeated) + sum(repeated)
    assert (told, len(records) <= 10) == (times, True), records[:20]


def test_the_traceback_of_the_first_of_equal_faults_is_told(tmp_path: Path) -> None:
    """Rendered off the loop it is still whole."""
    (tmp_path / "services.py").write_text(SERVICES)
    (token,) = seed(tmp_path / "data")
    with ServerProcess(tmp_path / "data", f"{tmp_path}/services.py:number", "--plain") as server:
        with in_session(server.address, token) as client:
            client.send(encode_message(1, "x", token=token) * 3)
            for _ in range(3):
                assert client.error().code == "service-failed"
        server.logged(r" service-failed .*invalid literal for int")
