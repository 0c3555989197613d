"""Nothing of a program outlives its session or its server, whatever it does (issue 14, point 6)."""

import contextlib
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from antiphon.wire.frames import Frame
from support.attack import LONG, tell
from support.processes import ServerProcess
from support.raw import RawClient
from support.serving import in_session, seed

GONE_WITHIN = 40.0
"""Seconds from the end of a session to that of its program on a busy machine: grace twice, and killing."""
LIVES_SECONDS = 100
"""After which what has escaped ends by itself."""
CHAINS = 64 if LONG else 16
"""With 64 there is always a process between its birth and its fork; they leave little of the machine to others."""
RUNS = 6 if LONG else 1
EXEC_SECONDS = 6
"""The time limit of the program; where it ends before anybody has looked for the chains, nothing is shown."""
SOURCE = Path(__file__).parents[1] / "support" / "escaping.c"


@pytest.fixture(scope="module")
def escaping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the program; in Python it would be too slow to get away."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    program = tmp_path_factory.mktemp("program") / "escaping"
    subprocess.run([compiler, "-O1", "-o", program, SOURCE], check=True, timeout=60)
    return program


def living(mark: str) -> list[int]:
    """Return the processes whose command line holds `mark`, but for servers and launchers.

    One that is about to exit may be seen; those of a chain that goes on are seen at each look.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if mark.encode() in words and b"launch.py" not in b" ".join(words) and b"serve" not in words:
                    found.append(int(entry.name))
    return found


def seen(mark: str, looks: int = 50) -> bool:
    """Return whether anything of `mark` lives; a chain is between two processes at some looks."""
    return any(living(mark) for _ in range(looks))


def gone(mark: str, seconds: float = GONE_WITHIN) -> bool:
    """Return whether nothing of `mark` lives any more, in time."""
    ends = time.monotonic() + seconds
    while seen(mark):
        if time.monotonic() > ends:
            return False
    return True


def started(server: ServerProcess, tokens: list[bytes]) -> list[RawClient]:
    """Return connections behind each of which a program runs."""
    clients = [in_session(server.address, token) for token in tokens]
    for client in clients:
        event = client.next()
        assert isinstance(event, Frame), event
        assert event.payload == "ready"
    return clients


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere nothing is promised of those that leave their group"
)
@pytest.mark.parametrize("end", ["left", "time-over", "stopped", "killed"])
def test_a_program_that_forks_and_leaves_again_and_again_ends_with_its_session(
    escaping: Path, tmp_path: Path, end: str
) -> None:
    escaped, lived = [], []
    for run in range(RUNS):
        folder = tmp_path / str(run) / "data"
        folder.parent.mkdir()
        tokens = seed(folder, sessions=1)
        mark = f"mark-{secrets.token_hex(8)}"
        program = f"exec:{escaping} {mark} {LIVES_SECONDS} {CHAINS}"
        limit = ("--exec-seconds", str(EXEC_SECONDS)) if end == "time-over" else ()
        server = ServerProcess(folder, program, "--plain", "--exec-wait", "20", *limit)
        clients = []
        try:
            clients = started(server, tokens)
            assert seen(mark), "the chains do not run: the test shows nothing"
            if end == "left":
                for client in clients:
                    client.leave()
            elif end == "stopped":
                server.signal(signal.SIGTERM)
                for client in clients:
                    client.send(client.conversation.bye("drained"))
                server.wait()
            elif end == "killed":
                server.kill()
            began = time.monotonic()
            escaped.append(not gone(mark, GONE_WITHIN + EXEC_SECONDS * (end == "time-over")))
            lived.append(round(time.monotonic() - began, 1))
        finally:
            for client in clients:
                client.sock.close()
            server.kill()
    tell("escaped", runs=escaped, seconds=lived)
    assert not any(escaped)
