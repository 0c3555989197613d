"""Tests of the interactive sign-in on a real terminal: its questions, refusals, second tries and messages."""

import re
import signal
from pathlib import Path
from typing import Any

import pytest

from antiphon.address import parse
from antiphon.server.session import manager
from antiphon.terminal.last_names import MOST, LastNames
from support.processes import ANTIPHON, PASSWORD, ServerProcess, run_antiphon, sockets
from support.serving import fail, forgive, seed, serving
from support.terminal import CTRL_C, CTRL_D, Terminal

ANN: dict[str, Any] = {"ANTIPHON_NAME": "ann", "ANTIPHON_PASSWORD": PASSWORD}


def signed_in(address: object, home: Path, *, password: str = PASSWORD, **environment: Any) -> str:
    """Sign in to `address`, send one line, leave; return the content of the screen."""
    with Terminal("connect", str(address), home=home, ANTIPHON_PASSWORD=password, **environment) as terminal:
        terminal.says(">", "one line")
        terminal.answer(">", "exit")
        terminal.shows("You have left.")
        assert terminal.ends() == 0
        return terminal.screen


# --- where and who ------------------------------------------------------------------------------------------


def test_host_port_name_and_password_are_asked_for_and_enter_takes_the_default(
    server: ServerProcess, tmp_path: Path
) -> None:
    with Terminal("connect", home=tmp_path, USER="ann") as terminal:
        terminal.answer("Host [localhost]:")
        terminal.answer("Port [7862]:", str(server.address.port))
        terminal.answer("Is it the right one? [y/N]:", "y")
        terminal.answer("Name [ann]:")
        terminal.answer("Password:", PASSWORD)
        terminal.shows(f"Connected to tls://localhost:{server.address.port}.", "ann!", "exit leaves.")
        terminal.says("ann>", "hello")
        terminal.answer("ann>", "exit")
        assert terminal.ends() == 0


def test_what_a_person_says_of_one_server_counts_for_no_other(server: ServerProcess, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as first:
        places = ",".join(f"localhost:{each.address.port}" for each in (first, server))
        with Terminal("connect", places, home=tmp_path) as terminal:
            terminal.answer("Is it the right one? [y/N]:", "y")
            terminal.asks("Name")
            first.kill()
            terminal.enter("ann")
            terminal.shows(f"Nobody answers at tls://localhost:{first.address.port}: nothing listens there.")
            assert terminal.ends() == 3


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        ("two words", "“two words” is not an address: its host has a character that no host name can have."),
        ("nosuch.invalid", "There is no host “nosuch.invalid”."),
        ("host:70000", "“70000” is not a port."),
    ],
)
def test_a_host_that_cannot_be_is_refused_and_asked_again(tmp_path: Path, answer: str, refusal: str) -> None:
    with Terminal("connect", home=tmp_path) as terminal:
        terminal.answer("Host [localhost]:", answer)
        terminal.shows(refusal, "\r\n")
        terminal.answer("Host [localhost]:")
        terminal.asks("Port [7862]:")


def test_a_port_that_cannot_be_is_refused_and_asked_again(tmp_path: Path) -> None:
    with Terminal("connect", home=tmp_path) as terminal:
        terminal.answer("Host [localhost]:")
        for answer in ("letters", "70000", "0", "-1", "80 80"):
            terminal.answer("Port [7862]:", answer)
            terminal.shows(f"“{answer}” is not a port. Give a whole number from 1 to 65535.")
        terminal.asks("Port [7862]:")


def test_an_address_that_holds_a_port_and_a_name_answers_all_three(server: ServerProcess, tmp_path: Path) -> None:
    with Terminal("connect", home=tmp_path) as terminal:
        terminal.answer("Host [localhost]:", str(server.address).replace("://", "://ann@"))
        terminal.answer("Password:", PASSWORD)
        terminal.asks("ann>")
        assert "Port" not in terminal.screen
        assert "Name" not in terminal.screen


