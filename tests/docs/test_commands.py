"""Tests that run every command of README and documents (fences `sh` and `console`) as it is shown.

Differences from a reader's terminal: a separate home, free ports, `antiphon demo` instead of `make run`, which
only adds the set-up, and `antiphon` in forks (`support/forked_command.py`).
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support import forked_command
from support.documents import DOCUMENTS, ROOT, Block, blocks, commands
from support.processes import (
    ANTIPHON,
    PASSWORD,
    ServerProcess,
    clean_environment,
    fork_requests,
    run_antiphon,
)
from support.serving import seed

SERVE = re.compile(r"^antiphon serve\b(?!.*--(?:help|check))")
KNOWN: dict[str, Any] = {"ANTIPHON_NAME": "ann", "ANTIPHON_PASSWORD": PASSWORD}
"""Who the reader is on the server that runs already."""


def runnable(path: Path) -> list[tuple[int, Block]]:
    """Return the numbered blocks of commands of a document."""
    found = enumerate(blocks(path.read_text("utf-8")))
    return [(number, block) for number, block in found if block.language in ("sh", "console")]


def is_russian(path: Path) -> bool:
    return path.name.endswith(".ru.md")


def run(block: Block) -> list[str]:
    """Return what is run of a block: all but its comments, which are another language's in a translation."""
    if block.about != "script":
        return commands(block)
    return [line for line in block.text.splitlines() if not line.startswith("#")]


ENGLISH = [run(block) for path in DOCUMENTS if not is_russian(path) for _, block in runnable(path)]
BLOCKS = [
    pytest.param(block, id=f"{path.name}-{number}")
    for path in DOCUMENTS
    for number, block in runnable(path)
    if not (is_russian(path) and run(block) in ENGLISH)  # the same commands need to run only once
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
            pass_fds=[fork_requests().fileno()],
            start_new_session=True,
            text=True,
            encoding="utf-8",
        )

    def output_of(self, command: str) -> str:
        """Run a command, which must succeed; return its output."""
        with all_killed_at_end(self.start(command)) as process:
            out, errors = process.communicate("hello\n", timeout=150)
            assert process.returncode == 0, f"{command}\n{out}{errors}"
            return out


@contextlib.contextmanager
def all_killed_at_end(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """Yield a process, and kill it at the end of the block with all that it has left behind."""
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run the server that all blocks find on this machine, with an account for ann, which they do not change."""
    folder = tmp_path_factory.mktemp("server") / "data"
    seed(folder)
    with ServerProcess(folder) as server:
        yield server


@pytest.fixture(scope="module")
def home(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of somebody who has been on that server before, and has its command."""
    home = tmp_path_factory.mktemp("home")
    known = run_antiphon("connect", str(server.address), home=home, **KNOWN)
    assert known.returncode == 0, known.stderr
    forked_command.install(home, ANTIPHON)
    return home


@pytest.fixture
def place(server: ServerProcess, home: Path, tmp_path: Path) -> Place:
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    (tmp_path / "password.txt").write_text(PASSWORD + "\n", "utf-8")
    for block in blocks((ROOT / "README.md").read_text("utf-8")):
        if block.language == "python" and block.about:
            (tmp_path / block.about).write_text(block.text, "utf-8")
    path = os.pathsep.join([str(tmp_path), str(ANTIPHON.parent), os.environ["PATH"]])
    environment = clean_environment(
        tmp_path, PATH=path, ANTIPHON_ADDRESS=f"localhost:{server.start['port']}", ANTIPHON_PORT="0", **KNOWN
    )
    environment[forked_command.REQUESTS] = str(fork_requests().fileno())
    return Place(tmp_path, environment, server.start["port"])


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
    with all_killed_at_end(place.start(f"exec {line}")) as process:
        assert process.stdout is not None
        assert re.match(r"Antiphon \S+ listens on port \d+", process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=150)
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
