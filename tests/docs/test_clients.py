"""Tests of docs/clients.md: its programs work, and its table lists the existing calls."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from antiphon.blocking import Session
from antiphon.client.aio.session import ClientSession as AsyncSession
from support.documents import blocks, read, table
from support.invitations import invite
from support.processes import PASSWORD, clean_environment
from support.serving import seed, serving

TEXT = read("docs/clients.md")
PROGRAMS = [block.text for block in blocks(TEXT) if block.language == "python"]


def test_the_programs_do_what_they_say(tmp_path: Path) -> None:
    greeting = "Welcome, ann! This is your first visit.\nhello\n"
    again = re.compile(r"Welcome back, ann! Your last visit was on .*\nhello\n\['one', 'two'\]\n")
    shown: list[str | re.Pattern[str]] = [
        greeting,
        "".join(f"{number * number}\n" for number in range(1000)),
        again,
        "a message with many answers\nmay be done twice\n",
        "tea 2\n",
        "I am vera\nI am vera\n",
        "ПРИВЕТ\n",
    ]
    seed(tmp_path / "data")
    with serving(tmp_path / "data") as server:
        address = str(replace(server.address, name="ann"))
        (code,) = invite(tmp_path / "data", "vera", address=server.address)
        programs = [program.replace("tls://ann@localhost:1", address) for program in PROGRAMS]
        assert programs[1] != PROGRAMS[1]
        environment = clean_environment(tmp_path, ANTIPHON_ADDRESS=address, ANTIPHON_PASSWORD=PASSWORD)
        environment["ANTIPHON_INVITATION"] = code.written()
        stand_in = f"import getpass; getpass.getpass = lambda: {PASSWORD!r}\n"  # nobody can be asked
        for program, expected in zip(programs, shown, strict=True):
            done = subprocess.run(
                [sys.executable, "-c", stand_in + program],
                env=environment,
                capture_output=True,
                encoding="utf-8",
                timeout=150,
                check=False,
            )
            assert done.stderr == ""
            assert expected.fullmatch(done.stdout) if isinstance(expected, re.Pattern) else done.stdout == expected


def test_an_error_is_shown_with_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    exec(PROGRAMS[1].replace("password=getpass.getpass", "password='x'"), {"__name__": "program"})
    assert capsys.readouterr().out.startswith("connect-refused Nobody answers at tls://localhost:1")


def test_the_table_names_every_call_of_a_session() -> None:
    shown = " ".join(call for call, _ in table(TEXT, "call", "what it does"))
    public = {name for name in vars(Session) if not name.startswith("_")} - {"address"}
    assert set(re.findall(r"([a-z_]+)\(", shown)) == public


def test_the_session_in_asyncio_has_the_calls_that_are_told_of() -> None:
    own = {name for name in vars(AsyncSession) if not name.startswith("_")}
    told = {"ask", "ask_stream", "ask_many", "send", "end_others", "on_push", "begin", "ended", "leave"}
    assert own == told | {"hang_up", "connection"}