def test_a_name_that_nobody_can_have_is_refused_and_asked_again(server: ServerProcess, tmp_path: Path) -> None:
    with Terminal("connect", str(server.address), home=tmp_path, USER="not a name") as terminal:
        for answer in ("", "two words", "Ваdим"):
            terminal.answer("Name:", answer)
            terminal.shows(f"“{answer}” cannot be a name:", "without spaces.")
        terminal.answer("Name:", "ann")
        terminal.asks("Password:")


def test_no_connection_is_held_while_a_person_types(server: ServerProcess, tmp_path: Path) -> None:
    bare = f"localhost:{server.address.port}"
    with Terminal("connect", bare, home=tmp_path) as terminal:
        answers = [
            ("right one? [y/N]:", "y"),
            ("Name", "typist"),
            ("New password:", PASSWORD),
            ("Once more:", PASSWORD),
        ]
        for question, answer in answers:
            terminal.asks(question)
            assert sockets(terminal.process.pid) == 0, question
            terminal.enter(answer)
        terminal.asks("typist>")
        assert sockets(terminal.process.pid) == 1


def test_nothing_is_asked_when_all_is_given(server: ServerProcess, tmp_path: Path) -> None:
    assert signed_in(server.address, tmp_path, ANTIPHON_NAME="ann").startswith("Connected to ")


def test_no_input_asks_nothing_on_a_terminal(server: ServerProcess, tmp_path: Path) -> None:
    with Terminal("connect", str(server.address), "--no-input", home=tmp_path) as terminal:
        terminal.shows("The name is missing, and there is no terminal to ask at. Give it by --name, ANTIPHON_NAME")
        assert terminal.ends() == 2


@pytest.mark.parametrize(("key", "code"), [(CTRL_C, 130), (CTRL_D, 2)])
def test_a_question_can_be_left(server: ServerProcess, tmp_path: Path, key: str, code: int) -> None:
    with Terminal("connect", str(server.address), home=tmp_path) as terminal:
        terminal.asks("Name")
        terminal.press(key)
        assert terminal.ends() == code
        assert ("The input ended before an answer came." in terminal.screen) == (code == 2)


# --- the first visit and the next ones ----------------------------------------------------------------------


def test_the_steps_of_a_first_visit_are_shown_and_the_second_one_is_greeted_by_name(
    server: ServerProcess, tmp_path: Path
) -> None:
    address = str(server.address)
    with Terminal("connect", address, home=tmp_path) as terminal:
        terminal.answer("Name", "Вадим")
        terminal.shows("“Вадим” is new here. Think up a password of 15 characters or more, or press Enter for a")
        terminal.answer("New password:", "short")
        terminal.shows("This password cannot be used: it has fewer than 15 characters.")
        terminal.answer("New password:", PASSWORD)
        terminal.answer("Once more:", PASSWORD + "!")
        terminal.shows("The two passwords differ. Once again:")
        terminal.answer("New password:", PASSWORD)
        terminal.answer("Once more:", PASSWORD)
        terminal.shows("The password is kept. Now you sign in with it.")
        terminal.shows("Welcome, Вадим! This is your first visit.")
        terminal.says("Вадим>", "привет")
        terminal.answer("Вадим>", "exit")
        assert terminal.ends() == 0
        assert PASSWORD not in terminal.raw
    with Terminal("connect", address, home=tmp_path) as terminal:
        terminal.answer("Name", "вадим")
        terminal.answer("Password:", "not the right one")
        terminal.shows("Name or password is wrong.")
        terminal.answer("Password:", PASSWORD)
        terminal.matches(
            r"Welcome back, Вадим! Your last visit was on \d{4}-\d\d-\d\d \d\d:\d\d UTC from 127\.0\.0\.1:?\d*\. "
        )
        terminal.shows("One sign-in under your name has been refused since.")
        terminal.answer("Вадим>", "exit")
        assert terminal.ends() == 0
        assert PASSWORD not in terminal.raw


