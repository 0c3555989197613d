"""Tests of the terminal's width: lines end between words, and a resize leaves no stale copy of the typed line."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.terminal.prompt import ASKED_MOST
from support.processes import ANTIPHON, PASSWORD, ServerProcess, clean_environment, run_antiphon
from support.terminal import Terminal
from support.transcripts import on_paper

ANN: dict[str, Any] = {"ANTIPHON_NAME": "ann", "ANTIPHON_PASSWORD": PASSWORD}
WIDTHS = [60, 80]
LONG = "a rather long line that is typed and that will not fit into forty columns"
TOLD_SECONDS = 0.8
"""tmux changes its screen at once, tells the program of it up to 0.25 s later, and shows no sign of either."""
ASKS_FOR_CURSOR = "\x1b[6n"


def assert_fits(paper: str, columns: int) -> None:
    """Check that no line of a screen is wider than the terminal, except for a single word."""
    for line in paper.splitlines():
        words = line.split("  ")[-1].split() if line.startswith("  Connect") else line.split()
        assert len(line) <= columns or len(words) == 1, line


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize(("language", "left"), [("en", "You have left."), ("ru", "Вы вышли.")])
def test_all_that_a_visit_shows_fits(
    server: ServerProcess, tmp_path: Path, columns: int, language: str, left: str
) -> None:
    name = f"{language}{columns}"
    with Terminal(
        "connect", str(server.address), "--explain", "--lang", language, home=tmp_path, columns=columns, USER=name
    ) as terminal:
        terminal.answer(f"[{name}]:")
        terminal.answer(":", "short")
        terminal.shows("15")  # the hint below the password, and the refusal
        terminal.answer(":", PASSWORD)
        terminal.answer(":", PASSWORD)
        terminal.answer(f"{name}>", "/help")
        terminal.answer(f"{name}>", "/spoil hello")
        terminal.shows("token-refused")
        terminal.answer(f"{name}>", "exit")
        terminal.shows(left)
        assert terminal.ends() == 0
        paper = on_paper(terminal.raw)
    assert_fits(paper, columns)
    rows = re.findall(r"^    [0-9a-f]{4}  .*\|$", paper, re.MULTILINE)
    assert len(rows) > 20
    assert max(map(len, rows)) == {60: 45, 80: 78}[columns]
    assert ("\n    id 00 00 00 01\n" in paper) == (columns == 60), "the header is broken between two fields"


@pytest.mark.parametrize("columns", WIDTHS)
def test_what_a_server_says_fits_and_its_command_stays_whole(tmp_path: Path, columns: int) -> None:
    with Terminal(
        "serve", "--port", "0", "--no-input", "--data", tmp_path / "data", home=tmp_path, columns=columns
    ) as terminal:
        terminal.shows("Log:", "\r\n")
        lines = terminal.screen.splitlines()
    assert lines[1].startswith("  Connect: antiphon connect 'tls://localhost:")
    assert lines[1].endswith("'")
    access = lines[2 : 3 + (columns == 60)]
    assert access[0].startswith("  Access:  sign-in with name and password;")
    assert all(line.startswith("           ") for line in access[1:])
    assert_fits("\n".join(lines[2:-1]), columns)


def test_a_long_question_is_wrapped_and_can_be_answered(tmp_path: Path) -> None:
    long = "a" * 50
    with (
        ServerProcess(tmp_path / "data", "--access", "identify") as server,
        Terminal("connect", str(server.address), "--name", long, home=tmp_path, columns=60) as terminal,
    ):
        terminal.answer(f"{long}>", "/name")
        terminal.answer("Your name:", "bob")
        terminal.answer(f"Forget “{long}”\r\r\nat this address? [y/N]:", "y")
        terminal.answer("bob>", "exit")
        assert terminal.ends() == 0


def test_a_refusal_is_wrapped_on_a_terminal_and_one_line_in_a_pipe(tmp_path: Path) -> None:
    with Terminal("connect", "localhost:1", home=tmp_path, columns=60, NO_COLOR="") as terminal:
        assert terminal.ends() == 3
        told = terminal.screen.splitlines()
        assert terminal.raw.startswith("\x1b[31m")
    assert told == [
        "Nobody answers at tls://localhost:1: nothing listens there.",
        "Check the host and the port, and that the server is running.",
    ]
    piped = run_antiphon("connect", "localhost:1", home=tmp_path, COLUMNS="60")
    assert piped.stderr == " ".join(told) + "\n"


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_each_frame_is_one_line_with_explain_short(server: ServerProcess, tmp_path: Path, columns: int) -> None:
    with Terminal(
        "connect", str(server.address), "--explain=short", home=tmp_path, columns=columns, **ANN
    ) as terminal:
        terminal.answer("ann>", LONG)
        terminal.shows("\n" + LONG)
        terminal.answer("ann>", "exit")
        assert terminal.ends() == 0
        paper = on_paper(terminal.raw)
    frames = [line for line in paper.splitlines() if re.match(r"\[ +\d+\.\d+ s\] (->|<-) ", line)]
    assert [re.findall(r"[A-Z]+", line)[0] for line in frames] == [
        "HELLO", "IDENTIFY", "IDENTIFY", "AUTHENTICATE", "CHALLENGE", "CHALLENGE", "WELCOME", "MESSAGE", "MESSAGE",
        "BYE", "BYE",
    ]  # fmt: skip
    assert all(len(line) <= columns for line in frames)
    assert any(line.endswith("…") for line in frames)
    assert "Hidden" not in paper


# --- a terminal that changes its width ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "rows_up"),
    [(len(f"ann> {LONG}") % 40 + 1, True), (40, False), (7, False)],
    ids=["the terminal has reflowed", "the terminal has cut", "nobody knows"],
)
def test_only_where_a_terminal_reflows_the_rows_above_are_erased(
    server: ServerProcess, tmp_path: Path, column: int, *, rows_up: bool
) -> None:
    with Terminal(
        "connect", str(server.address), home=tmp_path, columns=80, PROMPT_TOOLKIT_NO_CPR="", **ANN
    ) as terminal:
        terminal.shows("/help shows")
        wait_for(lambda: ASKS_FOR_CURSOR in terminal.raw, terminal)
        terminal.press("\x1b[9;1R" + LONG)
        terminal.shows("forty columns")
        before = len(terminal.raw)
        terminal.resize(40)
        answered = 0
        while "\x1b[J" not in terminal.raw[before:]:
            if answered < terminal.raw[before:].count(ASKS_FOR_CURSOR):
                answered += 1
                terminal.press(f"\x1b[10;{column}R")
            else:
                terminal.pexpect.read_nonblocking(1000, timeout=60)
        assert (answered == ASKED_MOST) == (column == 7), "asked again, but not for ever"
        erased = terminal.raw[before:].partition("\x1b[J")[0]
        assert ("\x1b[A" in erased or "\x1b[1A" in erased) == rows_up


def wait_for(condition: Callable[[], bool], terminal: Terminal) -> None:
    """Read the output until a condition holds."""
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends, terminal.raw
        terminal.pexpect.read_nonblocking(1000, timeout=60)


class Tmux:
    """A terminal that reflows: tmux, whose screen can be read."""

    def __init__(self, folder: Path, command: list[str | Path], environment: dict[str, str]) -> None:
        """Start `command` on a screen of 80 columns."""
        self._socket = folder / "tmux"
        self._environment = environment
        self.do("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", *command)

    def do(self, *words: str | Path) -> str:
        """Give a command to tmux; return its output."""
        done = subprocess.run(
            ["tmux", "-S", self._socket, *words],
            env=self._environment,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=True,
        )
        return done.stdout

    def shows(self, wanted: Callable[[str], bool]) -> str:
        """Wait until the screen is as wanted; return it."""
        ends = time.monotonic() + 60
        while not wanted(screen := self.do("capture-pane", "-p", "-S", "-100")):
            assert time.monotonic() < ends, screen
            time.sleep(0.02)
        return screen


@pytest.fixture
def tmux(server: ServerProcess, tmp_path: Path) -> Iterator[Tmux]:
    environment = clean_environment(tmp_path, TERM="xterm", **ANN)
    environment.pop("TMUX", None)
    terminal = Tmux(tmp_path, [ANTIPHON, "connect", str(server.address)], environment)
    yield terminal
    terminal.do("kill-server")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is the terminal of this test")
def test_no_stale_copy_of_the_line_is_left_when_the_terminal_becomes_narrower(tmux: Tmux) -> None:
    tmux.shows(lambda screen: "ann>" in screen)
    tmux.do("send-keys", "hello", "Enter")
    tmux.shows(lambda screen: screen.count("ann>") == 2)
    tmux.do("send-keys", "-l", LONG)
    tmux.shows(lambda screen: LONG in screen)
    for columns in (40, 100):
        tmux.do("resize-window", "-x", str(columns), "-y", "24")
        time.sleep(TOLD_SECONDS)
        rows = [f"ann> {LONG}"[begin : begin + columns] for begin in range(0, len(f"ann> {LONG}"), columns)]
        typed = "\nhello\n" + "\n".join(row.rstrip() for row in rows)
        tmux.shows(lambda screen, typed=typed: screen.rstrip().endswith(typed))  # type: ignore[misc]
