"""Tests of `antiphon demo`, which `make run` starts: a server and a client as one command."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import ServerKeyChanged
from support.processes import PASSWORD, clean_environment, run_antiphon
from support.terminal import CTRL_C, Terminal

ROOT = Path(__file__).parents[2]
ANN: dict[str, Any] = {"ANTIPHON_NAME": "ann", "ANTIPHON_PASSWORD": PASSWORD}


def assert_stopped(told: str, home: Path) -> None:
    """Check that the demo's server, whose output is `told`, has gone; another one may have its port by now."""
    found = re.search(r"tls://localhost:\d+#sha256:[\w-]+", told)
    assert found, told
    done = run_antiphon("connect", found[0], home=home, **ANN)
    assert "nothing listens there" in done.stderr or done.returncode == ServerKeyChanged.exit_code, done.stderr


def test_a_pipe_gets_its_answers_and_the_second_visit_is_greeted(tmp_path: Path) -> None:
    for greeting in ("Welcome, ann! This is your first visit.", "Welcome back, ann! Your last visit was on"):
        done = run_antiphon("demo", "--data", tmp_path / "d", home=tmp_path, stdin="hello\n", **ANN)
        assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
        assert greeting in done.stderr
        assert f"It keeps its files in {tmp_path / 'd'}\n" in done.stderr
        assert "(accounts.csv and clients.txt there hold what it remembers)\n" in done.stderr
        assert f"and its log in {tmp_path / 'd' / 'server.log'}\n" in done.stderr
        assert done.stderr.endswith("The server has stopped.\n")
        assert_stopped(done.stderr, tmp_path)
    assert " debug received " in (tmp_path / "d" / "server.log").read_text()


def test_a_demo_of_another_access_asks_for_no_password(tmp_path: Path) -> None:
    for access, greeting in (
        ("identify", "Welcome, ann!"),
        ("identify", "Welcome back, ann!"),
        ("anyone", "Welcome!"),
    ):
        done = run_antiphon("demo", "--access", access, home=tmp_path, stdin="hello\n", **ANN)
        assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
        assert greeting in done.stderr


def test_make_run_prints_the_answers_and_nothing_else(tmp_path: Path) -> None:
    data = tmp_path / "мои данные"
    done = subprocess.run(
        "printf 'hello\\n' | make -s run",
        shell=True,
        cwd=ROOT,
        env=clean_environment(tmp_path, ANTIPHON_DATA=str(data), **ANN),
        capture_output=True,
        encoding="utf-8",
        timeout=220,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
    assert (data / "accounts.csv").read_text("utf-8").splitlines()[1].startswith("ann,1,")
    assert (data / "clients.txt").exists()


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [("ANTIPHON_NAME", "The name is missing"), ("ANTIPHON_PASSWORD", "The password is missing")],
)
def test_what_is_missing_is_told_and_the_server_stops(tmp_path: Path, missing: str, sentence: str) -> None:
    environment = {name: value for name, value in ANN.items() if name != missing}
    done = run_antiphon("demo", home=tmp_path, **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert_stopped(done.stderr, tmp_path)


def test_a_wrong_password_at_the_second_visit_is_refused(tmp_path: Path) -> None:
    assert run_antiphon("demo", home=tmp_path, **ANN).returncode == 0
    done = run_antiphon("demo", home=tmp_path, **ANN | {"ANTIPHON_PASSWORD": "not the right one"})
    assert done.returncode == 4
    assert "Name or password is wrong." in done.stderr
    assert_stopped(done.stderr, tmp_path)


def test_a_password_of_eight_characters_is_enough(tmp_path: Path) -> None:
    done = run_antiphon("demo", home=tmp_path, stdin="hello\n", **ANN | {"ANTIPHON_PASSWORD": "eight888"})
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


def test_a_person_is_led_through_the_first_visit_and_greeted_at_the_second(tmp_path: Path) -> None:
    with Terminal("demo", home=tmp_path, USER="ann") as terminal:
        terminal.shows("A server has started at tls://localhost:", "It keeps its files in ")
        terminal.answer("Name [ann]:")
        terminal.shows("Think up a password of 8 characters or more")
        terminal.answer("New password:", "eight888")
        terminal.answer("Once more:", "eight888")
        terminal.shows("Welcome, ann! This is your first visit.")
        terminal.says("ann>", "hello")
        terminal.answer("ann>", "exit")
        terminal.shows("You have left.", "The server has stopped.")
        assert terminal.ends() == 0
    with Terminal("demo", home=tmp_path, USER="ann") as terminal:
        terminal.answer("Name [ann]:")
        terminal.answer("Password:", "eight888")
        terminal.shows("Welcome back, ann!")
        terminal.asks("ann>")
        terminal.press(CTRL_C)
        assert terminal.ends() == 130
        assert_stopped(terminal.screen, tmp_path)
    log = (tmp_path / ".local/share/antiphon/demo/server.log").read_text()
    assert log.splitlines()[-1].split(" ")[2] == "stopped"


def test_a_folder_that_cannot_be_one_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run_antiphon("demo", "--data", tmp_path / "file", home=tmp_path, **ANN)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"{tmp_path / 'file'} cannot be used: it is not a folder. "
        "Name another folder with --data, or set this one right.\n"
    )


