"""Tests of the installed command as a new process; other tests run it in forks (`support/forkserver.py`)."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from antiphon import __version__
from support.processes import PASSWORD, ServerProcess, run_antiphon, run_installed

ANN: dict[str, Any] = {"ANTIPHON_NAME": "ann", "ANTIPHON_PASSWORD": PASSWORD}


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "serve --port 70000",
        "connect --password-file nowhere",
        "ping --compare nowhere nothing",
        "demo --data /dev/null",
        "accounts list --json",
        "accounts add ann",
        "accounts disable nobody",
        "sessions revoke nobody",
        "sessions list nobody --lang ru",
    ],
)
def test_it_does_what_its_forks_do(server: ServerProcess, tmp_path: Path, command: str) -> None:
    outcomes = []
    for run in (run_installed, run_antiphon):
        done = run(*command.split(), home=tmp_path, ANTIPHON_DATA=str(server.folder), **ANN)
        outcomes.append((done.returncode, done.stdout, done.stderr))
    assert outcomes[0] == outcomes[1]
    assert "Traceback" not in outcomes[0][2]


def test_a_conversation_with_it_is_the_same(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for run in (run_installed, run_antiphon):
        done = run("demo", "--data", tmp_path / "data", home=home, stdin="hello\nПривет\n", **ANN)
        assert (done.returncode, done.stdout) == (0, "hello\nПривет\n"), done.stderr


def test_the_version_is_told_by_the_command_and_by_the_module(tmp_path: Path) -> None:
    assert run_installed("--version", home=tmp_path).stdout == f"{__version__}\n"
    told = subprocess.check_output([sys.executable, "-m", "antiphon", "--version"], encoding="utf-8", timeout=60)
    assert told == f"{__version__}\n"
