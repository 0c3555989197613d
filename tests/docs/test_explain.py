"""Tests of docs/explain.md: the transcript of a session, and the use of /spoil on a terminal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.terminal import explain
from support.documents import blocks, read, section
from support.explain_example import lasting, shown, visit
from support.processes import PASSWORD, ServerProcess
from support.serving import seed
from support.terminal import Terminal

TEXT = read("docs/explain.md")
ANN: dict[str, Any] = {"ANTIPHON_NAME": "ann", "ANTIPHON_PASSWORD": PASSWORD}


def test_the_transcript_is_what_a_visit_shows(tmp_path: Path) -> None:
    assert lasting(visit(tmp_path)) == lasting(shown())


def test_as_many_bytes_are_shown_as_is_said() -> None:
    assert f"longer than {explain.DUMPED} bytes" in TEXT.replace("\n  ", " ")


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[Terminal]:
    seed(tmp_path / "data")
    with (
        ServerProcess(tmp_path / "data") as server,
        Terminal("connect", str(server.address), home=tmp_path, **ANN) as terminal,
    ):
        yield terminal


def test_a_spoiled_token_is_refused_as_shown(ann: Terminal) -> None:
    typed = [
        line
        for block in blocks(section(TEXT, "## A spoiled token"))
        if block.language == "text"
        for line in block.text.splitlines()
    ]
    assert sum(line.startswith("ann> /spoil ") for line in typed) == 3
    for line in typed:
        if line.startswith("ann> "):
            ann.answer("ann>", line.removeprefix("ann> "))
            ann.shows("\n")
        else:
            ann.shows("Back after " if line.startswith("Back after ") else line)
    ann.answer("ann>", "exit")
    ann.shows("You have left.")
    assert ann.ends() == 0, "a refusal that was asked for is no failure"
