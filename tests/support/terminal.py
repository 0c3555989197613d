"""Commands on a pseudo-terminal: type input and wait for output."""

import os
import pty
import re
import termios
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pexpect
from pexpect.fdpexpect import fdspawn

from support.processes import ANTIPHON, Process, clean_environment

ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>])")
"""Escape sequences that move the cursor or set a colour."""
BEGUN = re.compile(r"\x1b(?:\[[0-9;?]*|\][^\x07]*)?$")
"""The beginning of an incomplete escape sequence."""
UP = "\x1b[A"
CTRL_C = "\x03"
CTRL_D = "\x04"
TIMEOUT = 60
LINES = 50


class _Screen(fdspawn):  # type: ignore[misc]  # pexpect has no types
    """Returns the output without escape sequences, and keeps the full output in `raw`."""

    raw = ""
    held = ""

    def read_nonblocking(self, size: int = 1, timeout: Any = -1) -> str:
        text = super().read_nonblocking(size, timeout)
        self.raw += text
        text = self.held + text
        begun = BEGUN.search(text)
        self.held = begun[0] if begun else ""
        return ESCAPE.sub("", text.removesuffix(self.held))


class Terminal:
    """A command, by default `antiphon`, on a terminal of 50 lines, by default of 200 characters."""

    def __init__(
        self,
        *arguments: str | Path,
        home: Path,
        command: str | Path = ANTIPHON,
        columns: int = 200,
        **environment: str,
    ) -> None:
        """Start `command` with a clean environment and the variables `environment`."""
        settings = {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "PS1": "$ "} | environment
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (LINES, columns))
        environment = clean_environment(home, **settings)
        self.process = Process([command, *arguments], environment, [theirs] * 3, terminal=True)
        os.close(theirs)
        self._ours = ours
        self.pexpect = _Screen(ours, timeout=TIMEOUT, encoding="utf-8", use_poll=True)

    def shows(self, *texts: str) -> str:
        """Wait for each text, one after the other; return the output before the last."""
        for text in texts:
            self.pexpect.expect_exact(text)
        return str(self.pexpect.before)

    def matches(self, pattern: str) -> re.Match[str]:
        """Wait for output that matches `pattern`; return the match."""
        self.pexpect.expect(pattern)
        found = self.pexpect.match
        assert isinstance(found, re.Match)
        return found

    def asks(self, question: str) -> None:
        """Wait until a question is asked and the terminal is ready for the answer."""
        self.shows(question)

    def enter(self, text: str = "") -> None:
        """Type a line and press Enter."""
        self.pexpect.send(text + "\r")

    def press(self, keys: str) -> None:
        """Press keys."""
        self.pexpect.send(keys)

    def resize(self, columns: int) -> None:
        """Change the width; the command is told so, as by every terminal."""
        termios.tcsetwinsize(self._ours, (LINES, columns))

    def answer(self, question: str, text: str = "") -> None:
        """Wait for a question and type the answer."""
        self.asks(question)
        self.enter(text)

    def says(self, prompt: str, line: str, answer: str | None = None) -> None:
        """Type a line at a prompt and wait for the answer, by default the line itself."""
        self.answer(prompt, line)
        self.shows("\n" + (line if answer is None else answer) + "\r\n")

    def ends(self) -> int:
        """Wait for the end; return the exit code."""
        self.pexpect.expect(pexpect.EOF)
        code = self.process.wait(TIMEOUT)
        assert code >= 0, self.raw
        assert "Traceback" not in self.raw
        return code

    @property
    def raw(self) -> str:
        """The whole output so far, with escape sequences."""
        return self.pexpect.raw

    @property
    def screen(self) -> str:
        """The whole output so far, without escape sequences."""
        return ESCAPE.sub("", self.raw)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(f"--- the screen ---\n{self.raw!r}")
        self.pexpect.close()  # hangs up the terminal
        self.process.kill()
        self.process.wait()
