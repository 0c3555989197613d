"""Nothing of a program outlives its session or its server, whatever it does (issue 14, point 6)."""

import contextlib
import secrets
import signal
import sys
import time
from pathlib import Path

import pytest

from antiphon.wire.frames import Frame
from support import escaping
from support.attack import LONG, tell
from support.processes import ServerProcess
from support.raw import RawClient
from support.serving import in_session, seed

GONE_WITHIN = 6.0
"""Seconds from the end of a session to that of its program: grace twice, and what killing takes."""
LIVES_SECONDS = 20
"""After which what has escaped ends by itself."""
AT_ONCE = 4
RUNS = 6 if LONG else 1


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
@pytest.mark.parametrize("end", ["left", "broken-off", "stopped", "killed"])
def test_a_program_that_forks_and_leaves_again_and_again_ends_with_its_session(tmp_path: Path, end: str) -> None:
    escaped = []
    for run in range(RUNS):
        folder = tmp_path / str(run) / "data"
        folder.parent.mkdir()
        tokens = seed(folder, sessions=AT_ONCE)
        mark = f"mark-{secrets.token_hex(8)}"
        program = f"exec:{sys.executable} -IS {escaping.__file__} {mark} {LIVES_SECONDS}"
        server = ServerProcess(folder, program, "--plain", "--exec-wait", "20", "--session-unheld", "1")
        try:
            clients = started(server, tokens)
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
            for client in clients:
                client.sock.close()  # where nothing else has ended the session, it ends a second later
            escaped.append(not gone(mark, GONE_WITHIN + 3 * (end == "broken-off")))
        finally:
            server.kill()
    tell("escaped", runs=escaped)
    assert not any(escaped)
