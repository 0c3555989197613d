"""What a connection has to say: its order, what is counted of it, and what is held back."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from antiphon.server.outbox import BATCH_LIMIT, PUSHED_LIMIT, QUEUE_LIMIT, Outbox
from antiphon.transport.plain import PlainTransport

MUCH = 2**23


class Holder:
    """Has an outbox, as a connection has."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, PlainTransport)
        transport.set_write_buffer_limits(high=QUEUE_LIMIT)
        self.transport = transport
        self.outbox = Outbox(transport)

    def received(self, buffer: bytes | bytearray, size: int) -> None: ...
    def eof_received(self) -> None: ...

    def pause_writing(self) -> None:
        self.outbox.paused = True

    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


@pytest_asyncio.fixture
async def ends() -> AsyncIterator[tuple[Outbox, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    with far:
        holder = Holder()
        PlainTransport(near, holder, bytearray(8))
        yield holder.outbox, far
        holder.transport.abort()
        await asyncio.sleep(0)


async def test_what_is_said_now_goes_behind_what_waits(ends: tuple[Outbox, socket.socket]) -> None:
    outbox, far = ends
    outbox.add(b"one ")
    outbox.put(b"two ")
    outbox.put(b"three")
    assert far.recv(100) == b"one two three"


async def test_while_the_transport_can_take_no_more_what_is_said_waits(ends: tuple[Outbox, socket.socket]) -> None:
    outbox, far = ends
    outbox.paused = True
    outbox.put(b"later")
    with pytest.raises(BlockingIOError):
        far.recv(100)
    assert (outbox.waiting, outbox.taken, outbox.spoke) == (5, 0, False)


async def test_of_much_no_more_than_it_takes_goes_to_the_transport(ends: tuple[Outbox, socket.socket]) -> None:
    outbox, _ = ends
    outbox.put(bytes(MUCH))
    assert outbox.paused
    assert outbox.waiting + outbox.taken == MUCH
    assert outbox._transport.get_write_buffer_size() <= QUEUE_LIMIT + BATCH_LIMIT


def add(outbox: Outbox, data: bytes) -> None:
    outbox.add(data)
    outbox.flush()


def finish(outbox: Outbox, data: bytes) -> None:
    outbox.add(data)
    outbox.finish()


def past(outbox: Outbox, data: bytes) -> None:
    outbox.write(data)
    outbox.credit(len(data))


@pytest.mark.parametrize("say", [add, Outbox.put, finish, past])
async def test_all_that_is_said_is_counted(
    ends: tuple[Outbox, socket.socket], say: Callable[[Outbox, bytes], None]
) -> None:
    outbox, far = ends
    for number in range(2):
        outbox.spoke = False
        say(outbox, b"hello")
        assert (outbox.taken, outbox.waiting, outbox.spoke) == (5 * number + 5, 0, True)
    assert far.recv(100) == b"hellohello"


async def test_nothing_is_not_said(ends: tuple[Outbox, socket.socket]) -> None:
    outbox, _ = ends
    outbox.credit(0)
    assert (outbox.taken, outbox.spoke) == (0, False)


async def test_too_much_waits_only_where_the_transport_can_take_no_more(
    ends: tuple[Outbox, socket.socket],
) -> None:
    outbox, _ = ends
    outbox.paused = True
    outbox.add(bytes(PUSHED_LIMIT))
    assert not outbox.overfull
    outbox.add(b"x")
    assert outbox.overfull
    outbox.paused = False
    assert not outbox.overfull
