"""Tests of the sign-in with an invitation, on a real terminal and through pipes, and of the hint without one."""

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from antiphon.address import Address
from antiphon.errors import NameTaken, TryLater
from antiphon.identity.invitations import Code
from support.fake_servers import Peer, fake
from support.invitations import invite
from support.processes import PASSWORD, ServerProcess, run_antiphon
from support.serving import seed, serving
from support.terminal import Terminal

NOWHERE = Address("tls", "localhost", 1, "ann", "sha256:" + "A" * 43)
GIVEN: dict[str, Any] = {"ANTIPHON_PASSWORD": PASSWORD}


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that takes no new names, with an account for ann."""
    folder = tmp_path_factory.mktemp("closed") / "data"
    seed(folder)
    with ServerProcess(folder, "--registration", "closed") as server:
        yield server


def code_for(server: ServerProcess, name: str, days: float = 7) -> str:
    (code,) = invite(server.folder, name, address=server.address, days=days)
    return code.written()


def known_servers(home: Path) -> Path:
    return home / ".local" / "share" / "antiphon" / "known_servers"


# --- at a terminal ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pasted", [False, True], ids=["argument", "prompt"])
def test_a_code_does_the_rest_and_only_a_new_password_is_asked_for(
    closed: ServerProcess, tmp_path: Path, pasted: bool
) -> None:
    name = "Пётр" if pasted else "peter"
    code = code_for(closed, name)
    with Terminal("connect", *([] if pasted else [code]), home=tmp_path) as terminal:
        if pasted:
            terminal.answer("Host [localhost]:", code)
        terminal.shows(f"“{name}” is new here. Think up a password of 15 characters or more")
        terminal.answer("New password:", PASSWORD)
        terminal.answer("Once more:", PASSWORD)
        terminal.shows(f"Welcome, {name}! This is your first visit.")
        terminal.says(f"{name}>", "hello")
        terminal.answer(f"{name}>", "exit")
        assert terminal.ends() == 0
        for question in ("Port", "right one?", "Name ["):
            assert question not in terminal.screen
    place = f"localhost:{closed.address.port}"
    assert known_servers(tmp_path).read_text() == f"{place} {closed.address.fingerprint}\n"
    bare = f"{name}@localhost:{closed.address.port}"
    again = run_antiphon("connect", bare, home=tmp_path, stdin="hello\n", **GIVEN)
    assert (again.returncode, again.stdout) == (0, "hello\n"), again.stderr
    assert re.search(rf'registered name="{name}" address=\S+ invitation=yes', closed.log)
    assert code[-20:] not in closed.log


def test_a_code_that_was_used_is_told_as_such_and_its_person_signs_in(
    closed: ServerProcess, tmp_path: Path
) -> None:
    code = code_for(closed, "early")
    first = run_antiphon("connect", code, home=tmp_path, **GIVEN)
    assert first.returncode == 0, first.stderr
    with Terminal("connect", code, home=tmp_path) as terminal:
        terminal.shows("This invitation has been used already. If that was you, sign in with your password;")
        terminal.answer("Password:", PASSWORD)
        terminal.shows("Welcome back, early!")
        terminal.answer("early>", "exit")
        assert terminal.ends() == 0
        assert "New password" not in terminal.screen
        assert "does not take new names" not in terminal.screen


def test_who_has_an_account_is_told_so_and_signs_in(closed: ServerProcess, tmp_path: Path) -> None:
    with Terminal("connect", code_for(closed, "ann"), home=tmp_path) as terminal:
        terminal.shows("The name “ann” is taken. Sign in with its password")
        terminal.answer("Password:", PASSWORD)
        terminal.answer("ann>", "exit")
        assert terminal.ends() == 0


def test_a_code_that_was_not_copied_whole_is_asked_for_again(closed: ServerProcess, tmp_path: Path) -> None:
    code = code_for(closed, "slip")
    with Terminal("connect", home=tmp_path) as terminal:
        terminal.answer("Host [localhost]:", code[:-1])
        terminal.shows("This invitation is damaged: a character is missing or wrong.", "\r\n")
        terminal.answer("Host [localhost]:", code)
        terminal.asks("New password:")


def test_where_registration_is_closed_a_stranger_is_told_so_before_the_password(
    closed: ServerProcess, tmp_path: Path
) -> None:
    told = "Этот сервер не принимает новых имён. Если вас здесь ещё не знают, попросите приглашение"
    bare = f"ann@localhost:{closed.address.port}"
    with Terminal("connect", bare, "--lang", "ru", home=tmp_path) as terminal:
        terminal.answer("[д/Н]:", "д")
        assert told in terminal.shows("Пароль:")
        terminal.enter(PASSWORD)
        terminal.answer("ann>", "exit")
        assert terminal.ends() == 0
    with Terminal("connect", bare, "--lang", "ru", home=tmp_path) as terminal:
        assert told not in terminal.shows("Пароль:"), "who has been here knows it"


def test_who_says_to_be_new_is_refused_before_the_password_and_told_what_to_ask_for(
    closed: ServerProcess, tmp_path: Path
) -> None:
    with Terminal("connect", str(closed.address), "--name", "new", "--register", home=tmp_path) as terminal:
        terminal.shows("This server does not take new names. Ask its operator for an invitation.")
        assert terminal.ends() == 4
        assert "assword" not in terminal.screen


# --- through pipes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["argument", "variable", "file", "standard input"])
def test_each_way_to_give_a_code_works_without_a_terminal(closed: ServerProcess, tmp_path: Path, way: str) -> None:
    name = way.replace(" ", "-")
    code = code_for(closed, name)
    (tmp_path / "code.txt").write_text(f"{code}\n", "utf-8-sig")  # as editors of Windows write it
    options = {
        "argument": [code],
        "variable": [],
        "file": ["--invitation-file", str(tmp_path / "code.txt")],
        "standard input": ["--invitation-file", "-"],
    }
    more = GIVEN | ({"ANTIPHON_INVITATION": code} if way == "variable" else {})
    given = f"{code}\nhello\n" if way == "standard input" else "hello\n"
    for visit in ("Welcome, ", "Welcome back, "):
        done = run_antiphon("connect", *options[way], "--no-input", home=tmp_path, stdin=given, **more)
        assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
        assert visit + name in done.stderr
    assert "This invitation has been used already." in done.stderr


@pytest.mark.parametrize(
    ("days", "told"), [(-1, "This invitation has expired."), (None, "The server does not accept this invitation")]
)
def test_a_code_that_lets_nobody_in_is_refused_before_a_password_is_wanted(
    closed: ServerProcess, tmp_path: Path, days: float | None, told: str
) -> None:
    code = code_for(closed, "stale", days=-1 if days is None else days)
    if days is None:
        code_for(closed, "stale")  # which replaces it
    done = run_antiphon("connect", code, home=tmp_path)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith(told)
    assert "Ask its operator for another one." in done.stderr
    assert code[-20:] not in done.stderr


def test_a_password_that_the_rules_do_not_allow_leaves_the_code_unused(
    closed: ServerProcess, tmp_path: Path
) -> None:
    code = code_for(closed, "hasty")
    short = run_antiphon("connect", code, home=tmp_path, ANTIPHON_PASSWORD="short")
    assert short.returncode == 2
    assert "fewer than 15 characters" in short.stderr
    assert run_antiphon("connect", code, home=tmp_path, **GIVEN).returncode == 0


def test_a_used_code_lets_nobody_in_with_another_password(closed: ServerProcess, tmp_path: Path) -> None:
    code = code_for(closed, "owner")
    assert run_antiphon("connect", code, home=tmp_path, **GIVEN).returncode == 0
    thief = run_antiphon("connect", code, home=tmp_path / "thief", ANTIPHON_PASSWORD="another password, long")
    assert thief.returncode == 4
    assert [line.split(".")[0] for line in thief.stderr.splitlines()] == [
        "This invitation has been used already",
        "Name or password is wrong",
    ]


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (["CODE", "--name", "bob"], {}, "The invitation is for “ann”, and not for “bob”."),
        (["localhost"], {"ANTIPHON_INVITATION": "CODE"}, "Give an address or an invitation, not both"),
        (["CODEx"], {}, "This invitation is damaged:"),
        ([], {"ANTIPHON_INVITATION": ""}, "This invitation is damaged:"),
        (["--invitation-file", "nothing.txt"], {}, "--invitation-file nothing.txt: No such file or directory"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence_without_the_code(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], sentence: str
) -> None:
    code = Code.make(NOWHERE, bytes).written()
    filled: dict[str, Any] = {name: value.replace("CODE", code) for name, value in environment.items()}
    words = [word.replace("CODE", code) for word in arguments]
    done = run_antiphon("connect", *words, home=tmp_path, **filled)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(sentence)
    assert len(done.stderr.splitlines()) == 1
    assert code[-20:] not in done.stderr


# --- another server -----------------------------------------------------------------------------------------


def test_a_server_with_another_key_is_refused_and_learns_nothing(tmp_path: Path) -> None:
    def listen(peer: Peer) -> None:
        peer.hello()
        assert peer.rest() == b""

    with fake(listen, tmp_path / "fake") as there:
        (code,) = invite(
            tmp_path / "data", "ann", address=replace(there.address, fingerprint="sha256:" + "A" * 43)
        )
        done = run_antiphon("connect", code.written(), home=tmp_path, **GIVEN)
    assert done.returncode == 5
    assert "this may be an impostor. Ask the operator." in done.stderr
    assert len(there.peers) == 1
    assert not known_servers(tmp_path).exists()


def test_a_server_that_takes_no_invitations_is_not_shown_one(tmp_path: Path) -> None:
    def listen(peer: Peer) -> None:
        peer.hello(features=[])
        assert peer.rest() == b""

    with fake(listen) as there:
        (code,) = invite(tmp_path / "data", "ann", address=there.address)
        done = run_antiphon("connect", code.written(), home=tmp_path, **GIVEN)
    assert done.returncode == 4
    assert done.stderr.startswith("The server does not accept this invitation")


def test_where_nobody_listens_is_told_as_with_an_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (code,) = invite(tmp_path / "data", "ann", address=replace(NOWHERE, port=port))
    done = run_antiphon("connect", code.written(), home=tmp_path, **GIVEN)
    assert done.returncode == 3
    assert done.stderr.startswith(f"Nobody answers at tls://localhost:{port}")


# --- a busy server ------------------------------------------------------------------------------------------


def later(work: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    """Return `work`, except that its first call raises `TryLater`, `after` the work or instead of it."""
    called = False

    async def busy(*arguments: Any, **named: Any) -> Any:
        nonlocal called
        if called:
            return await work(*arguments, **named)
        called = True
        if after:
            await work(*arguments, **named)
        raise TryLater(wait=0.1)

    return busy


@pytest.mark.parametrize(
    ("part", "method", "after"),
    [
        ("invitations", "find", False),
        ("accounts", "register", False),
        ("accounts", "register", True),
        ("accounts", "visited", False),
    ],
)
def test_a_server_that_says_later_is_asked_again_and_nobody_notices(
    tmp_path: Path, part: str, method: str, after: bool
) -> None:
    with serving(tmp_path / "data", plain=True, registration="closed") as server:
        (code,) = invite(tmp_path / "data", "ann", address=server.address)
        target = getattr(server.server._store, part)
        setattr(target, method, later(getattr(target, method), after=after))
        done = run_antiphon("connect", code.written(), home=tmp_path, stdin="hello\n", **GIVEN)
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
    assert "The server cannot do this now.\nTrying again in 0.1 s.\n" in done.stderr
    assert "This is your first visit." in done.stderr


def test_a_name_that_somebody_else_has_just_taken_is_told_as_taken(tmp_path: Path) -> None:
    async def taken(*_: Any, **__: Any) -> None:
        raise NameTaken(name="ann")

    with serving(tmp_path / "data", plain=True) as server:
        server.server._store.accounts.register = taken  # type: ignore[assignment,method-assign]
        done = run_antiphon("connect", str(server.address), "--name", "ann", "--register", home=tmp_path, **GIVEN)
    assert done.returncode == 4
    assert done.stderr.startswith("The name “ann” is taken.")