def test_enter_makes_a_passphrase_that_is_shown_once_and_works(server: ServerProcess, tmp_path: Path) -> None:
    with Terminal("connect", str(server.address), home=tmp_path) as terminal:
        terminal.answer("Name", "careless")
        terminal.answer("New password:")
        made = terminal.matches(r"Your passphrase, shown only this once:\r\n    ([a-z-]{29})\r\n")[1]
        terminal.shows("This is your first visit.")
        terminal.answer("careless>", "exit")
        assert terminal.ends() == 0
        assert terminal.screen.count(made) == 1
    assert "Welcome back" in signed_in(server.address, tmp_path, password=made, ANTIPHON_NAME="careless")


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_the_password_is_shown_nowhere(server: ServerProcess, tmp_path: Path, term: str) -> None:
    installed = (ANTIPHON, "connect", str(server.address))  # a forked process shows the command line of its parent
    with Terminal(*installed, command="/usr/bin/env", home=tmp_path, TERM=term) as terminal:
        terminal.answer("Name", "ann")
        terminal.asks("Password:")
        for key in PASSWORD:  # one by one, like a typing person
            terminal.press(key)
        terminal.enter()
        terminal.asks("ann>")
        assert PASSWORD not in terminal.screen
        command = Path(f"/proc/{terminal.process.pid}/cmdline").read_bytes()
        assert b"connect" in command
        assert PASSWORD.encode() not in command
    assert PASSWORD not in server.log


def test_three_wrong_passwords_end_the_program(server: ServerProcess, tmp_path: Path) -> None:
    with Terminal("connect", str(server.address), home=tmp_path, ANTIPHON_NAME="ann") as terminal:
        for _ in range(3):
            terminal.answer("Password:", "not the right one")
            terminal.shows("Name or password is wrong. Try again; if you have forgotten the password, ask")
        assert terminal.ends() == 4
        assert terminal.screen.count("Password:") >= 3


def test_the_password_of_a_file_that_is_standard_input_is_hidden_too(
    server: ServerProcess, tmp_path: Path
) -> None:
    with Terminal(
        "connect", str(server.address), "--name", "ann", "--password-file", "-", home=tmp_path
    ) as terminal:
        terminal.answer("Password:", PASSWORD)
        terminal.asks("ann>")
        assert PASSWORD not in terminal.raw


# --- too many failures --------------------------------------------------------------------------------------


