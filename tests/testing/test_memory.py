"""`MemoryTransport` behaves like a TCP transport of asyncio."""

import asyncio

import pytest

from antiphon.testing.memory import HIGH_WATER, PIECE, MemoryTransport


class End(asyncio.Protocol):
    """A protocol that records the events of one end of a connection."""

    def __init__(self, *, stays: bool = False) -> None:
        self.heard: list[object] = []
        self.stays = stays
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, MemoryTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard.append(data)

    def eof_received(self) -> bool:
        self.heard.append("end")
        return self.stays

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        assert not self.lost.done()
        self.lost.set_result(exc)


def joined(*, stays: bool = False) -> tuple[End, End]:
    ends = End(stays=stays), End(stays=stays)
    MemoryTransport.join(*ends)
    return ends


async def turns(count: int = 10) -> None:
    """Let the event loop run its pending callbacks."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_is_written_comes_in_order_and_never_from_within_the_call() -> None:
    one, other = joined()
    one.transport.write(b"first ")
    one.transport.write(b"second")
    other.transport.write(b"back")
    assert (one.heard, other.heard) == ([], [])
    await turns()
    assert (one.heard, other.heard) == ([b"back"], [b"first second"])


async def test_much_comes_in_pieces() -> None:
    one, other = joined()
    one.transport.write(bytes(2 * PIECE + 1))
    await turns()
    assert [len(piece) for piece in other.heard if isinstance(piece, bytes)] == [PIECE, PIECE, 1]


async def test_a_writer_is_paused_while_the_other_side_does_not_read() -> None:
    one, other = joined()
    other.transport.pause_reading()
    one.transport.write(bytes(HIGH_WATER))
    assert one.heard == []
    one.transport.write(b"x")
    assert one.heard == ["pause"]
    assert not other.transport.is_reading()
    await turns()
    assert other.heard == []
    assert one.transport.get_write_buffer_size() == HIGH_WATER + 1
    other.transport.resume_reading()
    await turns()
    assert sum(len(piece) for piece in other.heard if isinstance(piece, bytes)) == HIGH_WATER + 1
    assert one.heard == ["pause", "resume"]


async def test_the_limit_is_the_one_that_was_set() -> None:
    one, _ = joined()
    one.transport.set_write_buffer_limits(high=3)
    one.transport.write(b"abc")
    assert one.heard == []
    one.transport.write(b"d")
    assert one.heard == ["pause"]


async def test_the_end_comes_behind_what_was_written_and_leaves_the_other_direction_open() -> None:
    one, other = joined(stays=True)
    assert one.transport.can_write_eof()
    one.transport.write(b"last words")
    one.transport.write_eof()
    one.transport.write(b"too late")
    await turns()
    assert other.heard == [b"last words", "end"]
    other.transport.write(b"still heard")
    await turns()
    assert one.heard == [b"still heard"]
    assert not one.lost.done()
    assert not other.lost.done()


async def test_to_close_lets_the_other_side_read_everything_first() -> None:
    one, other = joined()
    other.transport.pause_reading()
    one.transport.write(b"last words")
    one.transport.close()
    assert one.transport.is_closing()
    await turns()
    assert not one.lost.done()
    other.transport.resume_reading()
    assert (await one.lost, await other.lost) == (None, None)
    assert other.heard == [b"last words", "end"]


async def test_a_side_that_closes_reads_no_more() -> None:
    one, other = joined(stays=True)
    other.transport.write(b"nobody reads this")
    one.transport.close()
    await one.lost
    assert one.heard == []
    other.transport.write(b"nor this")
    other.transport.close()
    assert await other.lost is None
    assert one.heard == []


async def test_both_may_close_at_once_with_bytes_on_their_way() -> None:
    one, other = joined()
    for end in (one, other):
        end.transport.pause_reading()
        end.transport.write(b"unread")
    one.transport.close()
    other.transport.close()
    assert (await one.lost, await other.lost) == (None, None)


@pytest.mark.parametrize("reading", [True, False])
async def test_an_abort_does_not_wait_for_anybody(reading: bool) -> None:
    one, other = joined()
    if not reading:
        other.transport.pause_reading()
    one.transport.write(b"lost")
    one.transport.abort()
    assert await one.lost is None
    other.transport.resume_reading()
    assert await other.lost is None
    assert other.heard == ["end"]
    one.transport.abort()
    await turns()


async def test_a_protocol_that_fails_is_cut_and_told_of() -> None:
    class Failing(End):
        def data_received(self, data: bytes) -> None:
            raise ValueError(data)

    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    one, other = End(), Failing()
    MemoryTransport.join(one, other)
    one.transport.write(b"too much")
    assert (await other.lost, await one.lost) == (None, None)
    assert isinstance(told[0], ValueError)
