"""What a connection has to say: its order, what is counted of it, and what is held back."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from antiphon.server.connection.write_buffer import BATCH_LIMIT, PUSHED_LIMIT, QUEUE_LIMIT, WriteBuffer
from antiphon.transport.plain import PlainTransport

MUCH = 2**23


class Holder:
    """Has an buffer, as a connection has."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, PlainTransport)
        transport.set_write_buffer_limits(high=QUEUE_LIMIT)
        self.transport = transport
        self.buffer = WriteBuffer(transport)

    def received(self, buffer: bytes | bytearray, size: int) -> None: ...
    def eof_received(self) -> None: ...

    def pause_writing(self) -> None:
        self.buffer.paused = True

    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


@pytest_asyncio.fixture
async def ends() -> AsyncIterator[tuple[WriteBuffer, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    with far:
        holder = Holder()
        PlainTransport(near, holder, bytearray(8))
        yield holder.buffer, far
        holder.transport.abort()
        await asyncio.sleep(0)


async def test_what_is_said_now_goes_behind_what_waits(ends: tuple[WriteBuffer, socket.socket]) -> None:
    buffer, far = ends
    buffer.add(b"one ")
    buffer.put(b"two ")
    buffer.put(b"three")
    assert far.recv(100) == b"one two three"


async def test_while_the_transport_can_take_no_more_what_is_said_waits(
    ends: tuple[WriteBuffer, socket.socket],
) -> None:
    buffer, far = ends
    buffer.paused = True
    buffer.put(b"later")
    with pytest.raises(BlockingIOError):
        far.recv(100)
    assert (buffer.waiting, buffer.taken, buffer.wrote) == (5, 0, False)


async def test_of_much_no_more_than_it_takes_goes_to_the_transport(
    ends: tuple[WriteBuffer, socket.socket],
) -> None:
    buffer, _ = ends
    buffer.put(bytes(MUCH))
    assert buffer.paused
    assert buffer.waiting + buffer.taken == MUCH
    assert buffer.transport.get_write_buffer_size() <= QUEUE_LIMIT + BATCH_LIMIT


def add(buffer: WriteBuffer, data: bytes) -> None:
    buffer.add(data)
    buffer.flush()


def finish(buffer: WriteBuffer, data: bytes) -> None:
    buffer.add(data)
    buffer.finish()


def past(buffer: WriteBuffer, data: bytes) -> None:
    buffer.transport.write(data)
    buffer.credit(len(data))


@pytest.mark.parametrize("say", [add, WriteBuffer.put, finish, past])
async def test_all_that_is_said_is_counted(
    ends: tuple[WriteBuffer, socket.socket], say: Callable[[WriteBuffer, bytes], None]
) -> None:
    buffer, far = ends
    for number in range(2):
        buffer.wrote = False
        say(buffer, b"hello")
        assert (buffer.taken, buffer.waiting, buffer.wrote) == (5 * number + 5, 0, True)
    assert far.recv(100) == b"hellohello"


async def test_nothing_is_not_said(ends: tuple[WriteBuffer, socket.socket]) -> None:
    buffer, _ = ends
    buffer.credit(0)
    assert (buffer.taken, buffer.wrote) == (0, False)


async def test_too_much_waits_only_where_the_transport_can_take_no_more(
    ends: tuple[WriteBuffer, socket.socket],
) -> None:
    buffer, _ = ends
    buffer.paused = True
    buffer.add(bytes(PUSHED_LIMIT))
    assert not buffer.overfull
    buffer.add(b"x")
    assert buffer.overfull
    buffer.paused = False
    assert not buffer.overfull
