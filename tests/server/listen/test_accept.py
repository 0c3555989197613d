"""Acceptor: who is admitted, whose place is given back, and what happens when the machine has little left."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from antiphon.data.certificate import Certificate, load_or_make
from antiphon.data.folder import DataFolder
from antiphon.server.listen import accept
from antiphon.server.listen.accept import Acceptor
from antiphon.server.listen.limits import AdmissionLimits
from antiphon.server.listen.reception import Reception
from antiphon.server.peer import Peer
from antiphon.server.tasks import BackgroundTasks
from support.auth import RecordingLog
from support.raw import tls_context


class Accepted:
    """A connection that counts as made once it has a transport."""

    def __init__(self, peer: Peer, accepted_at: float) -> None:
        self.peer = peer
        self.accepted_at = accepted_at
        self.made = False
        self.over = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made = True
        self.transport = transport

    def received(self, buffer: bytearray, size: int) -> None:
        """Take nothing."""

    def eof_received(self) -> bool:
        return False

    def peer_lags(self) -> None:
        """Do nothing."""

    def pause_writing(self) -> None:
        """Nothing is written."""

    def resume_writing(self) -> None:
        """Nothing is written."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set()


class Listener(socket.socket):
    """A listening socket on which the next calls of `accept` raise `fails`."""

    def __init__(self) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self.fails: list[OSError] = []

    def accept(self) -> tuple[socket.socket, Any]:
        if self.fails:
            raise self.fails.pop()
        return super().accept()


class Door:
    """An acceptor on a free port of 127.0.0.1, and what it has made."""

    def __init__(
        self, listener: Listener, certificate: Certificate | None = None, *, most: int = 9, seconds: float = 60
    ) -> None:
        self.listener = listener
        self.limits = AdmissionLimits(most, 0, most, most, lambda: 1.0)
        self.tasks = BackgroundTasks()
        self.log = RecordingLog()
        self.accepted: asyncio.Queue[Accepted] = asyncio.Queue()
        self.fails: list[Exception] = []
        """What making the next connections raises."""
        self.reception = Reception(
            certificate,
            limits=self.limits,
            connect=self._made,
            tasks=self.tasks,
            log=self.log,
            handshake_seconds=seconds,
        )
        self._acceptor = Acceptor(listener, self.reception.begin, self.log)

    def _made(self, peer: Peer, accepted_at: float) -> Accepted:
        if self.fails:
            raise self.fails.pop()
        connection = Accepted(peer, accepted_at)
        self.accepted.put_nowait(connection)
        return connection

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._acceptor.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
        while not self.accepted.empty():
            connection = self.accepted.get_nowait()
            if connection.made:
                connection.transport.abort()  # type: ignore[attr-defined] # it is one of ours
                await connection.over.wait()

    async def knock(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.listener.getsockname()[:2])


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        yield listener


