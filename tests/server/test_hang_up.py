"""SIGHUP: certificate, key and log are loaded again; a closed terminal stops the server in order."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from antiphon.data.certificate import CERTIFICATE_FILE, KEY_FILE
from support.certificate_authority import issue_certificate
from support.processes import ANTIPHON, PipedProcess, ServerProcess, clean_environment
from support.raw import tls_context
from support.serving import in_session, seed
from support.terminal import Terminal

ALONE_AND_TOGETHER = pytest.mark.parametrize("workers", ["1", "2"])


def served(server: ServerProcess) -> bytes:
    """Return the certificate that a new connection gets."""
    with (
        socket.create_connection(("127.0.0.1", server.start["port"]), 10) as plain,
        tls_context().wrap_socket(plain) as client,
    ):
        assert client.recv(1)
        return client.getpeercert(binary_form=True) or b""


@ALONE_AND_TOGETHER
def test_new_connections_get_the_new_certificate_and_no_old_one_is_lost(tmp_path: Path, workers: str) -> None:
    folder = tmp_path / "data"
    (token,) = seed(folder)
    with ServerProcess(folder, "--workers", workers) as server, in_session(server.address, token) as client:
        before = served(server)
        issue_certificate(tmp_path / "new")
        for name in (KEY_FILE, CERTIFICATE_FILE):
            (tmp_path / "new" / name).rename(folder / name)
        renamed = Path(server.start["log"]).rename(folder / "old.log")
        server.signal(signal.SIGHUP)
        ends = time.monotonic() + 60
        while served(server) == before:
            assert time.monotonic() < ends
            time.sleep(0.05)
        server.logged(" reloading ")
        server.logged(" reloaded ")
        assert " reloading " not in renamed.read_text()
        if workers == "1":
            assert client.ask("still there?") == "still there?"


@ALONE_AND_TOGETHER
def test_a_broken_certificate_is_told_and_the_old_one_stays(tmp_path: Path, workers: str) -> None:
    folder = tmp_path / "data"
    (token,) = seed(folder)
    with ServerProcess(folder, "--workers", workers) as server, in_session(server.address, token) as client:
        before = served(server)
        (folder / CERTIFICATE_FILE).write_text("broken")
        server.signal(signal.SIGHUP)
        server.logged(r" error reload-failed code=\"certificate-unusable\"")
        assert served(server) == before
        assert client.ask("still there?") == "still there?"


@ALONE_AND_TOGETHER
def test_a_closed_terminal_stops_the_server_in_order(tmp_path: Path, workers: str) -> None:
    folder = tmp_path / "data"
    options = ("--data", folder, "--port", "0", "--plain", "--no-input", "--workers", workers)
    with Terminal("serve", *options, home=tmp_path) as terminal:
        terminal.shows("Log:")
        os.kill(terminal.process.pid, signal.SIGHUP)
        log = folder / "server.log"
        ends = time.monotonic() + 60
        while " reloading " not in log.read_text():
            assert time.monotonic() < ends
            time.sleep(0.02)
        terminal.pexpect.close()
        assert terminal.process.wait(60) == 0
        assert " stopping " in log.read_text()
        assert log.read_text().rstrip().rpartition(" info ")[2].startswith("stopped ")


def test_under_nohup_it_is_ignored(tmp_path: Path) -> None:
    options = f"--data {tmp_path}/data --port 0 --plain --no-input --json"
    command = ("/bin/sh", "-c", f"trap '' HUP; exec {ANTIPHON} serve {options}")
    with PipedProcess(*command, environment=clean_environment(tmp_path)) as process:
        assert process.stdout.readline(), process.stderr.read()
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert " reloading " not in (tmp_path / "data" / "server.log").read_text()
