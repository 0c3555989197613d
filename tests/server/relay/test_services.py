"""Services whose sessions move: a session finds its room, its program and its state again while its home lives."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from antiphon.wire.frames import Frame
from antiphon.wire.kinds import Kind
from support.chat_clients import ChatClient
from support.documents import ROOT
from support.moving import back
from support.processes import ServerProcess
from support.programs import alive, ask, shell, until_gone
from support.raw import RawClient
from support.serving import seed


@contextmanager
def two_of(folder: Path, service: str, *options: str) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Run two servers of a service."""
    with ExitStack() as closing:
        home, other = [
            closing.enter_context(ServerProcess(folder / "data", "--plain", *options, service)) for _ in range(2)
        ]
        yield home, other


def test_a_person_in_the_chat_finds_the_room_again_through_another_server(tmp_path: Path) -> None:
    tokens = {name: seed(tmp_path / "data", name)[0] for name in ("ann", "bob")}
    with two_of(tmp_path, "chat") as (home, other):
        ann, bob = (ChatClient(back(home, tokens[name])[0]) for name in ("ann", "bob"))
        for person in (ann, bob):
            person.say("/join den")
        ann.cut()
        assert bob.say("while you were away") == []
        moved = ChatClient(back(other, tokens["ann"], ann.frames)[0], welcome="")
        moved.frames = ann.frames
        moved.hears("[den] bob: while you were away")
        assert moved.say("here I am") == []
        bob.hears("[den] ann: here I am")
        assert bob.say("/who") == ["[den] -- ann, bob"]
        bob.cut()
        moved_bob = ChatClient(back(other, tokens["bob"], bob.frames)[0], welcome="")
        assert moved_bob.say("me too") == []
        moved.hears("[den] bob: me too")
        assert "[den] -- ann has left" not in bob.heard + moved_bob.heard
        moved.client.leave()
        moved_bob.hears("[den] -- ann has left")
        moved_bob.client.leave()


def test_a_session_finds_its_program_again_through_another_server(tmp_path: Path) -> None:
    (token,) = seed(tmp_path / "data")
    script = "n=0; while read line; do n=$((n+1)); echo $$ $n $line; done"
    with two_of(tmp_path, f"exec:{shell(script)}", "--exec-wait", "20", "--exec-pause", "0") as (home, other):
        client, _ = back(home, token)
        program, *said = str(ask(client, "one")).split()
        assert said == ["1", "one"]
        for number, server in enumerate((other, home, other), 2):
            client.cut()
            client, welcome = back(server, token, 2 * (number - 1))
            assert welcome.received == number - 1
            assert ask(client, "more") == f"{program} {number} more"
        assert alive(int(program))
        client.leave()
        until_gone(int(program))


def heard(client: RawClient, count: int) -> list[str]:
    """Return the next pushes."""
    lines: list[str] = []
    while len(lines) < count:
        event = client.next()
        assert isinstance(event, Frame), event
        if event.kind == Kind.MESSAGE and not event.id:
            lines.append(str(event.payload))
    return lines


@pytest.fixture
def letters() -> list[str]:
    order = list("abcdefghijklmnopqrstuvwxyz")
    random.Random(16).shuffle(order)
    return order


def test_players_of_the_example_keep_the_game_that_they_play_wherever_they_connect(
    tmp_path: Path, letters: list[str]
) -> None:
    tokens = {name: seed(tmp_path / "data", name)[0] for name in ("ann", "bob")}
    with two_of(tmp_path, f"{ROOT}/examples/game.py:game") as (home, other):
        ann, _ = back(home, tokens["ann"])
        (begin,) = heard(ann, 1)
        assert begin.endswith("Guess a letter, or say “points”.")
        bob, _ = back(home, tokens["bob"])
        assert heard(ann, 1) == ["bob has joined"]
        heard(bob, 1)
        counts = {"ann": 2, "bob": 1}
        bob.cut()
        bob, _ = back(other, tokens["bob"], counts["bob"])
        shown, tried = begin, 0
        while "The point is" not in shown:
            letter = letters[tried]
            tried += 1
            bob.send(bob.conversation.message(letter)[1])
            (shown,) = heard(ann, 1)
            assert f"bob tried {letter}" in shown
            if "_" not in shown:
                (shown,) = heard(ann, 1)
        ann.cut()
        ann, _ = back(other, tokens["ann"], counts["ann"] + tried + 1)
        id, data = ann.conversation.message("points")
        ann.send(data)
        assert ann.answer(id) == "bob 1"
        bob.leave()
        assert heard(ann, 1) == ["bob has left"]
        ann.leave()
