"""Tests of chat messages from others, on the terminal of a person who types and through pipes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.services import Chat, Session
from support.chat_clients import ChatClient
from support.processes import ANTIPHON, PASSWORD, PipedProcess, clean_environment
from support.serving import Serving, seed, serving
from support.terminal import Terminal
from support.transcripts import on_paper

OBEYED = "\x1b[31mred\x1b]0;title\x07 \x9b2J \x08\x7f \u202e\u2066\u200b\ufeff end"
SHOWN = OBEYED.translate(
    {ord(each): each.encode("unicode_escape").decode() for each in OBEYED if not each.isprintable()}
)


def environment(name: str) -> dict[str, Any]:
    return {"ANTIPHON_NAME": name, "ANTIPHON_PASSWORD": PASSWORD}


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, bytes]:
    return {name: seed(tmp_path / "data", name)[0] for name in ("ann", "bob")}


@pytest.fixture
def server(tmp_path: Path, tokens: dict[str, bytes]) -> Iterator[Serving]:
    """Run a chat with accounts for ann and bob."""
    with serving(tmp_path / "data", Chat(), plain=True) as server:
        yield server


@pytest.fixture
def ann(server: Serving, tmp_path: Path) -> Iterator[Terminal]:
    with Terminal("connect", str(server.address), home=tmp_path / "ann", **environment("ann")) as terminal:
        terminal.shows("You speak in lobby now.", "ann>")
        yield terminal


@pytest.fixture
def bob(server: Serving, tokens: dict[str, bytes]) -> Iterator[ChatClient]:
    with server.session(tokens["bob"]) as client:
        yield ChatClient(client)


def test_what_another_says_stands_above_the_line_that_is_being_typed(
    server: Serving, ann: Terminal, tmp_path: Path
) -> None:
    with Terminal("connect", str(server.address), home=tmp_path / "bob", **environment("bob")) as bob:
        bob.shows("You speak in lobby now.", "bob>")
        ann.shows("[lobby] -- bob has joined", "ann>")
        ann.press("half a")
        ann.shows("half a")
        bob.enter("hello, Анна")
        ann.shows("[lobby] bob: hello, Анна\r\n", "ann> half a")
        ann.enter(" line")
        bob.shows("[lobby] ann: half a line\r\n", "bob>")
        ann.shows("ann>")
    lines = on_paper(ann.raw).splitlines()
    assert lines.index("[lobby] bob: hello, Анна") < lines.index("ann> half a line")
    assert "[lobby] ann: half a line" not in lines


def test_many_lines_at_once_come_whole_in_order_and_leave_the_typed_line_alone(
    ann: Terminal, bob: ChatClient
) -> None:
    ann.press("half a")
    ann.shows("half a")
    said = [f"line {number}" for number in range(45)]
    bob.say(*said)
    ann.shows(f"[lobby] bob: {said[-1]}\r\n", "ann> half a")
    ann.enter(" line")
    bob.hears("[lobby] ann: half a line")
    lines = [line for line in on_paper(ann.raw).splitlines() if line.startswith("[lobby] bob: line")]
    assert lines == [f"[lobby] bob: {line}" for line in said]


def test_a_line_that_was_said_stays_where_it_was_typed_and_nothing_comes_back(
    ann: Terminal, bob: ChatClient
) -> None:
    ann.shows("[lobby] -- bob has joined\r\n")
    ann.enter("hello")
    bob.hears("[lobby] ann: hello")
    ann.matches(r"ann> hello\r+\nann>")
    ann.enter("exit")
    assert ann.ends() == 0
    assert on_paper(ann.raw).splitlines()[-3:] == ["ann> hello", "ann> exit", "You have left."]


def test_what_is_said_last_is_shown_before_the_end(tmp_path: Path, tokens: dict[str, bytes]) -> None:
    people: list[Session] = []

    class Host:
        def opened(self, session: Session) -> None:
            people.append(session)

        def received(self, message: str) -> None:
            for number in range(100):
                people[0].send(f"{message} {number}")
            people[0].close("Good night.")

    with (
        serving(tmp_path / "data", Host(), plain=True) as server,
        Terminal("connect", str(server.address), home=tmp_path, **environment("ann")) as ann,
    ):
        ann.shows("ann>")
        ann.press("half a line")
        ann.shows("half a line")
        with server.session(tokens["bob"]) as client:
            ChatClient(client, "").say("line")
        assert ann.ends() == 0
    lines = [line for line in on_paper(ann.raw).splitlines() if line.startswith("line")]
    assert lines == [f"line {number}" for number in range(100)]
    assert ann.raw.count("half a line") < 20  # the prompt is redrawn once for many lines


def obeyed(terminal: Terminal) -> list[str]:
    """Return the control sequences that reached the terminal and are not the client's own."""
    return [
        each for each in ("\x1b[31m", "\x1b]", *"\x07\x9b\x7f\u202e\u2066\u200b\ufeff") if each in terminal.raw
    ]