def test_a_short_pause_that_the_server_asks_for_is_waited_out(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:
        fail(tmp_path / "data", "ann", 7)
        shown = signed_in(server.address, tmp_path, ANTIPHON_NAME="ann")
    assert "Too many sign-ins under this name have failed; this one was not checked." in shown
    assert re.search(r"Trying again in [1-4] s\.", shown)


def test_a_long_pause_is_told_in_the_language_of_the_person_and_costs_no_try(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:
        fail(tmp_path / "data", "ann", 20)
        address = str(server.address)
        with Terminal("connect", address, "--lang", "ru", home=tmp_path, ANTIPHON_NAME="ann") as terminal:
            for _ in range(4):
                terminal.answer("Пароль:", PASSWORD)
                terminal.matches(r"Слишком много неудачных .* Попробуйте снова через 3[56]\d\d с\.")
            forgive(tmp_path / "data", "ann")
            terminal.answer("Пароль:", PASSWORD)
            terminal.answer("ann>", "exit")
            assert terminal.ends() == 0


@pytest.mark.parametrize(
    ("failures", "told"),
    [(20, "Try again in 3"), (100, "this name is locked")],
)
def test_a_password_that_was_given_is_not_tried_for_an_hour(tmp_path: Path, failures: int, told: str) -> None:
    seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:
        fail(tmp_path / "data", "ann", failures)
        with Terminal("connect", str(server.address), home=tmp_path, **ANN) as terminal:
            assert terminal.ends() == 4
            assert told.lower() in terminal.screen.lower()
            assert "Password" not in terminal.screen


def test_a_locked_name_is_told_and_no_further_password_asked_for(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:
        fail(tmp_path / "data", "ann", 100)
        with Terminal("connect", str(server.address), home=tmp_path, ANTIPHON_NAME="ann") as terminal:
            terminal.answer("Password:", PASSWORD)
            terminal.shows("This name is locked: too many sign-ins under it have failed.")
            assert terminal.ends() == 4


# --- trust --------------------------------------------------------------------------------------------------


def known_servers(home: Path) -> Path:
    return home / ".local" / "share" / "antiphon" / "known_servers"


def test_an_unknown_key_is_asked_about_and_a_no_is_the_end(server: ServerProcess, tmp_path: Path) -> None:
    for answer in ("n", "", "что"):
        with Terminal("connect", f"localhost:{server.address.port}", home=tmp_path, **ANN) as terminal:
            terminal.shows("The server localhost is new here. Its key is", str(server.address.fingerprint))
            terminal.answer("Is it the right one? [y/N]:", answer)
            terminal.shows(f"The key of localhost is not known here: {server.address.fingerprint}.")
            assert terminal.ends() == 5
    assert not known_servers(tmp_path).exists()


def test_a_key_that_was_taken_is_known_for_host_and_port_and_a_changed_one_is_refused(
    server: ServerProcess, tmp_path: Path
) -> None:
    folder, place = tmp_path / "data", f"localhost:{server.address.port}"
    seed(folder)
    with ServerProcess(folder) as other:
        for port, key in (
            (other.address.port, other.address.fingerprint),
            (server.address.port, server.address.fingerprint),
        ):
            with Terminal("connect", f"localhost:{port}", home=tmp_path, **ANN) as terminal:
                terminal.shows("The server localhost is new here. Its key is", str(key))
                terminal.answer("Is it the right one? [y/N]:", "y")
                terminal.answer("ann>", "exit")
                assert terminal.ends() == 0
        assert known_servers(tmp_path).read_text() == (
            f"localhost:{other.address.port} {other.address.fingerprint}\n{place} {server.address.fingerprint}\n"
        )
        assert "new here" not in signed_in(place, tmp_path, ANTIPHON_NAME="ann")
        known_servers(tmp_path).write_text(f"# mine\n{place} {other.address.fingerprint} the old one\n")
    with Terminal("connect", place, home=tmp_path, **ANN) as terminal:
        terminal.shows(
            f"The key of localhost is {server.address.fingerprint}, and {other.address.fingerprint} was expected: "
        )
        assert terminal.ends() == 5
        said = " ".join(terminal.screen.split())
        assert f"antiphon known-servers forget {place} (lines of {known_servers(tmp_path)}: 2)." in said


def test_a_fingerprint_in_the_address_is_taken_as_it_is(server: ServerProcess, tmp_path: Path) -> None:
    assert "new here" not in signed_in(server.address, tmp_path, ANTIPHON_NAME="ann")


def test_another_fingerprint_than_the_address_has_is_refused(server: ServerProcess, tmp_path: Path) -> None:
    address = re.sub(r"#sha256:.*", f"#sha256:{'A' * 43}", str(server.address))
    with Terminal("connect", address, home=tmp_path, **ANN) as terminal:
        terminal.shows("was expected: this may be an impostor.")
        assert terminal.ends() == 5


def test_a_file_of_known_servers_that_cannot_be_read_is_refused_in_one_sentence(
    server: ServerProcess, tmp_path: Path
) -> None:
    with Terminal(
        "connect", f"localhost:{server.address.port}", "--known-servers", tmp_path, home=tmp_path, **ANN
    ) as terminal:
        terminal.shows(f"{tmp_path} cannot be used: it is a folder. Fix it, or name another file with")
        assert terminal.ends() == 2


def test_a_file_of_known_servers_that_cannot_be_written_stops_nobody(
    server: ServerProcess, tmp_path: Path
) -> None:
    missing = Path("/proc/nothing/known_servers")
    with Terminal("connect", str(server.address), "--known-servers", missing, home=tmp_path, **ANN) as terminal:
        terminal.shows(f"{missing} cannot be used: ")
        terminal.says("ann>", "hello")
        terminal.answer("ann>", "exit")
        assert terminal.ends() == 0


def test_a_server_that_stops_at_the_name_is_told_of_at_the_next_step(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with (
        ServerProcess(tmp_path / "data") as server,
        Terminal("connect", str(server.address), home=tmp_path) as terminal,
    ):
        terminal.asks("Name")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0, "nobody holds it"
        terminal.enter("ann")
        terminal.shows("Nobody answers at ")
        assert terminal.ends() == 3


# --- as many sessions as there may be -------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["y", "n"])
def test_where_all_sessions_are_used_a_person_is_asked_whether_to_end_the_oldest(
    tmp_path: Path, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "SESSIONS_MOST", 1)
    seed(tmp_path / "data", sessions=0)
    with (
        serving(tmp_path / "data") as server,
        Terminal("connect", str(server.address), home=tmp_path, **ANN) as used,
    ):
        used.says("ann>", "hello")
        with Terminal("connect", str(server.address), home=tmp_path, **ANN) as new:
            new.shows("The limit of sessions (1) is reached, and all of them are in use.")
            new.answer("End the oldest one? [y/N]:", answer)
            if answer == "y":
                new.says("ann>", "hello")
                used.shows("A newer session has replaced this one")
                assert used.ends() == 4
                new.answer("ann>", "exit")
                assert new.ends() == 0
            else:
                new.shows("Leave one of them")
                assert new.ends() == 4
                used.says("ann>", "still here")


# --- the name used last --------------------------------------------------------------------------------------


def test_the_name_used_last_is_the_default_at_its_server_and_elsewhere(
    server: ServerProcess, tmp_path: Path
) -> None:
    seed(tmp_path / "data", "bob")
    with ServerProcess(tmp_path / "data") as other:
        for default, running, typed in (("me", server, "ann"), ("ann", other, "bob"), ("ann", server, "")):
            with Terminal("connect", str(running.address), home=tmp_path, USER="me") as terminal:
                terminal.answer(f"Name [{default}]:", typed)
                terminal.answer("Password:", PASSWORD)
                terminal.answer(f"{typed or default}>", "exit")
                assert terminal.ends() == 0
        with Terminal("connect", str(other.address), home=tmp_path, USER="me") as terminal:
            terminal.asks("Name [bob]:")
    path = tmp_path / ".local" / "share" / "antiphon" / "last_names"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().splitlines() == [
        f"localhost:{other.address.port} bob",
        f"localhost:{server.address.port} ann",
    ]


def test_a_script_changes_no_default(server: ServerProcess, tmp_path: Path) -> None:
    assert run_antiphon("connect", str(server.address), home=tmp_path, **ANN).returncode == 0
    assert not list(tmp_path.rglob("last_names"))


@pytest.mark.parametrize("content", [b"\xff\xfe", b"localhost:1 two words\n", b"nonsense", b"x" * 70_000])
def test_a_file_of_last_names_that_cannot_be_read_is_passed_over(
    server: ServerProcess, tmp_path: Path, content: bytes
) -> None:
    folder = tmp_path / ".local" / "share" / "antiphon"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "last_names").write_bytes(content)
    (folder / "last_names").chmod(0o600)
    with Terminal("connect", str(server.address), home=tmp_path, USER="me") as terminal:
        terminal.asks("Name [me]:")


def test_a_lying_server_writes_no_line_into_the_last_names(tmp_path: Path) -> None:
    names = LastNames(tmp_path / "known_servers")
    names.remember(parse("tls://here:1"), "ann\nbank:443 mallory")
    assert not (tmp_path / "last_names").exists()
    names.remember(parse("tls://here:1"), "ann")
    for port in range(2, MOST + 3):
        names.remember(parse(f"tls://here:{port}"), "bob")
    assert len((tmp_path / "last_names").read_text().splitlines()) == MOST
    assert names.find(parse("tls://HERE:5")) == "bob"
