"""A conversation whose server is a process that is killed, or stopped: what is told is what was done, exactly."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.address import Address, parse
from antiphon.client.aio.session import ClientSession
from antiphon.errors import OutcomeUnknown
from support.processes import PipedProcess, clean_environment
from support.recording_service import PROGRAM
from support.serving import seed
from support.sessions import session_of

ASKING = 20
"""Messages that are asked side by side, each behind the answer to the one before it."""


class Counter:
    """A process that serves the counting service, and the next ones on the same port and data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.start()

    def start(self) -> None:
        command = (PROGRAM, self.folder / "data", str(self.port), self.folder / "counted")
        self.process = PipedProcess(*command, environment=clean_environment(self.folder))
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.address: Address = parse(line)
        self.port = self.address.port

    def stop(self) -> None:
        self.process.send_signal(15)
        assert self.process.wait(60) == 0
        self.process.close()

    def counted(self) -> list[str]:
        return (self.folder / "counted").read_text("utf-8").splitlines()


@pytest.fixture
def counter(tmp_path: Path, token: bytes) -> Iterator[Counter]:
    counter = Counter(tmp_path)
    yield counter
    counter.process.close()


@pytest.fixture
def token(tmp_path: Path) -> bytes:
    return seed(tmp_path / "data")[0]


async def talk(session: ClientSession, who: int, until: asyncio.Event, told: dict[str, str]) -> None:
    """Ask one message behind the other, and put down how each ended, until 5 are through behind `until`."""
    number = after = 0
    while after < 5:
        message = f"{who}-{number}"
        number += 1
        after += until.is_set()
        try:
            told[message] = str(await session.ask(message))
        except OutcomeUnknown:
            told[message] = "unknown"


async def conversation(session: ClientSession, counter: Counter, stop: str) -> dict[str, str]:
    """Talk while the server is killed or stopped, three times; return how each message ended."""
    told: dict[str, str] = {}
    until = asyncio.Event()
    talking = [asyncio.create_task(talk(session, who, until, told)) for who in range(ASKING)]
    for times in range(1, 4):
        while len(told) < times * 5 * ASKING:
            await asyncio.sleep(0)
        await asyncio.to_thread(counter.process.close if stop == "killed" else counter.stop)
        await asyncio.to_thread(counter.start)
    until.set()
    await asyncio.gather(*talking)
    return told


async def test_what_a_killed_server_leaves_is_told_as_unknown_and_nothing_is_done_twice(
    counter: Counter, token: bytes
) -> None:
    async with session_of(counter.address, token) as session:
        asking = asyncio.create_task(session.ask("wait for ever"))
        while "wait for ever" not in counter.counted():
            await asyncio.sleep(0)
        await asyncio.to_thread(counter.process.close)
        await asyncio.to_thread(counter.start)
        with pytest.raises(OutcomeUnknown):
            await asking
        told = await conversation(session, counter, "killed")
    counted = counter.counted()
    assert len(set(counted)) == len(counted), "nothing was done twice"
    answered = {message for message, end in told.items() if end != "unknown"}
    assert all(told[message] == f"got {message}" for message in answered)
    assert answered <= set(counted) <= set(told) | {"wait for ever"}, "and what was answered, was done"


async def test_a_server_that_is_stopped_in_order_leaves_nothing_unknown(counter: Counter, token: bytes) -> None:
    async with session_of(counter.address, token) as session:
        told = await conversation(session, counter, "stopped")
    assert told == {message: f"got {message}" for message in told}
    assert sorted(counter.counted()) == sorted(told), "everything was done, and once"