def test_of_what_others_say_a_terminal_obeys_nothing(ann: Terminal, bob: ChatClient) -> None:
    bob.say(OBEYED)
    ann.shows(f"[lobby] bob: {SHOWN}\r\n")
    assert obeyed(ann) == []


def test_nor_does_it_where_the_service_hands_on_what_it_is_given(tmp_path: Path, tokens: dict[str, bytes]) -> None:
    people: list[Session] = []

    class Loud:
        def opened(self, session: Session) -> None:
            people.append(session)

        def received(self, message: str) -> None:
            for each in people:
                each.send(message)

    with (
        serving(tmp_path / "data", Loud(), plain=True) as server,
        Terminal("connect", str(server.address), home=tmp_path, **environment("ann")) as terminal,
        server.session(tokens["bob"]) as client,
    ):
        terminal.asks("ann>")
        ChatClient(client, "").say(OBEYED)
        terminal.shows(f"{SHOWN}\r\n")
        assert obeyed(terminal) == []


def test_a_text_that_was_pasted_is_said_line_by_line(ann: Terminal, bob: ChatClient) -> None:
    ann.press("\x1b[200~one\n    two\x1b[201~")
    ann.enter()
    bob.hears("[lobby] ann:     two")
    assert "[lobby] ann: one" in bob.heard


# --- through pipes ------------------------------------------------------------------------------------------


def test_a_pipe_that_stays_open_hears_what_others_say_and_says_what_comes(
    server: Serving, bob: ChatClient, tmp_path: Path
) -> None:
    """Reproduce `tail -f build.log | antiphon connect`."""
    piped = clean_environment(tmp_path, **environment("ann"))
    with PipedProcess(ANTIPHON, "connect", str(server.address), environment=piped) as process:
        bob.hears("[lobby] -- ann has joined")
        process.stdin.write(b"/join builds\nit is green\n")
        bob.say("/join builds")
        bob.say("seen\x1b[2J")
        while (line := process.stdout.readline()) != "[builds] bob: seen\\x1b[2J\n":
            assert line
        process.stdin.close()
        assert process.wait(60) == 0
    bob.hears("[builds] ann: it is green")
    bob.hears("[lobby] -- ann has left")


def test_a_pipe_that_ends_says_all_and_leaves(server: Serving, bob: ChatClient, tmp_path: Path) -> None:
    piped = clean_environment(tmp_path, **environment("ann"))
    with PipedProcess(ANTIPHON, "connect", str(server.address), environment=piped) as process:
        out, _ = process.communicate("".join(f"fine {number}\n" for number in range(60)).encode() + b"/who\n", 30)
    assert process.wait(60) == 0
    assert out.splitlines()[-1] == "[lobby] -- bob, ann"
    bob.hears("[lobby] ann: fine 59")
    bob.hears("[lobby] -- ann has left")
