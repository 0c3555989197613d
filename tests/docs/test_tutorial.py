"""Tests of docs/tutorial.md from beginning to end: write its files, run its commands, compare the screens.

Differences from a reader's terminal: a separate home, and a free port, typed when the server first asks.
"""

import re
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.documents import blocks, read
from support.processes import ANTIPHON
from support.terminal import CTRL_C, Terminal
from support.transcripts import lasting, on_paper, pattern

PAGE = blocks(read("docs/tutorial.md"))
PASSWORD = "correct horse battery"
"""A password with as many characters as the page has stars."""
PROMPT = re.compile(r"(Port \[\d+\]:|Name \[\w+\]:|New password:|Once more:|Password:|\w+>)(.*)")
INTERRUPT = "^C"
READER: dict[str, Any] = {"USER": "ann", "COLUMNS": "80", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""The reader's environment: pytest without plugins."""


class Desk:
    """The reader's terminals, each named by the word after the fence of its blocks."""

    def __init__(self, home: Path, hung_up: ExitStack) -> None:
        """Start without terminals; closing `hung_up` hangs up all of them."""
        self._home = home
        self._hung_up = hung_up
        self._terminals: dict[str, Terminal] = {}
        self._shown: dict[str, list[str]] = {}
        self._address = ""
        """The server's address with its fingerprint, once the server has printed it."""

    def follow(self, who: str, text: str) -> None:
        """Type at one terminal what `text` shows, and check the output against it."""
        for line in text.splitlines():
            if line.startswith("$ "):
                self.ends(who)
                self._start(who, line.removeprefix("$ "))
                continue
            self._shown[who].append(line)
            if line == INTERRUPT:
                self._terminals[who].press(CTRL_C)
                self.ends(who)
            elif prompt := PROMPT.fullmatch(line):
                self._type(self._terminals[who], *prompt.groups())
            else:
                self._see(self._terminals[who], line)

    @property
    def _port(self) -> str:
        """The server's port, once the server has printed it."""
        return self._address.partition("#")[0].rpartition(":")[2]

    def _start(self, who: str, command: str) -> None:
        command = re.sub(r"@localhost\b", f"@localhost:{self._port}", command)
        command = re.sub(r"tls://localhost:7862#sha256:[\w-]{43}", self._address, command)
        program, *words = shlex.split(command)
        program = {"antiphon": str(ANTIPHON), "python": sys.executable}[program]
        terminal = Terminal(*words, home=self._home, command=program, **READER)
        self._terminals[who] = self._hung_up.enter_context(terminal)
        self._shown[who] = []

    def _type(self, terminal: Terminal, prompt: str, typed: str) -> None:
        typed = typed.strip()
        if prompt.startswith("Port"):
            terminal.matches(r"Port \[\d+\]:")
            terminal.enter(self._port or "0")  # the reader's default port may be taken on this machine
        elif "assword" in prompt or prompt == "Once more:":
            terminal.answer(prompt, PASSWORD)
        else:
            terminal.answer(prompt, typed)

    def _see(self, terminal: Terminal, line: str) -> None:
        if line.startswith("  Connect:"):
            self._address = terminal.matches(r"'(tls://\S+)'")[1]
        else:
            terminal.matches(pattern(line) + "\r\n")  # which does not depend on what is typed

    def close(self) -> None:
        """Stop the server as a reader would; all other commands must have ended."""
        self.follow("server", INTERRUPT)
        for who in list(self._terminals):
            self.ends(who)

    def ends(self, who: str) -> None:
        """Wait for the end of the command at a terminal, and compare its whole output."""
        terminal = self._terminals.pop(who, None)
        if terminal is None:
            return
        terminal.ends()
        seen = on_paper(terminal.raw).replace(str(self._home), "/home/ann")
        assert lasting(seen) == lasting("\n".join(self._shown.pop(who)))


def test_who_does_what_the_page_says_sees_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with ExitStack() as hung_up:
        desk = Desk(tmp_path, hung_up)
        for language, about, text in PAGE:
            if language == "python":
                (tmp_path / about).write_text(text, "utf-8")
            else:
                desk.follow(about, text)
        desk.close()


def test_every_block_of_the_page_is_a_file_or_a_screen() -> None:
    assert {block.language for block in PAGE} == {"python", "text"}
    assert all(block.about for block in PAGE)