def test_a_second_demo_prints_the_line_that_joins_the_first(tmp_path: Path) -> None:
    with Terminal("demo", home=tmp_path, **ANN) as terminal:
        terminal.says("ann>", "hello")
        done = run_antiphon("demo", home=tmp_path, stdin="hello\n", **ANN)
        assert (done.returncode, done.stdout) == (2, "")
        running, join, command = done.stderr.splitlines()
        folder = tmp_path / ".local/share/antiphon/demo"
        assert running == f"A server is running on {folder}, and there can be only one."
        assert join == "Join that one with"
        words = shlex.split(command)
        assert words[1] == "connect"
        assert words[2] in terminal.screen, "with the fingerprint"
        joined = run_antiphon(*words[1:], home=tmp_path, stdin="hello\n", **ANN)
        assert (joined.returncode, joined.stdout) == (0, "hello\n"), joined.stderr
        terminal.says("ann>", "still here")


@pytest.mark.parametrize("where", ["question", "prompt"])
def test_an_interrupt_tells_that_the_person_has_left_and_the_server_has_stopped(
    tmp_path: Path, where: str
) -> None:
    assert run_antiphon("demo", home=tmp_path, **ANN).returncode == 0
    environment = {} if where == "question" else ANN
    with Terminal("demo", home=tmp_path, **environment) as terminal:
        terminal.asks("Name" if where == "question" else "ann>")
        terminal.press(CTRL_C)
        terminal.shows("\nYou have left.\r\nThe server has stopped.\r\n")
        assert terminal.ends() == 130


def test_a_forgotten_password_is_reset_by_the_command_that_is_told(tmp_path: Path) -> None:
    assert run_antiphon("demo", home=tmp_path, **ANN).returncode == 0
    with Terminal("demo", home=tmp_path, ANTIPHON_NAME="ann") as terminal:
        for attempt in ("not the right one", "nor this one", "nor this"):
            terminal.answer("Password:", attempt)
            terminal.shows("Name or password is wrong.")
        terminal.shows("You have left.", "The server has stopped.")
        assert terminal.ends() == 4
        told = terminal.screen
    assert told.count("If you have forgotten it, set a new one with") == 1
    (command,) = [line for line in told.splitlines() if " accounts password " in line]
    folder = tmp_path / ".local/share/antiphon/demo"
    assert shlex.split(command)[1:] == ["accounts", "password", "ann", "--data", str(folder)]
    done = run_antiphon(*shlex.split(command)[1:], home=tmp_path)
    assert done.returncode == 0, done.stderr
    (made,) = done.stdout.split("\n")[:1]
    with Terminal("demo", home=tmp_path, ANTIPHON_NAME="ann") as terminal:
        terminal.answer("Password:", made.strip())
        terminal.shows("A new password must be chosen before anything else.")


def test_a_wrong_password_in_a_pipe_is_told_with_the_command_too(tmp_path: Path) -> None:
    assert run_antiphon("demo", home=tmp_path, **ANN).returncode == 0
    done = run_antiphon("demo", home=tmp_path, **ANN | {"ANTIPHON_PASSWORD": "not the right one"})
    assert (done.returncode, done.stdout) == (4, "")
    lines = done.stderr.splitlines()
    assert lines[-2:] == ["You have left.", "The server has stopped."]
    assert lines[-5].startswith("Name or password is wrong.")
    assert lines[-4] == "If you have forgotten it, set a new one with"


def test_the_accounts_of_the_demo_are_found_in_its_folder(tmp_path: Path) -> None:
    assert run_antiphon("demo", home=tmp_path, **ANN).returncode == 0
    listed = run_antiphon("accounts", "list", "--data", tmp_path / ".local/share/antiphon/demo", home=tmp_path)
    assert (listed.returncode, listed.stdout.split("\t")[0]) == (0, "ann"), listed.stderr
    lost = run_antiphon("accounts", "list", home=tmp_path)
    assert lost.returncode == 2
    assert f"no accounts are kept there; those of the demo are in {tmp_path / '.local/share/antiphon/demo'}. " in (
        lost.stderr
    )
