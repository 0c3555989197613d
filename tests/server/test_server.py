"""A server as a whole: what keeps its deadlines, how it stops, and who comes while it does."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import AnyoneRefused, ExposureRefused, SessionEnded
from antiphon.identity.tokens import Token
from antiphon.server import server as server_module
from antiphon.server.peer import Peer
from antiphon.server.server import Server
from antiphon.server.session.holder import Session
from antiphon.settings import ServerSettings
from antiphon.wire.bodies import Error, Hello, Resume
from antiphon.wire.conversation import ClientConversation, Control
from support.inside import sessions
from support.serving import seed


def settings(folder: Path, **more: Any) -> ServerSettings:
    return ServerSettings(data=folder / "data", host="127.0.0.1", port=0, plain=True, drain_seconds=0.1, **more)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with Server(settings=settings(tmp_path, first_frame_seconds=0.5)) as running:
        yield running


def log_of(server: Server) -> str:
    return server.log_path.read_text("utf-8")


async def until_closed(server: Server) -> list[object]:
    """Connect, say nothing, and return what the server says before it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    conversation = ClientConversation()
    conversation.feed(await reader.read())
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    bodies: list[object] = []
    while (event := conversation.next()) is not None:
        assert isinstance(event, Control)
        bodies.append(event.body)
    return bodies


async def test_deadlines_are_kept_after_a_fault_in_what_keeps_them(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = asyncio.Event()

    def fail_once() -> None:
        monkeypatch.undo()
        failed.set()
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(sessions(server), "expire", fail_once)
    await failed.wait()
    hello, error = await until_closed(server)
    assert isinstance(hello, Hello)
    assert isinstance(error, Error)
    assert error.code == "sign-in-timed-out"
    await server.stop()
    assert "a fault of ours" in log_of(server)


async def test_who_comes_while_it_stops_is_told_so(server: Server) -> None:
    server._host.tasks.stopping = True
    _, error = await until_closed(server)
    assert isinstance(error, Error)
    assert error.code == "server-stopping"


async def test_a_crowd_at_the_door_leaves_everybody_else_their_turn(server: Server) -> None:
    crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    turns = 0
    while server._host.limits.count < len(crowd):
        await asyncio.sleep(0)
        turns += 1
    for client in crowd:
        client.close()
    assert turns >= len(crowd), "the accept loop has let nobody else run"


async def test_a_service_that_does_not_let_itself_be_cancelled_does_not_keep_it_from_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "ABORT_SECONDS", 0.1)
    (token,) = await asyncio.to_thread(seed, tmp_path / "data")
    begun, released = asyncio.Event(), asyncio.Event()

    async def stubborn(message: str | bytes) -> str | bytes:
        begun.set()
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()
        return message

    server = Server(stubborn, settings(tmp_path))
    async with server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        conversation = ClientConversation()
        writer.write(conversation.resume(token, Resume())[1] + conversation.message("hold")[1])
        await begun.wait()
    assert "tasks-left count=1" in log_of(server)
    assert log_of(server).splitlines()[-1].split()[2] == "stopped"
    released.set()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_stop_that_is_cancelled_still_closes_everything(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def never() -> None:
        begun.set()
        await asyncio.Event().wait()

    drain = server._drain
    monkeypatch.setattr(server, "_drain", never)
    stopping = asyncio.create_task(server.stop())
    await begun.wait()
    stopping.cancel()
    await asyncio.wait({stopping})
    assert log_of(server).splitlines()[-1].split()[2] == "stopped"
    monkeypatch.setattr(server, "_drain", drain)


class Nobody:
    """A holder that is gone."""

    peer = Peer("127.0.0.1:1", "127.0.0.1", None)
    accepted_at = accepted_by = 0.0
    present = True
    can_half_close = True

    def lose(self, reason: str, cause: str = "") -> None:
        """Hear of it."""


async def test_a_session_that_is_left_ends_although_its_connection_is_lost_meanwhile(
    server: Server, tmp_path: Path
) -> None:
    keeper = sessions(server)
    (token,) = await asyncio.to_thread(seed, tmp_path / "data", "bob")
    session = await keeper.resume(Token(token), Nobody())
    assert isinstance(session, Session)
    async with keeper.changing_password():  # as another session does: this one is not ended meanwhile
        ending = asyncio.create_task(keeper.end(session))
        await asyncio.sleep(0)
        await keeper.release(session)
    assert await ending is True
    with pytest.raises(SessionEnded):
        await keeper.resume(Token(token), Nobody())


async def test_a_session_that_another_connection_has_taken_up_is_not_ended_by_the_one_that_lost_it(
    server: Server, tmp_path: Path
) -> None:
    keeper = sessions(server)
    (token,) = await asyncio.to_thread(seed, tmp_path / "data", "bob")
    lost = await keeper.resume(Token(token), Nobody())
    assert isinstance(lost, Session)
    await keeper.resume(Token(token), Nobody())
    assert await keeper.end(lost) is False
    await keeper.resume(Token(token), Nobody())


# --- who may register, and who may listen where ------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "registration", "opened"),
    [("127.0.0.1", None, True), ("*", None, False), ("*", "open", True), ("127.0.0.1", "closed", False)],
)
async def test_registration_is_open_on_loopback_and_closed_elsewhere_unless_told(
    tmp_path: Path, host: str, registration: object, opened: bool
) -> None:
    settings = ServerSettings(data=tmp_path / "data", port=0, host=host, registration=registration)  # type: ignore[arg-type]
    async with Server(settings=settings) as server:
        assert server.registration is opened


@pytest.mark.parametrize(
    ("host", "registration", "takes"),
    [("127.0.0.1", None, True), ("*", None, True), ("*", "open", True), ("127.0.0.1", "closed", False)],
)
async def test_to_identify_takes_new_names_everywhere_unless_told(
    tmp_path: Path, host: str, registration: Any, takes: bool
) -> None:
    settings = ServerSettings(data=tmp_path, port=0, host=host, access="identify", registration=registration)
    async with Server(settings=settings) as server:
        assert server.registration is takes


async def test_anyone_is_refused_beyond_this_machine_unless_told(tmp_path: Path) -> None:
    settings = ServerSettings(data=tmp_path, port=0, host="*", access="anyone", registration="open")
    with pytest.raises(AnyoneRefused, match="--anyone-anywhere") as caught:
        await Server(settings=settings).__aenter__()
    assert isinstance(caught.value, ExposureRefused)
    told = ServerSettings(data=tmp_path, port=0, host="*", access="anyone", anyone_anywhere=True)
    async with Server(settings=told) as server:
        assert not server.registration


@pytest.mark.parametrize(("log", "told"), [("here.log", "{folder}/here.log"), ("/dev/stderr", "/dev/stderr")])
async def test_a_report_says_where_the_log_is_whatever_folder_it_is_read_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    async with Server(settings=settings(tmp_path, log=Path(log))) as running:
        assert running.measured().facts.log == told.format(folder=tmp_path)
