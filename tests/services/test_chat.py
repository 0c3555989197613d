"""The chat at the socket: who hears what, in which order, and what nobody can do to others."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from antiphon.services import Chat
from antiphon.wire.frames import Frame
from antiphon.wire.kinds import Flag, Kind
from support.raw import RawClient
from support.serving import Serving, seed, serving


class Talker:
    """Somebody in the chat; what is pushed is kept until it is asked for."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.heard: list[str] = []

    def _next(self) -> Frame:
        while True:
            event = self.client.next()
            assert isinstance(event, Frame), event
            if event.kind != Kind.HEARTBEAT:
                return event

    def say(self, message: str) -> list[str]:
        """Say a line; return the answers to it."""
        id, data = self.client.conversation.message(message)
        self.client.send(data)
        answers = []
        while True:
            frame = self._next()
            if frame.id != id:
                self.heard.append(str(frame.payload))
                continue
            if frame.kind == Kind.MESSAGE:
                answers.append(str(frame.payload))
                if self.single(frame):
                    return answers
            else:
                return answers

    def single(self, frame: Frame) -> bool:
        return bool(frame.flags & Flag.LAST)

    def hears(self, line: str) -> None:
        """Read until a line has been pushed."""
        while line not in self.heard:
            self.heard.append(str(self._next().payload))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    tokens = {name: seed(tmp_path / "data", name, sessions=2) for name in ("ann", "bob")}
    with serving(tmp_path / "data", Chat(), plain=True) as running:
        running.tokens = tokens  # type: ignore[attr-defined]
        yield running


@pytest.fixture
def come(server: Serving) -> Iterator[Callable[[str], Talker]]:
    with contextlib.ExitStack() as stack:

        def come(name: str) -> Talker:
            token = server.tokens[name].pop()  # type: ignore[attr-defined]
            talker = Talker(stack.enter_context(server.session(token)))
            talker.hears("You speak in lobby now. /help tells what else you can do.")
            return talker

        yield come


def test_a_line_is_heard_by_others_under_the_name_of_the_account(come: Callable[[str], Talker]) -> None:
    ann, bob = come("ann"), come("bob")
    ann.hears("[lobby] -- bob has joined")
    assert bob.say("hello") == []
    assert bob.say("//join") == []
    assert bob.say("/me waves") == []
    assert ann.say("/who") == ["ann, bob"]
    assert ann.heard[-3:] == ["[lobby] bob: hello", "[lobby] bob: /join", "[lobby] * bob waves"]
    bob.client.leave()
    ann.hears("[lobby] -- bob has left")


def test_rooms_keep_what_was_said_apart_and_show_the_last_lines(come: Callable[[str], Talker]) -> None:
    ann = come("ann")
    assert ann.say("/join Maths")[0].startswith("You speak in maths now.")
    for number in range(51):
        ann.say(str(number))
    bob = come("bob")
    bob.say("/join maths")
    assert [line for line in bob.heard if line.startswith("[maths]")] == [
        f"[maths] ann: {number}" for number in range(1, 51)
    ]
    assert bob.say("/rooms") == ["lobby (2), maths (2)"]
    assert bob.say("/leave")[0].startswith("You speak in lobby now.")


def test_a_text_to_one_person_reaches_that_one_only(come: Callable[[str], Talker]) -> None:
    ann, bob = come("ann"), come("bob")
    assert bob.say("/msg Ann psst") == []
    ann.hears("[bob to you] psst")
    assert bob.say("/msg eve psst") == ["There is nobody here by the name of eve."]


def test_control_characters_of_others_reach_nobody(come: Callable[[str], Talker]) -> None:
    ann, bob = come("ann"), come("bob")
    bob.say("a\x1b[2Jb\n[lobby] eve: c")
    ann.hears("[lobby] bob: a\\x1b[2Jb\\n[lobby] eve: c")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("x" * 1001, "This line is too long"),
        ("/shout x", "There is no command /shout;"),
        ("/join a]b", "A room has a name of up to 32"),
        ("/join", "A room has a name of up to 32"),
        ("/me", "There is nothing to say"),
        ("/msg ann", "There is nothing to say"),
    ],
)
def test_what_cannot_be_done_is_answered_with_a_hint(
    come: Callable[[str], Talker], line: str, answer: str
) -> None:
    assert come("ann").say(line)[0].startswith(answer)


def test_nobody_can_be_in_more_rooms_than_ten(come: Callable[[str], Talker]) -> None:
    ann = come("ann")
    for number in range(9):
        ann.say(f"/join room{number}")
    assert ann.say("/join more")[0].startswith("You are in 10 rooms")


def test_one_who_does_not_read_is_cut_and_twenty_others_lose_no_line(tmp_path: Path) -> None:
    names = [f"user{number}" for number in range(20)]
    tokens = {name: seed(tmp_path / "data", name)[0] for name in [*names, "stalled"]}
    with (
        serving(tmp_path / "data", Chat(), plain=True, write_seconds=1) as server,
        contextlib.ExitStack() as stack,
    ):
        talkers = [Talker(stack.enter_context(server.session(tokens[name]))) for name in names]
        stalled = stack.enter_context(server.session(tokens["stalled"]))
        text = "x" * 900
        said = 0
        while server.read(lambda server: len(server._context.connections)) > len(names):
            for _ in range(100):
                talkers[0].say(f"{said} {text}")
                said += 1
            for talker in talkers[1:]:
                talker.hears(f"[lobby] user0: {said - 1} {text}")
        expected = [f"[lobby] user0: {number} {text}" for number in range(said)]
        for talker in talkers[1:]:
            assert [line for line in talker.heard if line.startswith("[lobby] user0: ")] == expected
        stalled.closed()
