"""The commands in examples/README.md work: each service is served, and each client is run against it."""

import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from antiphon.services import load
from support.documents import ROOT, Block, blocks, read
from support.processes import PASSWORD, clean_environment
from support.serving import seed, serving

TEXT = read("examples/README.md")
BLOCKS = [block for block in blocks(TEXT) if block.language == "sh"]
SAID = {
    "instrument.py:furnace": "22 degrees reached\n",
    "jobs.py:jobs": "done: 2262\n",
    "prints.py:prints": "poster.svg is printed\n",
    "game.py:game": "ann tried e\n",
    "auction.py:auction": "Say: offer THING",
    "phones.sh": "find NAME, add NAME NUMBER\n",
}
"""A part of the client's output, by service."""


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.text.split()[2])
def test_the_commands_of_an_example_work(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve, client = block.text.splitlines()
    service = shlex.split(serve)[2]
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PHONES", str(tmp_path / "phones.txt"))
    seed(tmp_path / "data")
    with serving(tmp_path / "data", load(service)) as server:
        environment = clean_environment(
            tmp_path,
            ADDRESS=str(replace(server.address, name="ann")),
            ANTIPHON_PASSWORD=PASSWORD,
            PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        )
        done = subprocess.run(
            ["bash", "-c", client],
            input="e\n",
            env=environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    assert SAID[service.rpartition("/")[2]] in done.stdout


def test_every_example_is_short_and_in_the_list() -> None:
    linked = {path.name for path in (ROOT / "examples").iterdir() if f"({path.name})" in TEXT}
    for path in (ROOT / "examples").glob("*.*"):
        if path.name != "README.md":
            assert path.name in linked
            assert len(path.read_text("utf-8").splitlines()) < 80 or path.name == "reference_client.py"
