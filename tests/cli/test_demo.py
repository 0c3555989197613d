"""Tests of `antiphon demo`, which `make run` starts: a server and a client as one command."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.processes import PASSWORD, clean_environment, run_antiphon
from support.terminal import CTRL_C, Terminal

ROOT = Path(__file__).parents[2]
ANN: dict[str, Any] = {"ANTIPHON_NAME": "ann", "ANTIPHON_PASSWORD": PASSWORD}


def port_of(told: str) -> int:
    """Return the port of the demo's server, from its output."""
    found = re.search(r"tls://localhost:(\d+)#", told)
    assert found, told
    return int(found[1])


def assert_stopped(told: str, home: Path) -> None:
    done = run_antiphon("connect", f"localhost:{port_of(told)}", home=home, **ANN)
    assert "nothing listens there" in done.stderr


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
        timeout=120,
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
        "Name another folder with --data, or make room for this one.\n"
    )


def test_a_second_demo_beside_the_first_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with Terminal("demo", home=tmp_path, **ANN) as terminal:
        terminal.says("ann>", "hello")
        done = run_antiphon("demo", home=tmp_path, stdin="hello\n", **ANN)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            f"A server is running on {tmp_path / '.local/share/antiphon/demo'}, and there can be only one. "
            "Stop that one first, or give this one another folder.\n"
        )
        terminal.says("ann>", "still here")
