"""Plain transport: it keeps what asyncio documents, on both event loops."""

import asyncio
import contextlib
import os
import socket
import struct
import weakref
from collections.abc import AsyncIterator
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any

import pytest

from antiphon.transport import plain
from antiphon.transport.endpoint import PythonSocketEndpoint, SocketEndpoint
from antiphon.transport.plain import WRITE_LIMIT, PlainTransport

MUCH = 2**23
WHO: ContextVar[str] = ContextVar("who", default="nobody")


class End:
    """A protocol that notes its calls."""

    def __init__(self, *, stays: bool = False) -> None:
        self.heard: list[object] = []
        self.stays = stays
        self.resumed_at: list[int] = []
        """Queued bytes at each call of `resume_writing`."""
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, PlainTransport)
        self.transport = transport

    def received(self, buffer: bytes | bytearray, size: int) -> None:
        self._hear(bytes(buffer[:size]))

    def eof_received(self) -> bool:
        self._hear("end")
        return self.stays

    def pause_writing(self) -> None:
        self._hear("pause")

    def resume_writing(self) -> None:
        self.resumed_at.append(self.transport.get_write_buffer_size())
        self._hear("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        assert not self.lost.done()
        self.lost.set_result(exc)

    def _hear(self, what: object) -> None:
        self.heard.append(what)
        self._news.set()

    async def hears(self, *what: object) -> None:
        """Wait until exactly these calls were made."""
        async with asyncio.timeout(60):
            while self.heard != list(what):
                self._news.clear()
                await self._news.wait()


@pytest.fixture(params=list(dict.fromkeys([PythonSocketEndpoint, SocketEndpoint])), autouse=True)
def twin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "SocketEndpoint", request.param)


@contextlib.asynccontextmanager
async def connected(*, stays: bool = False) -> AsyncIterator[tuple[End, socket.socket]]:
    """A protocol and the socket of its peer; the loop must not report an error meanwhile."""
    loop = asyncio.get_running_loop()
    wrong: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: wrong.append(context))
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as far:
        listener.setblocking(False)
        far.setblocking(False)
        await loop.sock_connect(far, listener.getsockname())
        near, _ = await loop.sock_accept(listener)
        end = End(stays=stays)
        PlainTransport(near, end, bytearray(2**16))
        yield end, far
        end.transport.abort()
        await asyncio.wait_for(end.lost, 60)
        assert near.fileno() == -1
        await asyncio.sleep(0)
        assert wrong == []


async def take(far: socket.socket, size: int) -> bytes:
    loop, data = asyncio.get_running_loop(), bytearray()
    async with asyncio.timeout(60):
        while len(data) < size:
            piece = await loop.sock_recv(far, size - len(data))
            assert piece
            data += piece
    return bytes(data)


