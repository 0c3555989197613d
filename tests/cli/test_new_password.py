"""Tests of new passwords without a terminal: which are refused, and how a required one is given."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import PasswordDue
from support.processes import PASSWORD, ServerProcess, run_antiphon
from support.serving import Serving, seed, serving

NEW = "a staple of that battery"
COMMON = "This password cannot be used: it is among the passwords that are guessed first."
ANN: dict[str, Any] = {"ANTIPHON_NAME": "ann", "ANTIPHON_PASSWORD": PASSWORD}


@pytest.fixture
def due(tmp_path: Path) -> Iterator[Serving]:
    """Run a server where ann has to change her password."""
    seed(tmp_path / "data", must_change=True)
    with serving(tmp_path / "data", plain=True) as server:
        yield server


def connect(server: Serving, home: Path, *options: str, stdin: str = "hello\n", **environment: str) -> Any:
    return run_antiphon("connect", str(server.address), *options, home=home, stdin=stdin, **ANN | environment)


def test_without_a_new_one_a_due_password_is_an_error_that_says_how_to_give_it(
    due: Serving, tmp_path: Path
) -> None:
    done = connect(due, tmp_path)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.splitlines()[-1] == str(PasswordDue())
    assert "--new-password-file or ANTIPHON_NEW_PASSWORD" in done.stderr


def test_a_new_one_is_taken_from_a_file_and_only_where_it_is_due(due: Serving, tmp_path: Path) -> None:
    (tmp_path / "new").write_text(NEW + "\n")
    done = connect(due, tmp_path, "--new-password-file", str(tmp_path / "new"))
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
    assert "The password is changed" in done.stderr
    again = connect(due, tmp_path, ANTIPHON_PASSWORD=NEW, ANTIPHON_NEW_PASSWORD="short")
    assert (again.returncode, again.stdout) == (0, "hello\n"), again.stderr


def test_both_may_come_from_standard_input_before_the_messages(due: Serving, tmp_path: Path) -> None:
    stdin = f"{PASSWORD}\n{NEW}\nhello\n"
    done = connect(due, tmp_path, "--password-file", "-", "--new-password-file", "-", stdin=stdin)
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        ("passwordpassword", COMMON),
        (PASSWORD, "This password cannot be used: it is the one that you have now."),
        ("short", "This password cannot be used: it has fewer than 15 characters."),
    ],
)
def test_a_new_one_that_cannot_be_chosen_is_refused_and_the_old_one_stays(
    due: Serving, tmp_path: Path, new: str, problem: str
) -> None:
    done = connect(due, tmp_path, ANTIPHON_NEW_PASSWORD=new)
    assert (done.returncode, done.stdout) == (2, "")
    assert problem in done.stderr
    assert connect(due, tmp_path).returncode == 4  # the change is still required


def test_the_word_that_changes_the_password_is_a_message_in_a_pipe(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:
        done = connect(server, tmp_path, stdin="/password\n//password\n")
    assert (done.returncode, done.stdout) == (0, "/password\n//password\n")


def test_a_common_password_registers_nobody(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("Password Password\n")
    with serving(tmp_path / "data", plain=True) as server:
        done = run_antiphon(
            "connect", str(server.address), "--register", "--name", "hasty",
            "--password-file", tmp_path / "password", home=tmp_path,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(COMMON)
        assert "hasty" not in server.log()


@pytest.mark.parametrize(
    ("password", "problem"), [("123456789012345", COMMON), ("konstantin12345", "without the account's name in it")]
)
def test_the_operator_is_held_to_the_same_rules(tmp_path: Path, password: str, problem: str) -> None:
    done = run_antiphon(
        "accounts", "add", "Konstantin", "--password-file", "-", "--data", tmp_path / "data",
        home=tmp_path, stdin=password,
    )  # fmt: skip
    assert done.returncode == 2
    assert problem in done.stderr
    listed = run_antiphon("accounts", "list", "--data", tmp_path / "data", home=tmp_path)
    assert listed.stdout == ""


def test_an_operator_s_reset_has_to_be_changed_at_the_next_sign_in(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with ServerProcess(tmp_path / "data", "--plain") as server:
        made = run_antiphon("accounts", "password", "ann", "--data", server.folder, home=tmp_path).stdout.strip()
        address = str(server.address)
        environment = ANN | {"ANTIPHON_PASSWORD": made}
        refused = run_antiphon("connect", address, home=tmp_path, stdin="hello\n", **environment)
        assert (refused.returncode, refused.stdout) == (4, "")
        changed = run_antiphon(
            "connect", address, home=tmp_path, stdin="hello\n", ANTIPHON_NEW_PASSWORD=NEW, **environment
        )
        assert (changed.returncode, changed.stdout) == (0, "hello\n"), changed.stderr
        log = server.log
        assert "password-reset" in log
        server.logged('password-changed name="ann" address=127.0.0.1:')
        for secret in (made, NEW, PASSWORD):
            assert secret not in log
