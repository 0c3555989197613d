"""Cluster of the document: the demonstration does what the page shows, and so do the commands and HAProxy."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from antiphon.blocking import connect
from support import forked_command
from support.documents import ROOT
from support.left_out import left_out
from support.processes import ANTIPHON, PASSWORD, ServerProcess, clean_environment, fork_requests
from support.serving import seed

PAGE = (ROOT / "docs" / "clusters.md").read_text("utf-8")


@pytest.fixture(autouse=True)
def haproxy() -> None:
    if shutil.which("haproxy") is None:
        left_out("nodes behind a balancer", "apt install haproxy")


def test_a_conversation_outlives_the_node_that_answers(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "cluster.py"],
        env=clean_environment(tmp_path) | {"PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    shown = re.search(r"```text\n(> hello\n.*?)```", PAGE, re.DOTALL)
    assert shown
    talked = done.stdout.partition("> hello")
    nodes = {"one": "two", "two": "one"} if "node one has heard: hello" in done.stdout else {}
    swapped = re.sub(r"\b(one|two)\b", lambda name: nodes.get(name[0], name[0]), "".join(talked[1:]))
    assert re.sub(r"  \(\d+ s\)", "", swapped) == re.sub(r"  \(\d+ s\)", "", shown[1])


def test_haproxy_takes_the_configuration(tmp_path: Path) -> None:
    found = re.search(r"```text haproxy\.cfg\n(.*?)```", PAGE, re.DOTALL)
    assert found
    (tmp_path / "haproxy.cfg").write_text(found[1])
    done = subprocess.run(
        ["haproxy", "-c", "-f", tmp_path / "haproxy.cfg"], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_people_of_a_server_on_sqlite_move_into_the_database(tmp_path: Path, database: str) -> None:
    found = re.search(r"```bash people\n(.*?)antiphon serve ", PAGE, re.DOTALL)
    assert found
    seed(tmp_path / "data")
    forked_command.install(tmp_path, ANTIPHON)
    paths = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    requests = fork_requests().fileno()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", found[1]],
        cwd=tmp_path,
        env=clean_environment(tmp_path, PATH=paths, DATABASE=database) | {forked_command.REQUESTS: str(requests)},
        pass_fds=[requests],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with (
        ServerProcess(tmp_path / "node1") as server,
        connect(str(server.address), name="ann", password=PASSWORD) as session,
    ):
        assert session.ask("there?") == "there?"
