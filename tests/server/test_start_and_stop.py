"""What a server waits for when it starts and stops, and how long."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from antiphon.data import folder as folder_module
from antiphon.data.certificate import load_or_make
from antiphon.data.folder import DataFolder
from antiphon.server.server import Server
from antiphon.services import echo
from antiphon.settings import ServerSettings
from support.old_stores import make_old
from support.serving import seed, serving
from support.sessions import server_here, session_of

HELD_SECONDS = 0.2
"""How long another holds the folder's lock: less than a server waits for it here."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return DataFolder.open(tmp_path / "data").path


@pytest.fixture
def lock(data: Path, monkeypatch: pytest.MonkeyPatch) -> FileLock:
    monkeypatch.setattr(folder_module, "LOCK_SECONDS", 100 * HELD_SECONDS)
    return FileLock(data / "lock", thread_local=False)


async def started(data: Path) -> None:
    """Start a server and stop it; one that waits inside the event loop never sees the lock released."""
    async with Server(settings=ServerSettings(data=data, host="127.0.0.1", port=0, drain_seconds=1)):
        pass


async def test_the_loop_goes_on_while_another_holds_the_lock_of_the_key_ring(data: Path, lock: FileLock) -> None:
    lock.acquire()
    asyncio.get_running_loop().call_later(HELD_SECONDS, lock.release)
    await started(data)


async def test_the_loop_goes_on_while_another_holds_the_lock_of_the_certificate(
    data: Path, lock: FileLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()

    def held_by_another(*arguments: Any) -> Any:
        lock.acquire()
        loop.call_soon_threadsafe(lambda: loop.call_later(HELD_SECONDS, lock.release))
        return load_or_make(*arguments)

    monkeypatch.setattr("antiphon.server.server.load_or_make", held_by_another)
    await started(data)


def test_a_database_of_an_earlier_version_is_upgraded_at_the_start_and_the_log_names_the_copy(
    data: Path, tmp_path: Path
) -> None:
    seed(data)
    old = tmp_path / "old"
    old.mkdir()
    make_old(old, 4)
    for path in data.glob("sessions.db*"):
        path.unlink()
    (old / "sessions.db").replace(data / "sessions.db")
    copy = data / "sessions.db.version-4"
    for _ in range(2):
        with serving(data):
            assert copy.exists()
    log = (data / "server.log").read_text("utf-8").splitlines()
    (told,) = [line for line in log if " store-upgraded " in line]
    assert told.endswith(f' copy="{copy}"')


def test_who_is_cut_at_the_end_of_the_drain_is_told_of_in_the_log(data: Path) -> None:
    (token,) = seed(data)
    with serving(data, plain=True, drain_seconds=0.1) as server:
        client = server.session(token)
        log = server.server.log_path
    client.sock.close()
    (record,) = [line for line in log.read_text("utf-8").splitlines() if " drain-cut " in line]
    assert record.endswith("warning drain-cut connections=1")


async def test_with_a_drain_rate_those_whose_turn_has_not_come_are_served(data: Path) -> None:
    tokens = await asyncio.to_thread(seed, data, sessions=2)
    async with AsyncExitStack() as running, AsyncExitStack() as clients:
        server = await running.enter_async_context(server_here(data, echo, drain_rate=0.1, drain_seconds=10))
        opened = [session_of(server.addresses[0], token, give_up=0) for token in tokens]
        sessions = [await clients.enter_async_context(each) for each in opened]
        stopping = asyncio.create_task(running.aclose())
        ended = [asyncio.create_task(session.ended()) for session in sessions]
        await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        (served,) = [session for session, end in zip(sessions, ended, strict=True) if not end.done()]
        assert await served.ask("not yet") == "not yet"
        await served.leave()
        await stopping
        await asyncio.gather(*ended)
