"""Tests of the sign-in by name: a person is asked if no name or several are known, a pipe never."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from antiphon.errors import (
    AntiphonError,
    InputMissing,
    NameAmbiguous,
    NameInvalid,
    PasswordNotAsked,
    RegistrationClosed,
    ServerKeyUnknown,
)
from antiphon.identity.passwords import Password
from antiphon.settings import ClientSettings
from antiphon.terminal.console import Console
from antiphon.terminal.sign_in import InteractiveSignIn
from antiphon.wire.bodies import Identified, Identify, Welcome
from antiphon.wire.conversation import Control
from antiphon.wire.kinds import Kind
from support.fake_servers import Peer, fake, faked, welcome
from support.inside import sessions
from support.processes import PASSWORD, run_antiphon, sockets
from support.serving import Serving, serving
from support.terminal import Terminal


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "data", access="identify") as running:
        yield running


def introduce(server: Serving, *names: str) -> None:
    """Make the server know these names at this machine's address, the last one first."""
    for name in names:
        with server.client() as client:
            client.hello()
            assert isinstance(client.request(Kind.IDENTIFY, Identify(name=name)), Welcome)
            client.leave()


def known(server: Serving) -> list[str]:
    with server.client() as client:
        client.hello()
        answer = client.request(Kind.IDENTIFY, Identify())
        assert isinstance(answer, Identified)
        return answer.known or []


def without_fingerprint(server: Serving) -> Any:
    return replace(server.address, fingerprint=None)


def entered(server: Serving, folder: Path, **given: Any) -> str:
    """Sign in without a terminal; return the name."""
    return asyncio.run(_entered(given.pop("address", server.address), folder, **given))


async def _entered(address: Any, folder: Path, *, password: str = "", **options: Any) -> str:
    settings = ClientSettings(known_servers=folder / "known_servers", **options)
    entry = InteractiveSignIn(
        Console("en", may_ask=False), settings, address, Password(password) if password else None
    )
    session = await entry.run()
    await session.dialled.connection.leave()
    return session.welcome.name


# --- from a pipe --------------------------------------------------------------------------------------------


def test_a_name_that_is_given_is_taken_and_kept(server: Serving, tmp_path: Path) -> None:
    assert entered(server, tmp_path, name="ann") == "ann"
    assert entered(server, tmp_path, address=replace(server.address, name="Вадим")) == "Вадим"
    assert known(server) == ["Вадим", "ann"]


def test_the_one_name_that_is_known_is_taken(server: Serving, tmp_path: Path) -> None:
    introduce(server, "Ann")
    assert entered(server, tmp_path) == "Ann"


