"""Tests that run every command of README and documents (fences `sh` and `console`) as it is shown.

Differences from a reader's terminal: a separate home, free ports, and `antiphon demo` instead of `make run`, which
only adds the set-up.
"""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support.documents import DOCUMENTS, README_RU, ROOT, Block, blocks, commands
from support.processes import ANTIPHON, PASSWORD, ServerProcess, clean_environment, killed_at_end, run_antiphon

SERVE = re.compile(r"^antiphon serve\b(?!.*--help)")
ENGLISH = [commands(block) for block in blocks((ROOT / "README.md").read_text("utf-8"))]
BLOCKS = [
    pytest.param(block, id=f"{path.name}-{number}")
    for path in DOCUMENTS
    for number, block in enumerate(blocks(path.read_text("utf-8")))
    if block.language in ("sh", "console")
    if path != README_RU or commands(block) not in ENGLISH  # the same commands need to run only once
]


class Place(NamedTuple):
    """The place to run commands: a folder, its environment, and a server with an account for ann."""

    folder: Path
    environment: dict[str, str]
    port: int

    def start(self, command: str) -> "subprocess.Popen[str]":
        """Start a command of a document in bash, with one line on standard input."""
        command = re.sub(r"\bmake( -s)? run\b", "antiphon demo", command)
        command = re.sub(r"@localhost(?!:)", f"@localhost:{self.port}", command)
        return subprocess.Popen(
            ["bash", "-c", f"set -euo pipefail\n{command}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env=self.environment,
            text=True,
            encoding="utf-8",
        )

    def output_of(self, command: str) -> str:
        """Run a command, which must succeed; return its output."""
        with killed_at_end(self.start(command)) as process:
            out, errors = process.communicate("hello\n", timeout=60)
            assert process.returncode == 0, f"{command}\n{out}{errors}"
            return out


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "password.txt").write_text(PASSWORD + "\n", "utf-8")
    for block in blocks((ROOT / "README.md").read_text("utf-8")):
        if block.language == "python" and block.about:
            (tmp_path / block.about).write_text(block.text, "utf-8")
    with ServerProcess(tmp_path / "server") as server:
        known = run_antiphon(
            "connect",
            str(server.address),
            "--name",
            "ann",
            "--register",
            home=tmp_path,
            ANTIPHON_PASSWORD=PASSWORD,
        )
        assert known.returncode == 0, known.stderr
        environment = clean_environment(
            tmp_path,
            PATH=f"{ANTIPHON.parent}{os.pathsep}{os.environ['PATH']}",
            ANTIPHON_ADDRESS=f"localhost:{server.start['port']}",
            ANTIPHON_NAME="ann",
            ANTIPHON_PASSWORD=PASSWORD,
            ANTIPHON_PORT="0",
        )
        yield Place(tmp_path, environment, server.start["port"])


def test_there_are_commands_in_the_documents() -> None:
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("block", BLOCKS)
def test_the_commands_of_a_block_work(block: Block, place: Place) -> None:
    if block.language == "console":
        assert transcript(block.text, place) == block.text
    elif block.about == "script":
        place.output_of(block.text)
    else:
        for line in block.text.splitlines():
            work(line, place)


def work(line: str, place: Place) -> None:
    command = " ".join(shlex.split(line, comments=True))
    if command.startswith("make "):
        plan = subprocess.run(
            ["make", "-n", command.removeprefix("make ")], cwd=ROOT, capture_output=True, check=False
        )
        assert plan.returncode == 0, plan.stderr.decode()
    elif SERVE.match(command):
        serve(line, place)
    else:
        assert place.output_of(line)


def planned(word: str) -> list[str]:
    """Return the commands that `make` would run."""
    env = {
        name: value for name, value in os.environ.items() if not name.startswith("MAKE")
    }  # set by an outer `make test`
    plan = subprocess.run(["make", "-n", word], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return plan.stdout.splitlines()


def serve(line: str, place: Place) -> None:
    """Check that a server starts and stops."""
    with killed_at_end(place.start(f"exec {line}")) as process:
        assert process.stdout is not None
        assert re.match(r"Antiphon \S+ listens on port \d+", process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=40)
        assert (process.returncode, errors) == (0, "")


def transcript(text: str, place: Place) -> str:
    """Run the commands of a transcript in one shell; return the new transcript."""
    said = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    mark = "--- end of a command ---"
    out = place.output_of("".join(f"{command}\necho {shlex.quote(mark)}\n" for command in said))
    return "".join(f"$ {command}\n{given}" for command, given in zip(said, out.split(mark + "\n"), strict=False))


def test_make_run_is_the_demo() -> None:
    assert planned("run")[-1] == "exec .venv/bin/antiphon demo"


def test_the_test_command_is_make_test() -> None:
    assert "\nmake test " in (ROOT / "README.md").read_text("utf-8")
    assert "make test" in (ROOT / ".ci" / "run").read_text("utf-8")
