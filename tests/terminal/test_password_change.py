"""Tests of the password change on a terminal, on request and when it is required."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from antiphon.errors import ChangeUnknown
from antiphon.identity.passwords import Password
from antiphon.terminal.console import Console
from antiphon.terminal.password_change import InteractivePasswordChange
from antiphon.wire.bodies import Error, ServerBye, Welcome
from support.processes import PASSWORD
from support.serving import Serving, seed, serving
from support.terminal import CTRL_C, CTRL_D, Terminal

NEW = "a staple of that battery"
ANN: dict[str, Any] = {"ANTIPHON_NAME": "ann", "ANTIPHON_PASSWORD": PASSWORD}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    """Run a new server for each test that changes a password."""
    seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:
        yield server


def lets_in(server: Serving, password: str, name: str = "ann") -> bool:
    with server.client() as client:
        client.hello()
        body = client.authenticate(name, password)
        assert isinstance(body, Welcome | Error)
        return isinstance(body, Welcome)


def test_a_word_changes_the_password_and_ends_the_other_sessions(server: Serving, tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data", "bob")
    with Terminal("connect", str(server.address), home=tmp_path, **ANN | {"ANTIPHON_NAME": "bob"}) as terminal:
        with server.session(token) as other:
            terminal.says("bob>", "hello")
            terminal.answer("bob>", "/password")
            terminal.answer("Old password:", PASSWORD)
            terminal.shows("Think up a password of 15 characters or more")
            terminal.answer("New password:", "passwordpassword")
            terminal.shows("it is among the passwords that are guessed first.")
            terminal.answer("New password:", PASSWORD)
            terminal.shows("it is the one that you have now.")
            terminal.answer("New password:", NEW)
            terminal.answer("Once more:", NEW)
            terminal.shows("The password is changed; your other sessions have ended.")
            assert other.body() == ServerBye(reason="revoked", cause="password")
        terminal.says("bob>", "and on it goes")
        terminal.says("bob>", "//password", "/password")
        terminal.answer("bob>", "exit")
        assert terminal.ends() == 0
        assert PASSWORD not in terminal.raw
        assert NEW not in terminal.raw
    assert lets_in(server, NEW, "bob")
    assert not lets_in(server, PASSWORD, "bob")


def test_a_word_ends_the_other_sessions_and_no_more(server: Serving, tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data", "bob")
    with Terminal("connect", str(server.address), home=tmp_path, **ANN | {"ANTIPHON_NAME": "bob"}) as terminal:
        with server.session(token) as other:
            terminal.answer("bob>", "/end-others")
            terminal.shows("Sessions ended: 1.")
            assert other.body() == ServerBye(reason="revoked", cause="elsewhere")
        terminal.says("bob>", "//end-others", "/end-others")
        terminal.answer("bob>", "/end-others")
        terminal.shows("Sessions ended: 0.")
        terminal.says("bob>", "and on it goes")


@pytest.mark.parametrize("keys", ["\r", CTRL_C, CTRL_D])
def test_a_change_can_be_left_at_the_first_question(server: Serving, tmp_path: Path, keys: str) -> None:
    with Terminal("connect", str(server.address), home=tmp_path, **ANN) as terminal:
        terminal.answer("ann>", "/password")
        terminal.asks("Old password:")
        terminal.press(keys)
        terminal.shows("The password was not changed.")
        terminal.says("ann>", "hello")


def test_a_change_can_be_left_later_and_a_wrong_old_password_costs_no_conversation(
    server: Serving, tmp_path: Path
) -> None:
    with Terminal("connect", str(server.address), home=tmp_path, **ANN) as terminal:
        terminal.answer("ann>", "/password")
        terminal.answer("Old password:", "not the right one")
        terminal.shows("Name or password is wrong.", "The password was not changed.")
        terminal.answer("ann>", "/password")
        terminal.answer("Old password:", PASSWORD)
        terminal.asks("New password:")
        terminal.press(CTRL_C)
        terminal.shows("The password was not changed.")
        terminal.says("ann>", "hello")
        terminal.answer("ann>", "exit")
        assert terminal.ends() == 0
    assert lets_in(server, PASSWORD)


def test_a_password_that_is_due_is_asked_for_after_the_sign_in_and_the_old_one_typed_once(
    server: Serving, tmp_path: Path
) -> None:
    seed(tmp_path / "data", "due", must_change=True)
    with Terminal("connect", str(server.address), home=tmp_path, ANTIPHON_NAME="due") as terminal:
        terminal.answer("Password:", PASSWORD)
        terminal.shows("A new password must be chosen before anything else.")
        terminal.answer("New password:", PASSWORD)
        terminal.shows("it is the one that you have now.")
        terminal.answer("New password:")
        made = terminal.matches(r"Your passphrase, shown only this once:\r\n    ([a-z-]{29})\r\n")[1]
        terminal.shows("The password is changed")
        terminal.says("due>", "hello")
        terminal.answer("due>", "exit")
        assert terminal.ends() == 0
        assert "Old password" not in terminal.screen
    with Terminal(
        "connect", str(server.address), home=tmp_path, ANTIPHON_NAME="due", ANTIPHON_PASSWORD=made
    ) as terminal:
        terminal.says("due>", "hello")  # no change is required any more
        assert "New password" not in terminal.screen


@pytest.mark.parametrize(("keys", "code"), [(CTRL_C, 130), (CTRL_D, 2)])
def test_who_does_not_choose_a_due_password_is_asked_again_next_time(
    server: Serving, tmp_path: Path, keys: str, code: int
) -> None:
    seed(tmp_path / "data", "due", must_change=True)
    environment = ANN | {"ANTIPHON_NAME": "due"}
    with Terminal("connect", str(server.address), home=tmp_path, **environment) as terminal:
        terminal.asks("New password:")
        terminal.press(keys)
        assert terminal.ends() == code
    with Terminal("connect", str(server.address), home=tmp_path, LANG="ru_RU.UTF-8", **environment) as terminal:
        terminal.shows("Прежде всего нужно выбрать новый пароль.")
        terminal.asks("Новый пароль:")


async def test_where_nobody_knows_whether_it_was_changed_nothing_else_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Unanswered(InteractivePasswordChange):
        async def _change(self, _old: Password, _new: Password | None) -> None:
            raise ChangeUnknown

    async def typed(_console: Console, _question: str) -> str:
        return PASSWORD

    monkeypatch.setattr(Console, "ask_secret", typed)
    session: Any = SimpleNamespace(
        info=SimpleNamespace(name="ann"), connection=SimpleNamespace(closed=asyncio.Future())
    )
    await Unanswered(Console("en"), session, 1.0, old=Password(PASSWORD), new=None).requested()
    told = " ".join(capsys.readouterr().err.split())
    assert told.startswith("It is not known whether the password was changed")
    assert "was not changed" not in told
