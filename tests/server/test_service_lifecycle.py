"""The lifecycle of a service in a real server: before its first connection, in its drain, in a worker."""

import asyncio
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from antiphon import Server, Session
from antiphon.address import Address
from antiphon.errors import ServiceNotStarted, TryLater
from antiphon.server.handler import service_lifecycle
from support.inside import stored
from support.log_records import records
from support.processes import ANTIPHON, PipedProcess, clean_environment, run_antiphon
from support.serving import seed
from support.sessions import server_here, session_of

SERVICE = """
import asyncio
from pathlib import Path

class Broken:
    def received(self, message):
        return message

    async def started(self, server):
        print("looking for the instrument")
        raise OSError("the instrument is off")

class Waiting(Broken):
    async def started(self, server):
        print("waiting")
        Path("waiting").write_text("")
        await asyncio.Event().wait()

broken, waiting = Broken(), Waiting()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "clock.py").write_text(SERVICE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_a_service_starts_before_the_first_connection_and_stops_after_the_last_handler(
    tmp_path: Path,
) -> None:
    (token,) = await asyncio.to_thread(seed, tmp_path / "data")
    port_file = tmp_path / "port"
    seen: list[str] = []

    class Desk:
        async def started(self, server: Server[list[str]]) -> None:
            server.state = seen
            early = asyncio.create_task(ask(server.addresses[0]))  # its connection waits
            server.start_task(self.tick(server), name="clock")
            for _ in range(20):
                await asyncio.sleep(0.01)
            assert not early.done()
            assert not port_file.exists()
            seen.append("started")
            self.early = early

        async def tick(self, server: Server[list[str]]) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                server.state.append("task ended")

        async def received(self, message: str, session: Session) -> str:
            session.server.state.append(f"asked for {message}")
            asking.set()
            await asyncio.sleep(0.1)
            session.server.state.append("answered")
            return message

        def closed(self, session: Session) -> None:
            seen.append("closed")

        def stopping(self, server: Server[list[str]]) -> None:
            seen.append("stopping")

    async def ask(address: Address) -> Any:
        async with session_of(address, token) as session:
            return await session.ask("tea")

    asking, desk = asyncio.Event(), Desk()
    async with server_here(tmp_path / "data", desk, port_file=port_file) as server:
        assert port_file.read_text() == f"{server.port}\n"
        await asking.wait()
    assert await desk.early == "tea"
    assert seen == ["started", "asked for tea", "answered", "closed", "task ended", "stopping"]


async def test_a_service_has_what_is_left_of_the_drain_time_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_lifecycle, "LEAST_SECONDS", 0)
    stopped = []

    class Slow:
        def received(self, message: str) -> str:
            return message

        async def stopping(self, server: Server) -> None:
            await asyncio.sleep(0.1)
            stopped.append(True)

    async with server_here(tmp_path / "data", Slow(), drain_seconds=10):
        pass
    assert stopped == [True]


async def test_a_service_that_cannot_start_stops_the_start_and_the_log_has_its_traceback(tmp_path: Path) -> None:
    class Broken:
        def received(self, message: str) -> str:
            return message

        def started(self, server: Server) -> None:
            self.port = server.port
            raise OSError("the instrument is off")

    broken, port_file = Broken(), tmp_path / "port"
    with pytest.raises(ServiceNotStarted, match=r"“.*Broken” could not start: OSError: the instrument is off"):
        async with server_here(tmp_path / "data", broken, port_file=port_file):
            pass
    assert not port_file.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", broken.port), timeout=60)
    log = records(tmp_path / "data" / "server.log")
    assert [each.event for each in log] == ["started", "service-failed", "not-started", "stopped"]
    assert log[1].fields.startswith(' hook="started" exception="Traceback ')
    assert "raise OSError(" in log[1].fields
    assert log[2].fields.startswith(' code="service-not-started" why=')


async def test_a_start_that_fails_after_the_service_has_started_stops_the_service(tmp_path: Path) -> None:
    seen: list[str] = []

    class Desk:
        def received(self, message: str) -> str:
            return message

        async def started(self, server: Server) -> None:
            seen.append("started")
            await stored(server).close()

        def stopping(self, server: Server) -> None:
            seen.append("stopping")

    with pytest.raises(TryLater):
        async with server_here(tmp_path / "data", Desk()):
            pass
    assert seen == ["started", "stopping"]


def test_an_error_in_a_worker_stops_the_start_with_its_sentence(folder: Path) -> None:
    options = ["--data", "data", "--port", "0", "--no-input", "--workers", "2"]
    result = run_antiphon("serve", "clock:broken", *options, home=folder)
    assert (result.returncode, result.stdout) == (2, "")
    said, told = result.stderr.splitlines()
    assert said == "looking for the instrument"  # standard output is for the address
    assert told.startswith("“Broken” could not start: OSError: the instrument is off (")
    assert "Traceback" not in result.stderr


def test_a_signal_ends_a_server_whose_service_still_starts(folder: Path) -> None:
    command: list[str | Path] = [ANTIPHON, "serve", "clock:waiting", "--data", "data", "--port", "0", "--no-input"]
    with PipedProcess(*command, environment=clean_environment(folder)) as server:
        while not (folder / "waiting").exists():
            time.sleep(0.01)
        server.send_signal(signal.SIGTERM)
        out, errors = server.communicate(timeout=60)
        assert (server.wait(), out, errors) == (0, "", "waiting\n")
