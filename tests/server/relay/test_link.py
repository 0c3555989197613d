"""Tests of the relay link: parts, credit, order, and parts that are cut anywhere. Both ends are real."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.server.relay.link import WINDOW, Part, RelayLink
from antiphon.transport.plain import PlainTransport

LARGE = 3 * WINDOW


class End:
    """One end, which takes what comes at once or not at all."""

    def __init__(self, *, takes: bool = True) -> None:
        self.link = RelayLink(self)
        self.takes = takes
        self.came = bytearray()
        self.parts: list[tuple[Part, bytes, int]] = []
        """Parts, with how many bytes had come before each."""
        self.credits = 0
        self.is_lost = False
        self._changed = asyncio.Event()

    def said(self, part: Part, payload: bytes) -> None:
        self.parts.append((part, payload, len(self.came)))
        self._changed.set()

    def data(self, data: bytearray) -> None:
        self.came += data
        if self.takes:
            self.link.took(len(data))
        self._changed.set()

    def credited(self) -> None:
        self.credits += 1
        self._changed.set()

    def lost(self) -> None:
        self.is_lost = True
        self._changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(60):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def linked(*, takes: bool = True) -> AsyncIterator[tuple[End, End]]:
    """Link two ends over a socket pair; the far one takes what comes, or not."""
    near, far = End(), End(takes=takes)
    for end, sock in zip((near, far), socket.socketpair(), strict=True):
        sock.setblocking(False)
        PlainTransport(sock, end.link, bytearray(64 * 1024))
    try:
        yield near, far
    finally:
        near.link.abort()
        far.link.abort()
        await near.until(lambda: near.is_lost)
        await far.until(lambda: far.is_lost)


async def test_bytes_and_parts_arrive_in_order() -> None:
    async with linked() as (near, far):
        near.link.say(Part.OPEN, b"hello")
        near.link.send(b"abc")
        near.link.send(b"def")
        near.link.say_behind(Part.EOF)
        await far.until(lambda: len(far.parts) == 2)
    assert bytes(far.came) == b"abcdef"
    assert far.parts == [(Part.OPEN, b"hello", 0), (Part.EOF, b"", 6)]


async def test_what_is_large_arrives_whole_under_the_credit() -> None:
    data = bytes(range(256)) * (LARGE // 256)
    async with linked() as (near, far):
        near.link.send(data)
        near.link.say_behind(Part.CLOSE)
        await far.until(lambda: far.parts)
    assert bytes(far.came) == data
    assert far.parts == [(Part.CLOSE, b"", LARGE)]


async def test_no_more_than_the_window_is_on_the_way() -> None:
    async with linked(takes=False) as (near, far):
        near.link.send(bytes(LARGE))
        await far.until(lambda: len(far.came) == WINDOW)
        near.link.say(Part.DRAIN)  # it is not stuck behind the bytes
        await far.until(lambda: far.parts)
        assert near.link.queued == LARGE - WINDOW
        assert near.link.untaken == LARGE
        assert far.parts == [(Part.DRAIN, b"", WINDOW)]
        far.link.took(WINDOW)
        await far.until(lambda: len(far.came) == 2 * WINDOW)
        assert near.link.queued == LARGE - 2 * WINDOW


async def test_little_that_was_taken_is_reported_with_the_next_part() -> None:
    async with linked() as (near, far):
        near.link.send(b"abc")
        await far.until(lambda: far.came)
        assert near.credits == 0
        assert near.link.untaken == 3
        far.link.send(b"answer")
        await near.until(lambda: near.came)
        assert near.credits == 1
        assert near.link.untaken == 0
        near.link.report()
        await far.until(lambda: far.credits)
        assert far.link.untaken == 0


async def test_a_link_that_is_held_gives_everything_to_the_end_that_comes_after() -> None:
    async with linked() as (near, far):
        near.link.hold()
        far.link.send(b"early")
        far.link.say(Part.CLOSE)
        far.link.close()
        await far.until(lambda: far.is_lost)
        await near.until(lambda: near.is_lost)
        after = End()
        assert not near.came
        near.link.serve(after)
        after.link = near.link
        assert bytes(after.came) == b"early"
        assert [part for part, *_ in after.parts] == [Part.CLOSE]
        assert after.is_lost
        near.link.end = near


@pytest.mark.parametrize("data", [b"\x63\0\0\0\0", b"\x08\xff\xff\xff\xff", b"\x09\0\0\0\1x"])
async def test_what_is_no_part_closes_the_link(data: bytes) -> None:
    end = End()
    near, far = socket.socketpair()
    near.setblocking(False)
    PlainTransport(near, end.link, bytearray(64 * 1024))
    far.sendall(data)
    await end.until(lambda: end.is_lost)
    far.close()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=30), max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_parts_may_be_cut_anywhere(pieces: list[bytes], sizes: list[int]) -> None:
    async def run() -> bytes:
        end = End()
        written = bytearray()

        class Wire:
            write = written.extend

        near = RelayLink(end)
        near.connection_made(Wire())  # type: ignore[arg-type]
        for piece in pieces:
            near.send(piece)
        near.say_behind(Part.EOF)
        far = End(takes=False)
        at, turn = 0, 0
        while at < len(written):
            size = sizes[turn % len(sizes)]
            cut = bytearray(written[at : at + size])
            far.link.received(cut, len(cut))
            at, turn = at + size, turn + 1
        assert [part for part, *_ in far.parts] == [Part.EOF]
        return bytes(far.came)

    assert asyncio.run(run()) == b"".join(pieces)


async def test_a_far_end_that_sends_more_than_its_credit_is_cut() -> None:
    async with linked(takes=False) as (near, far):
        near.link.send(bytes(LARGE))
        await far.until(lambda: len(far.came) == WINDOW)
        near.link._credit = 1
        near.link._flush()
        await near.until(lambda: near.is_lost)
        await far.until(lambda: far.is_lost)
        assert len(far.came) == WINDOW