async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Wait until the server has closed the connection."""
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()


async def test_a_connection_is_made_with_its_peer_and_the_time(listener: Listener) -> None:
    async with Door(listener) as door:
        before = asyncio.get_running_loop().time()
        _, writer = await door.knock()
        connection = await door.accepted.get()
        host, port = writer.get_extra_info("sockname")
        assert connection.peer == Peer(f"{host}:{port}", host, None)
        assert before <= connection.accepted_at <= asyncio.get_running_loop().time()
        assert connection.made
        assert door.limits.count == 1, "its place is given back by the connection itself"
        door.accepted.put_nowait(connection)
        writer.close()


async def test_who_is_one_too_many_is_closed_and_counted_and_no_connection_is_made(
    listener: Listener,
) -> None:
    async with Door(listener, most=1) as door:
        _, first = await door.knock()
        await gone(*await door.knock())
        await gone(*await door.knock())
        assert door.accepted.qsize() == 1
        assert (door.limits.take_dropped(), door.limits.take_dropped()) == (2, 0)
        assert door.log.records == []
        first.close()


async def test_a_fault_with_one_client_keeps_nobody_else_out(listener: Listener) -> None:
    async with Door(listener) as door:
        door.fails = [RuntimeError("a fault")]
        await gone(*await door.knock())
        _, writer = await door.knock()
        connection = await door.accepted.get()
        assert connection.made
        (record,) = door.log.records
        assert record.event == "fault"
        assert door.limits.count == 1, "the place of the other one is given back"
        door.accepted.put_nowait(connection)
        writer.close()


async def test_a_client_that_is_gone_when_its_connection_is_to_be_made_is_no_fault(listener: Listener) -> None:
    async with Door(listener) as door:
        door.fails = [OSError(errno.EINVAL, "it is gone")]
        await gone(*await door.knock())
        assert (door.limits.count, door.log.records) == (0, [])


@pytest.mark.parametrize(("number", "events"), [(errno.EMFILE, ["accept-exhausted"]), (errno.ECONNABORTED, [])])
async def test_accepting_goes_on_after_an_error_and_a_machine_with_nothing_left_is_logged_once(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, number: int, events: list[str]
) -> None:
    monkeypatch.setattr(accept, "RETRY_SECONDS", 0)
    listener.fails = [OSError(number, "not now") for _ in range(3)]
    async with Door(listener) as door:
        _, writer = await door.knock()
        connection = await door.accepted.get()
        assert connection.made
        assert [record.event for record in door.log.records] == events
        door.accepted.put_nowait(connection)
        writer.close()


async def test_a_listener_that_could_not_be_watched_is_watched_again(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    fails = [OSError(errno.ENOSPC, "the system watches no more")] * 2
    watch: Callable[..., object] = loop.add_reader

    def add_reader(*given: object) -> None:
        if fails and given[0] is listener:
            raise fails.pop()
        watch(*given)

    monkeypatch.setattr(loop, "add_reader", add_reader)
    monkeypatch.setattr(accept, "RETRY_SECONDS", 0)
    async with Door(listener) as door:
        _, writer = await door.knock()
        connection = await door.accepted.get()
        assert connection.made
        assert [record.event for record in door.log.records] == ["accept-exhausted"]
        door.accepted.put_nowait(connection)
        writer.close()


# --- TLS ----------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return load_or_make(DataFolder.open(tmp_path / "data"), ["localhost"])


async def test_over_tls_a_connection_is_made_after_the_handshake_and_bound(
    listener: Listener, certificate: Certificate
) -> None:
    async with Door(listener, certificate) as door:
        _, writer = await asyncio.open_connection(*listener.getsockname()[:2], ssl=tls_context())
        connection = await door.accepted.get()
        while door.tasks:
            await asyncio.wait(list(door.tasks))
        assert connection.made
        assert connection.peer.binding == certificate.binding
        assert connection.peer.mechanism == "SCRAM-SHA-256-PLUS"
        assert door.limits.count == 1
        door.accepted.put_nowait(connection)
        writer.close()


@pytest.mark.parametrize(
    ("sent", "seconds", "why"),
    [
        (bytes(64), 60, "no TLS"),
        (b"", 0.2, "client sent nothing"),
        (b"\x16\x03\x01", 0.2, "took too long"),
        (None, 60, "connection closed"),
    ],
    ids=["rubbish", "silence", "a part", "gone"],
)
async def test_a_handshake_that_fails_is_logged_and_gives_its_place_back(
    listener: Listener, certificate: Certificate, sent: bytes | None, seconds: float, why: str
) -> None:
    async with Door(listener, certificate, seconds=seconds) as door:
        reader, writer = await door.knock()
        connection = await door.accepted.get()
        if sent is None:
            writer.close()
        else:
            writer.write(sent)
        while door.tasks:
            await asyncio.wait(list(door.tasks))
        assert not connection.made
        assert door.limits.count == 0
        (record,) = door.log.records
        assert (record.event, record.fields) == ("tls-failed", {"address": connection.peer.address, "why": why})
        if sent is not None:
            await asyncio.wait_for(reader.read(), 60)
        writer.close()
