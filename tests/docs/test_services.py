"""Tests of docs/services.md: every service gives the answers shown under it, and every program runs."""

import asyncio
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from antiphon import connect
from antiphon.address import Address
from antiphon.client.aio.session import ClientSession
from antiphon.errors import AntiphonError
from antiphon.server.connection.write_buffer import PUSHED_LIMIT
from antiphon.server.session import registry
from antiphon.services import chat, chat_lines, chat_rooms, load
from antiphon.topics import HISTORY_MOST
from antiphon.wire.frames import Payload
from antiphon.wire.kinds import KIB
from support.chat_room import ChatRoom
from support.documents import Block, blocks, read, section, table
from support.processes import PipedProcess, clean_environment
from support.serving import serving

PAGE = blocks(read("docs/services.md"))
FILES = {block.about: block.text for block in PAGE if block.language == "python" and block.about}
TALKS = [
    pytest.param(block, id=block.about)
    for block in PAGE
    if block.language == "text" and (".py:" in block.about or block.about == "chat")
]
SECONDS = 60


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if f"{name}.py" in FILES:
            del sys.modules[name]


@pytest.mark.parametrize("talk", TALKS)
def test_a_service_says_what_stands_under_it(talk: Block, folder: Path) -> None:
    service, _, access = talk.about.partition(" ")
    with serving(folder / "data", load(service), access=access or "identify", plain=True) as server:
        asyncio.run(hold(talk.text, server.address))


async def hold(talk: str, address: Address) -> None:
    """Replay the lines of a conversation; check that each person receives the lines shown, and no more."""
    people: dict[str, Person] = {}
    async with AsyncExitStack() as leaving:
        for name, mark, text in re.findall(r"^(\w+)([><]) (.*)$", talk, re.MULTILINE):
            if name not in people:
                session = connect(address, name=name)
                people[name] = Person(await leaving.enter_async_context(session))
            if mark == ">":
                await people[name].say(text)
            else:
                assert await people[name].is_shown() == text
    for person in people.values():
        rest = [person.shown.get_nowait() for _ in range(person.shown.qsize())]
        assert [
            line for line in rest if not str(line).endswith(" has left")
        ] == []  # all leave, and the chat tells the others


class Person:
    """A person in the conversation."""

    def __init__(self, session: ClientSession) -> None:
        """Record the pushes from now on."""
        self.shown: asyncio.Queue[Payload] = asyncio.Queue()
        self._session = session
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        try:
            async for message in self._session:
                self.shown.put_nowait(message)
        except AntiphonError as error:
            self.shown.put_nowait(str(error))

    async def say(self, text: str) -> None:
        try:
            async for answer in self._session.ask_stream(text):
                self.shown.put_nowait(answer)
        except AntiphonError as error:
            if not self._session.over:
                self.shown.put_nowait(str(error))

    async def is_shown(self) -> Payload:
        return await asyncio.wait_for(self.shown.get(), SECONDS)


def test_every_file_of_the_page_is_served_or_run() -> None:
    served = {talk.values[0].about.partition(":")[0] for talk in TALKS}  # type: ignore[union-attr]
    assert served - {"chat"} | {"both.py"} == set(FILES)


def test_the_commands_and_limits_of_the_chat_are_those_that_it_has() -> None:
    about = section(read("docs/services.md"), "## Chat")
    told = {command for command, _ in table(about, "command", "what it does")}
    with ChatRoom() as hall:
        lines = hall.say(hall.come("ann"), "/help")
    assert told == {line.split(":")[0] for line in lines[1:]} | {"/help", "//text"}
    assert table(about, "limit", "") == [
        ("a line, with all that stands before it", f"{chat_lines.LINE_LIMIT} bytes"),
        ("lines of one text", f"{chat_lines.LINES_MOST}"),
        (
            "lines and commands of one person",
            f"{chat.AT_ONCE} at once, then {chat.A_SECOND} a second; more has to wait, and is not lost",
        ),
        ("rooms of one person", f"{chat_rooms.ROOMS_OF_ONE}"),
        ("rooms in all", f"{chat_rooms.ROOMS_MOST}"),
        ("the name of a room", f"{chat_lines.ROOM_NAME_MOST} letters, digits, - and _"),
    ]
    assert f"its last {chat_rooms.REMEMBERED} lines" in about
    assert f"there for another {registry.AWAY_SECONDS:.0f} s" in about
    assert f"up to {HISTORY_MOST:,} lines" in about
    assert f"when {PUSHED_LIMIT // KIB} KiB wait" in about


def test_a_program_that_serves_tells_where_and_ends_in_order(folder: Path) -> None:
    with run("shout.py", folder) as program:
        assert program.stdout.readline().startswith("Antiphon ")
        program.send_signal(signal.SIGTERM)
        _, errors = program.communicate(timeout=SECONDS)
        assert (program.wait(), errors) == (0, "")


def test_a_server_in_a_program_answers_it(folder: Path) -> None:
    with run("both.py", folder) as program:
        assert program.communicate(timeout=SECONDS) == ("olleh\n", "")


def run(name: str, folder: Path) -> PipedProcess:
    return PipedProcess(sys.executable, name, environment=clean_environment(folder))