def test_of_several_none_is_taken_and_all_are_told(server: Serving, tmp_path: Path) -> None:
    introduce(server, "ann", "bob")
    with pytest.raises(NameAmbiguous, match=r"several names at this address: bob, ann\. Say which"):
        entered(server, tmp_path)
    done = run_antiphon("connect", str(server.address), home=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "bob, ann" in done.stderr


def test_an_unknown_address_without_a_name_is_told_what_is_missing(server: Serving, tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="The name is missing"):
        entered(server, tmp_path)
    assert known(server) == []


def test_a_name_that_nobody_can_have_is_refused(server: Serving, tmp_path: Path) -> None:
    with pytest.raises(NameInvalid):
        entered(server, tmp_path, name="two words")


def test_where_new_names_are_not_taken_an_unknown_address_is_told_so_and_not_asked(tmp_path: Path) -> None:
    with serving(tmp_path / "data", access="identify", registration="closed") as server:
        for name in (None, "ann"):
            with pytest.raises(RegistrationClosed):
                entered(server, tmp_path, name=name)


@pytest.mark.parametrize("name", [None, "ann"])
def test_where_nobody_is_asked_everybody_comes_in_without_a_name(tmp_path: Path, name: str | None) -> None:
    with serving(tmp_path / "data", access="anyone") as server:
        assert entered(server, tmp_path, name=name) == ""
        done = run_antiphon("connect", str(server.address), home=tmp_path, stdin="hello\n")
        assert (done.returncode, done.stdout) == (0, "hello\n")
        assert "Welcome!" in done.stderr


# --- trust --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("access", ["identify", "anyone"])
def test_from_a_pipe_a_key_that_nothing_speaks_for_is_refused(tmp_path: Path, access: str) -> None:
    with serving(tmp_path / "data", access=access) as server:
        with pytest.raises(ServerKeyUnknown, match="ends in #sha256"):
            entered(server, tmp_path, name="ann", address=without_fingerprint(server))
        assert not (tmp_path / "known_servers").exists()
        assert entered(server, tmp_path, name="ann") in ("ann", "")
        assert entered(server, tmp_path, name="ann", address=without_fingerprint(server)) in ("ann", "")


@pytest.mark.parametrize("access", ["identify", "anyone"])
async def test_a_password_is_not_left_unasked_without_a_word(tmp_path: Path, access: str) -> None:
    def play(peer: Peer) -> None:
        peer.hello(access=access, mechanisms=[])
        assert peer.next() is None

    async with faked(play) as there:
        with pytest.raises(PasswordNotAsked):
            await _entered(there.address, tmp_path, name="ann", password=PASSWORD)


async def test_a_server_that_asks_for_a_proof_does_not_let_in_without_one(tmp_path: Path) -> None:
    def play(peer: Peer) -> None:
        peer.hello()
        peer.welcome(None, "Hello!")
        peer.rest()

    async with faked(play) as there:
        with pytest.raises(AntiphonError):
            await _entered(there.address, tmp_path, name="ann", password=PASSWORD, register=True)


# --- at a terminal ------------------------------------------------------------------------------------------


def test_an_unknown_one_is_asked_kept_and_greeted_without_a_question_the_next_time(
    server: Serving, tmp_path: Path
) -> None:
    address = str(without_fingerprint(server))
    with Terminal("connect", address, home=tmp_path, USER="ann") as terminal:
        terminal.answer("Is it the right one? [y/N]:", "y")
        terminal.shows("The server does not know this address yet.")
        terminal.asks("Name [ann]:")
        assert sockets(terminal.process.pid) == 0
        terminal.enter("two words")
        terminal.shows("“two words” cannot be a name:")
        terminal.answer("Name [ann]:", "Вадим")
        terminal.shows("Welcome, Вадим! This is your first visit.", "If that is not your name, type /name.")
        terminal.says("Вадим>", "привет")
        terminal.says("Вадим>", "//name", "/name")
        terminal.answer("Вадим>", "exit")
        assert terminal.ends() == 0
        assert "assword" not in terminal.screen
    with Terminal("connect", address, home=tmp_path) as terminal:
        terminal.shows("Welcome back, Вадим!")
        terminal.answer("Вадим>", "exit")
        terminal.shows("You have left.")
        assert terminal.ends() == 0
        assert terminal.screen.startswith("Connected to ")


def test_one_of_several_is_chosen_and_a_wrong_name_put_right(server: Serving, tmp_path: Path) -> None:
    introduce(server, "ann", "amn", "carl")
    with Terminal("connect", str(server.address), home=tmp_path) as terminal:
        terminal.shows("The server knows several names at this address:", "1  carl", "2  amn", "3  ann")
        terminal.asks("Number, or a new name [1]:")
        assert sockets(terminal.process.pid) == 0
        terminal.enter("a b")
        terminal.shows("“a b” cannot be a name:")
        terminal.answer("Number, or a new name [1]:", "2")
        terminal.shows("Welcome back, amn!")
        terminal.answer("amn>", "/name")
        terminal.asks("Your name:")
        assert sockets(terminal.process.pid) == 0
        terminal.enter("dora")
        terminal.answer("Forget “amn” at this address? [y/N]:", "y")
        terminal.shows("Welcome back, dora!")
        terminal.says("dora>", "hello")
        terminal.answer("dora>", "/name")
        terminal.answer("Your name:", "ann")
        terminal.answer("Forget “dora” at this address? [y/N]:", "n")
        terminal.shows("Welcome back, ann!")
        terminal.answer("ann>", "/name")
        terminal.answer("Your name:", "Ann")  # the same name, so there is nothing to forget
        terminal.shows("Welcome back, Ann!")
        terminal.answer("Ann>", "exit")
        terminal.shows("You have left.")
        assert terminal.ends() == 0
        assert terminal.screen.count("type /name") == 1
    assert known(server) == ["Ann", "dora", "carl"]
    assert server.read(lambda running: len(sessions(running)._held)) == 0


def test_no_input_takes_the_one_that_is_known_and_asks_nothing(server: Serving, tmp_path: Path) -> None:
    introduce(server, "ann")
    with Terminal("connect", str(server.address), "--no-input", home=tmp_path) as terminal:
        terminal.shows("Welcome back, ann!")


@pytest.mark.parametrize("known", [["ann", "eve\n   3  root\x1b[2J"], ["ann\nbob\x1b[2J"]])
def test_a_name_from_a_lying_server_stands_on_one_line_and_moves_no_cursor(
    tmp_path: Path, known: list[str]
) -> None:
    def lie(peer: Peer) -> None:
        peer.hello(access="identify", mechanisms=[])
        control = peer.control()
        while getattr(control.body, "name", None) is None:
            peer.send(
                peer.conversation.reply(Kind.IDENTIFY, control.id, Identified(name=None, free=None, known=known))
            )
            event = peer.next()
            if not isinstance(event, Control) or event.kind == Kind.BYE:
                return
            control = event
        opening = msgspec.structs.replace(welcome(None, "Hello!"), name=known[-1])
        peer.send(peer.conversation.welcome(control.id, opening, bytes(16)))
        peer.rest()

    escaped = known[-1].replace("\n", "\\n").replace("\x1b", "\\x1b")
    with fake(lie) as there, Terminal("connect", str(there.address), home=tmp_path) as person:
        if len(known) > 1:
            person.shows(f"   2  {escaped}")
            person.answer("Number, or a new name [1]:", "1")
        person.shows(f"{escaped}>")
        assert "\x1b[2J" not in person.raw
