"""Faults that were found in use, tried again over two workers."""

import os
import signal
from pathlib import Path

from antiphon.wire.bodies import ServerBye
from support.processes import ANTIPHON, PipedProcess, ServerProcess, clean_environment
from support.programs import descendants, keeper_of, said, shell, until_gone
from support.serving import in_session, seed


def test_of_a_launcher_that_is_killed_nothing_is_left_and_its_place_is_free(tmp_path: Path) -> None:
    tokens = seed(tmp_path / "data", sessions=3)  # one more than there are places
    service = f"exec:{shell('setsid sleep 1000 & echo $PPID; exec cat')}"
    options = ["--workers", "2", "--plain", "--exec-most", "2", "--exec-wait", "20"]
    with ServerProcess(tmp_path / "data", *options, service) as server:
        server.logged(" worker-started ", 2)
        for token in tokens:
            with in_session(server.address, token) as client:
                ((_, watcher),) = said(client, 1)
                below = descendants(keeper_of(int(str(watcher))))
                assert len(below) >= 3
                os.kill(int(str(watcher)), signal.SIGKILL)
                assert isinstance(client.body(), ServerBye)
                until_gone(*below)


def test_an_address_that_cannot_be_written_ends_the_start_and_all_workers(tmp_path: Path) -> None:
    command = f"exec {ANTIPHON} serve --workers 2 --data {tmp_path}/data --port 0 --no-input >/dev/full"
    with PipedProcess("/bin/sh", "-c", command, environment=clean_environment(tmp_path)) as process:
        out, errors = process.communicate(timeout=60)
        assert (process.wait(), out, errors.count("\n")) == (1, "", 1)
        assert errors.startswith("Standard output cannot be written: the disk is full.")
    log = (tmp_path / "data" / "server.log").read_text()
    assert log.count(" started ") == log.count(" stopped ")
    assert log.rstrip().endswith(f"stopped pid={process.pid}")