async def give(far: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(far, data)


async def test_bytes_go_both_ways_in_order() -> None:
    async with connected() as (end, far):
        end.transport.write(b"one ")
        end.transport.write(bytearray(b"two"))
        assert await take(far, 7) == b"one two"
        await give(far, b"three")
        await end.hears(b"three")


async def test_written_bytes_are_sent_when_write_returns() -> None:
    async with connected() as (end, far):
        end.transport.write(b"now")
        assert far.recv(10) == b"now"
        assert end.transport.get_write_buffer_size() == 0


async def test_received_bytes_go_to_the_given_function() -> None:
    async with connected() as (end, far):
        other = asyncio.get_running_loop().create_future()
        end.transport.hand_to(lambda buffer, size: other.set_result(bytes(buffer[:size])))
        await give(far, b"to another")
        assert await asyncio.wait_for(other, 60) == b"to another"
        assert end.heard == []


async def test_a_peer_that_does_not_read_pauses_the_protocol_and_gets_everything_in_order() -> None:
    async with connected() as (end, far):
        transport = end.transport
        data = bytes(range(256)) * (MUCH // 256)
        transport.write(data)
        assert end.heard == ["pause"]
        transport.write(b"behind it")
        assert end.heard == ["pause"]
        assert transport.get_write_buffer_size() > WRITE_LIMIT
        assert await take(far, MUCH + 9) == data + b"behind it"
        await end.hears("pause", "resume")
        assert transport.get_write_buffer_size() == 0
        transport.write(b"at once again")
        assert far.recv(20) == b"at once again"


async def test_written_bytes_follow_queued_bytes_if_the_socket_has_room_again() -> None:
    async with connected() as (end, far):
        end.transport.write(bytes(MUCH))
        taken = 0
        with contextlib.suppress(BlockingIOError):  # the transport is not called yet
            while True:
                taken += len(far.recv(MUCH))
        end.transport.write(b"behind it")
        assert await take(far, MUCH + 9 - taken) == bytes(MUCH - taken) + b"behind it"


@pytest.mark.parametrize("high", [0, WRITE_LIMIT])
async def test_the_protocol_resumes_at_the_lower_limit(high: int) -> None:
    async with connected() as (end, far):
        end.transport.set_write_buffer_limits(high)
        end.transport.write(bytes(MUCH))
        await take(far, MUCH)
        await end.hears("pause", "resume")
        assert end.resumed_at[0] <= high // 4


async def test_the_protocol_is_paused_above_the_limit_and_resumed_at_the_lower_one() -> None:
    async with connected() as (end, _):
        transport = end.transport
        transport.set_write_buffer_limits(MUCH)
        assert transport.get_write_buffer_limits() == (MUCH // 4, MUCH)
        transport.write(bytes(MUCH))
        assert end.heard == []
        held = transport.get_write_buffer_size()
        transport.write(bytes(MUCH - held))
        assert (end.heard, transport.get_write_buffer_size()) == ([], MUCH)
        transport.write(b"x")
        assert end.heard == ["pause"]
        transport.set_write_buffer_limits(high=10, low=3)
        assert transport.get_write_buffer_limits() == (3, 10)


async def test_nothing_is_read_while_reading_is_paused() -> None:
    async with connected() as (end, far):
        transport = end.transport
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        await give(far, b"waits")
        for _ in range(10):
            await asyncio.sleep(0)
        assert end.heard == []
        transport.resume_reading()
        transport.resume_reading()
        assert transport.is_reading()
        await end.hears(b"waits")


async def test_the_protocol_is_called_in_its_own_context() -> None:
    def look(*_: object) -> None:
        end.heard.append(WHO.get())

    async with connected() as (end, far):
        end.transport.hand_to(look)
        end.resume_writing = look  # type: ignore[method-assign]
        end.transport.pause_reading()
        another = copy_context()
        another.run(WHO.set, "another")
        another.run(end.transport.resume_reading)
        another.run(end.transport.write, bytes(MUCH))
        await take(far, MUCH)
        await give(far, b"hello")
        far.shutdown(socket.SHUT_WR)
        await end.hears("pause", "nobody", "nobody", "end")


async def test_the_end_of_the_stream_closes() -> None:
    async with connected() as (end, far):
        end.transport.pause_reading()
        await give(far, b"last")
        far.shutdown(socket.SHUT_WR)
        end.transport.resume_reading()
        assert await asyncio.wait_for(end.lost, 60) is None
        assert end.heard == [b"last", "end"]
        assert far.recv(1) == b""


async def test_a_protocol_that_stays_can_write_and_gets_the_end_once() -> None:
    async with connected(stays=True) as (end, far):
        far.shutdown(socket.SHUT_WR)
        await end.hears("end")
        assert not end.transport.is_reading()
        end.transport.resume_reading()
        assert not end.transport.is_reading()
        end.transport.write(b"an answer")
        assert await take(far, 9) == b"an answer"
        end.transport.close()
        end.transport.close()
        assert await asyncio.wait_for(end.lost, 60) is None
        assert end.heard == ["end"]


async def test_closing_sends_what_was_written_and_reads_nothing_more() -> None:
    async with connected() as (end, far):
        transport = end.transport
        transport.write(bytes(MUCH))
        transport.close()
        transport.close()
        assert transport.is_closing()
        transport.resume_reading()
        assert not transport.is_reading()
        transport.write(b"too late")
        assert await take(far, MUCH) == bytes(MUCH)
        assert await asyncio.wait_for(end.lost, 60) is None
        assert await asyncio.get_running_loop().sock_recv(far, 1) == b""


async def test_after_write_eof_the_other_direction_stays_open() -> None:
    async with connected() as (end, far):
        transport = end.transport
        assert transport.can_write_eof()
        transport.write(bytes(MUCH))
        transport.write_eof()
        transport.write_eof()
        transport.write(b"too late")
        assert await take(far, MUCH) == bytes(MUCH)
        assert await asyncio.get_running_loop().sock_recv(far, 1) == b""
        transport.write(b"too late as well")
        await give(far, b"still heard")
        await end.hears("pause", "resume", b"still heard")


async def test_write_eof_takes_effect_at_once_without_queued_bytes() -> None:
    async with connected() as (end, far):
        end.transport.write_eof()
        assert far.recv(1) == b""
        end.transport.write(b"too late")
        await give(far, b"still heard")
        await end.hears(b"still heard")


async def test_abort_discards_queued_bytes() -> None:
    async with connected() as (end, _):
        end.transport.write(bytes(MUCH))
        end.transport.abort()
        end.transport.abort()
        assert end.transport.get_write_buffer_size() == 0
        assert not end.lost.done()  # never from within the call
        assert await asyncio.wait_for(end.lost, 60) is None


async def test_a_close_that_cannot_end_can_be_aborted() -> None:
    async with connected() as (end, _):
        end.transport.write(bytes(MUCH))
        end.transport.close()
        end.transport.abort()
        assert await asyncio.wait_for(end.lost, 60) is None


@pytest.mark.parametrize("waiting", [0, MUCH])
async def test_a_reset_is_reported_once(waiting: int) -> None:
    async with connected() as (end, far):
        end.transport.write(bytes(waiting))
        end.transport.write(b"never read")
        await asyncio.get_running_loop().sock_recv(far, 1)
        far.close()
        error = await asyncio.wait_for(end.lost, 60)
        assert isinstance(error, ConnectionResetError | BrokenPipeError)
        end.transport.write(b"nobody hears it")
        end.transport.close()


async def test_a_reset_after_received_bytes_is_reported_without_a_write() -> None:
    async with connected() as (end, far):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.send(b"last words")
        far.close()  # the loop finds both at once
        assert isinstance(await asyncio.wait_for(end.lost, 60), ConnectionResetError)
        assert end.heard == [b"last words"]


@pytest.mark.parametrize("waiting", [0, MUCH])
async def test_a_reset_is_found_while_reading_is_paused(waiting: int) -> None:
    async with connected() as (end, far):
        end.transport.pause_reading()
        end.transport.write(b"never read")
        end.transport.write(bytes(waiting))
        far.close()
        end.transport.write_eof()
        assert isinstance(await asyncio.wait_for(end.lost, 60), OSError)


async def test_a_socket_that_cannot_be_watched_is_lost(tmp_path: Path) -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    with far, (tmp_path / "file").open("w") as file:
        os.dup2(file.fileno(), near.fileno())  # no system can watch a file
        end = End()
        PlainTransport(near, end, bytearray(8))
        assert isinstance(await asyncio.wait_for(end.lost, 60), OSError)
    assert near.fileno() == -1


async def test_a_lost_peer_is_found_by_writing() -> None:
    async with connected() as (end, far):
        end.transport.pause_reading()
        far.close()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            while not end.lost.done():
                end.transport.write(b"hello")
                await asyncio.sleep(0)
        assert isinstance(end.lost.result(), ConnectionResetError | BrokenPipeError)
        assert loop.is_running()


async def test_an_exception_of_the_protocol_ends_the_connection_and_goes_to_the_loop() -> None:
    told: list[dict[str, Any]] = []
    async with connected() as (end, far):
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

        def boom(buffer: bytearray, size: int) -> None:
            raise ValueError("why")

        end.transport.hand_to(boom)
        await give(far, b"x")
        error = await asyncio.wait_for(end.lost, 60)
        assert isinstance(error, ValueError)
        assert [context["exception"] for context in told] == [error]


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_nothing_is_sent_to_a_closed_socket_or_its_successor(how: str) -> None:
    async with connected() as (end, far):
        getattr(end.transport, how)()
        assert not end.lost.done()  # never from within the call
        end.transport.write(b"too late")
        end.transport.write_framed(b"too ", "late")
        assert await asyncio.wait_for(end.lost, 60) is None
        assert await asyncio.get_running_loop().sock_recv(far, 100) == b""
        near, other = socket.socketpair()
        with near, other:
            other.setblocking(False)
            end.transport.write(b"for another")
            end.transport.write_framed(b"for ", "another")
            with pytest.raises(BlockingIOError):
                other.recv(100)


async def test_the_socket_is_closed_if_connection_lost_raises() -> None:
    told: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.set_result(context))
    near, far = socket.socketpair()
    near.setblocking(False)
    with far:
        end = End()
        end.lost.set_result(None)  # a second call would raise
        PlainTransport(near, end, bytearray(8))
        end.transport.abort()
        assert isinstance((await asyncio.wait_for(told, 60))["exception"], AssertionError)
    assert near.fileno() == -1


async def test_no_reference_to_a_protocol_stays_after_connection_lost() -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    with far:
        end = End()
        transport = PlainTransport(near, end, bytearray(8))
        transport.abort()
        await asyncio.wait_for(end.lost, 60)
        left = weakref.ref(end)
        del end
        assert left() is None
        assert transport.is_closing()


async def test_a_protocol_may_close_in_connection_made() -> None:
    async with connected() as (end, far):

        def close(buffer: bytearray, size: int) -> None:
            end.transport.close()

        end.transport.hand_to(close)
        await give(far, b"x")
        assert await asyncio.wait_for(end.lost, 60) is None


async def test_the_socket_and_the_protocol_can_be_asked_for() -> None:
    async with connected() as (end, far):
        assert end.transport.get_protocol() is end
        assert end.transport.get_extra_info("socket").getsockname() == far.getpeername()
        assert end.transport.get_extra_info("peername", "none") == "none"
