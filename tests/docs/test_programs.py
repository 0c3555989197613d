"""Tests of docs/programs.md: its programs answer as described, and its limits are those of the code."""

import re
import shlex
from pathlib import Path

import pytest

from antiphon.services import Program, Session
from antiphon.services import program as module
from antiphon.services.launch import GRACE_SECONDS
from antiphon.wire.kinds import KIB
from support.documents import blocks, read, table
from support.serving import seed, serving

TEXT = read("docs/programs.md")
COMMANDS = re.findall(
    r"^antiphon serve (.*exec:.*)$", "".join(b.text for b in blocks(TEXT) if not b.about), re.MULTILINE
)
ASKED = [("hello", "HELLO"), ("a cat", "a dog"), ("hello", "HELLO"), ("6 * 7", "42")]


@pytest.mark.parametrize(("command", "asked"), list(zip(COMMANDS, ASKED, strict=True)))
def test_a_program_that_is_shown_answers(tmp_path: Path, command: str, asked: tuple[str, str]) -> None:
    service, *options = shlex.split(command)
    pause = float(options[1]) if options else 0.1
    (token,) = seed(tmp_path / "data")
    program = Program(service.removeprefix("exec:"), exec_pause=pause, exec_wait=20)
    with serving(tmp_path / "data", program, plain=True) as server, server.session(token) as client:
        id, data = client.conversation.message(asked[0])
        client.send(data)
        assert client.answer(id) == asked[1]


def test_the_variables_are_those_that_a_program_finds() -> None:
    class Somebody:
        name, account, address = "ann", 1, "127.0.0.1:5"

    somebody: Session = Somebody()  # type: ignore[assignment] # what is read of it
    given = {name for name in module._environment(somebody) if name.startswith("ANTIPHON_")}
    assert given == {name for name, _ in table(TEXT, "variable", "what the program finds there")}


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"A line has {module.LINE_LIMIT // KIB} KiB at most" in TEXT
    assert f"up to {module.SAID_MOST} lines a minute" in TEXT
    assert f"it has {GRACE_SECONDS:.0f} s to end by itself" in TEXT
