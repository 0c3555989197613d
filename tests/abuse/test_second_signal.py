"""A server ends when it is told to, whatever a handler does to its loop (issue 14, point 8; promise 24)."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.server.signals import REPEAT_SECONDS, guard
from support.attack import tell
from support.processes import ServerProcess
from support.serving import in_session, seed

SIGNALS_MOST = 10
"""Signals after the first: on a busy machine it may be noticed so late that the next one seems to be the same."""
ENDS_WITHIN = 30.0
"""Promise 24."""
SERVICE = """
import time

BLOCKED = 60

def sleeping(message):
    print("blocked", flush=True)
    time.sleep(BLOCKED)

def spinning(message):
    print("blocked", flush=True)
    ends = time.monotonic() + BLOCKED
    while time.monotonic() < ends:
        pass

def computing(message):  # in C, without a look at signals and without letting go of the interpreter
    print("blocked", flush=True)
    sum(range(3_000_000_000))

async def sleeping_awaited(message):
    sleeping(message)
"""


COMPUTING = pytest.param(
    "computing", marks=pytest.mark.skipif(guard is None, reason="the part in C was not compiled")
)


@contextlib.contextmanager
def blocked(folder: Path, handler: str) -> Iterator[ServerProcess]:
    """Give a server whose loop is blocked by a handler, for a minute at the most."""
    (folder / "service.py").write_text(SERVICE)
    (token,) = seed(folder / "data")
    server = ServerProcess(folder / "data", f"{folder}/service.py:{handler}", "--plain", "--drain-seconds", "1")
    try:
        with in_session(server.address, token) as client:
            client.send(client.conversation.message("block")[1])
            assert server.process.stdout.readline() == "blocked\n"
            yield server
    finally:
        server.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("handler", ["sleeping", "spinning", COMPUTING, "sleeping_awaited"])
def test_a_second_signal_ends_a_server_whose_loop_is_blocked(tmp_path: Path, handler: str, number: int) -> None:
    with blocked(tmp_path, handler) as server:
        server.signal(number)
        time.sleep(REPEAT_SECONDS + 0.1)  # before that, a second one is the first one sent twice
        began, code = time.monotonic(), None
        for _ in range(SIGNALS_MOST):
            server.signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = server.wait(2 * REPEAT_SECONDS)
                break
        tell("ended", seconds=round(time.monotonic() - began, 2), code=code)
        assert code in (128 + number, -number)


@pytest.mark.long
@pytest.mark.parametrize("handler", ["sleeping", "spinning", COMPUTING])
def test_one_signal_ends_it_within_half_a_minute(tmp_path: Path, handler: str) -> None:
    with blocked(tmp_path, handler) as server:
        server.signal(signal.SIGTERM)
        assert server.wait(ENDS_WITHIN) != 0  # not in order: an answer is lost


def test_a_thread_of_the_service_does_not_keep_it_beyond_its_time(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("""
import asyncio, time
from antiphon.server import signals

signals.EXIT_SECONDS = 2.0  # in place of 27

class Service:
    def started(self, server):
        server.start_task(asyncio.to_thread(time.sleep, 60))

    def received(self, message: str) -> str:
        return message

service = Service()
""")
    with ServerProcess(tmp_path / "data", f"{tmp_path}/service.py:service", "--plain") as server:
        server.signal(signal.SIGTERM)
        assert server.wait(15) == 1
