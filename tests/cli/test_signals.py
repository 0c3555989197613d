"""SIGTERM to a client, also as process 1 of a container: a goodbye, and the summary of a measurement."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.processes import ANTIPHON, PASSWORD, PipedProcess, ServerProcess, clean_environment
from support.serving import seed


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    seed(tmp_path / "data")
    with ServerProcess(tmp_path / "data", "--plain") as server:
        yield server


def environment(folder: Path) -> dict[str, str]:
    return clean_environment(folder, ANTIPHON_PASSWORD=PASSWORD)


def test_connect_says_goodbye_at_sigterm(server: ServerProcess, tmp_path: Path) -> None:
    with PipedProcess(
        ANTIPHON, "connect", str(server.address), "--name", "ann", environment=environment(tmp_path)
    ) as client:
        client.stdin.write(b"hello\n")
        assert client.stdout.readline() == "hello\n"
        client.send_signal(signal.SIGTERM)
        assert client.wait(60) == 143
        assert "Traceback" not in client.stderr.read()
    server.logged(r" left .*name=\"ann\"")


def test_ping_shows_its_summary_and_says_goodbye_at_sigterm(server: ServerProcess, tmp_path: Path) -> None:
    command = (ANTIPHON, "ping", str(server.address), "--name", "ann", "--interval", "0.05")
    with PipedProcess(*command, environment=environment(tmp_path)) as client:
        while "number 3" not in client.stdout.readline():
            pass
        client.send_signal(signal.SIGTERM)
        told, _ = client.communicate(timeout=60)
        assert client.wait() == 0
    assert "Messages sent" in told or "p99" in told or "99 %" in told, told
    server.logged(r" left .*name=\"ann\"")


# --- process 1 ----------------------------------------------------------------------------------------------


def apart(*command: str | Path, folder: Path) -> subprocess.Popen[str]:
    """Start a command as process 1 of a namespace of its own."""
    unshare = shutil.which("unshare")
    options = (
        ["--pid", "--fork", "--kill-child"] if os.geteuid() == 0 else ["-U", "--pid", "--fork", "--kill-child"]
    )
    if unshare is None or subprocess.run([unshare, *options, "true"], check=False, timeout=60).returncode:
        pytest.skip("this system makes no namespaces for this user")
    return subprocess.Popen(
        [unshare, *options, *command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(folder),
    )  # fmt: skip


def first_of(outside: subprocess.Popen[str]) -> int:
    """Return the process id of process 1 as it is outside."""
    return int(Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text().split()[0])


def test_as_process_1_a_client_heeds_sigterm(server: ServerProcess, tmp_path: Path) -> None:
    with apart(ANTIPHON, "connect", str(server.address), "--name", "ann", folder=tmp_path) as outside:
        try:
            assert outside.stdin is not None
            assert outside.stdout is not None
            outside.stdin.write("hello\n")
            outside.stdin.flush()
            assert outside.stdout.readline() == "hello\n"
            os.kill(first_of(outside), signal.SIGTERM)
            assert outside.wait(60) == 143
        finally:
            outside.kill()
    server.logged(r" left .*name=\"ann\"")


def test_as_process_1_a_server_stops_in_order_and_leaves_no_zombies(tmp_path: Path) -> None:
    script = "exec:sh -c '(sleep 0.1 &) ; echo ready; exec cat'"
    (token,) = seed(tmp_path / "data")
    command = (ANTIPHON, "serve", script, "--data", tmp_path / "data", "--port", "0", "--json", "--no-input")
    with apart(*map(str, command), folder=tmp_path) as outside:
        try:
            assert outside.stdout is not None
            assert outside.stdout.readline().startswith("{")
            first = first_of(outside)
            grown_up = f"/proc/{first}/task/{first}/children"
            ends = time.monotonic() + 60
            while len(Path(grown_up).read_text().split()) != 1:
                assert time.monotonic() < ends
                time.sleep(0.01)
            os.kill(first, signal.SIGTERM)
            assert outside.wait(60) == 0
        finally:
            outside.kill()
    del token
