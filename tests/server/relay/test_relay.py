"""The relaying end: what it keeps for a slow client, and what it tells the home of it. All sockets are real."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from antiphon.server.relay.link import WINDOW, Part
from antiphon.server.relay.relay import Relay
from antiphon.transport.plain import PlainTransport
from antiphon.wire.kinds import KIB
from server.relay.test_link import End

LARGE = 4 * WINDOW
SMALL = 4 * KIB
"""Asked of the system as the size of the client's socket buffers."""


class Between(NamedTuple):
    """A relay between a home and a client."""

    home: End
    relay: Relay
    client: socket.socket
    connections: set[Any]

    async def read(self, size: int) -> bytes:
        """Let the client read so many bytes."""
        data = b""
        async with asyncio.timeout(60):
            while len(data) < size:
                data += await asyncio.get_running_loop().sock_recv(self.client, size - len(data))
        return data


class Waiting(asyncio.Protocol):
    """What the client's transport serves before the relay."""

    def received(self, buffer: bytearray, size: int) -> None:
        raise AssertionError("nothing is sent")


@pytest.fixture
async def between() -> AsyncIterator[Between]:
    home, away = End(), End()
    near, far = socket.socketpair()
    ours, client = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    for each in (near, far, ours, client):
        each.setblocking(False)
    buffer = bytearray(WINDOW)
    PlainTransport(near, home.link, buffer)
    PlainTransport(far, away.link, buffer)
    transport = PlainTransport(ours, Waiting(), buffer)
    connections: set[Any] = set()
    relay = Relay(away.link, "home", transport, connections)
    yield Between(home, relay, client, connections)
    relay.abort()
    home.link.abort()
    client.close()
    await home.until(lambda: home.is_lost)
    async with asyncio.timeout(60):
        while connections:
            await asyncio.sleep(0)


def kept(relay: Relay) -> int:
    """Return how many bytes wait for the client."""
    return relay._transport.get_write_buffer_size()


async def settled(between: Between) -> None:
    """Wait until the window is full."""
    async with asyncio.timeout(60):
        while not kept(between.relay) or between.home.link._credit:
            await asyncio.sleep(0)


async def test_no_more_than_the_window_is_kept_for_a_client_that_does_not_read(between: Between) -> None:
    between.home.link.send(bytes(LARGE))
    await settled(between)
    assert 0 < kept(between.relay) <= WINDOW
    assert between.home.link.queued >= LARGE - WINDOW - 16 * SMALL


async def test_what_a_slow_client_takes_is_told_to_the_home_before_it_has_taken_all(between: Between) -> None:
    data = bytes(range(256)) * (LARGE // 256)
    between.home.link.send(data)
    await settled(between)
    untaken, waiting = between.home.link.untaken, kept(between.relay)
    read = b""
    async with asyncio.timeout(60):
        while kept(between.relay) > waiting - 8 * KIB:
            read += await between.read(KIB)
            await asyncio.sleep(0)
    assert kept(between.relay) > 0, "it has taken all of it"
    assert between.home.link.untaken == untaken
    between.relay.tick(0)
    await between.home.until(lambda: between.home.link.untaken <= untaken - 8 * KIB)
    while len(read) < LARGE:
        between.relay.tick(0)
        read += await between.read(min(KIB, LARGE - len(read)))
    assert read == data
    between.relay.tick(0)
    await between.home.until(lambda: not between.home.link.untaken)


async def test_what_the_home_does_not_take_is_left_in_the_client_s_socket(between: Between) -> None:
    between.home.takes = False
    loop = asyncio.get_running_loop()
    sending = asyncio.ensure_future(loop.sock_sendall(between.client, bytes(32 * WINDOW)))
    await between.home.until(lambda: len(between.home.came) == WINDOW)
    async with asyncio.timeout(60):
        while between.relay._transport.is_reading():  # type: ignore[attr-defined] # it is plain TCP
            await asyncio.sleep(0)
    assert between.relay._link.queued <= 64 * KIB
    assert not sending.done()
    between.home.takes = True
    between.home.link.took(WINDOW)
    await asyncio.wait_for(sending, 60)
    await between.home.until(lambda: len(between.home.came) == 32 * WINDOW)


async def test_the_home_closes_the_client_s_connection_after_what_it_has_sent(between: Between) -> None:
    between.home.link.send(bytes(LARGE))
    between.home.link.say_behind(Part.CLOSE)
    await between.read(LARGE)
    assert await asyncio.get_running_loop().sock_recv(between.client, 1) == b""
    assert not between.connections
    await between.home.until(lambda: between.home.is_lost)


async def test_a_link_that_is_lost_ends_the_client_s_connection(between: Between) -> None:
    assert between.connections == {between.relay}
    between.home.link.abort()
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.get_running_loop().sock_recv(between.client, 1) == b""
    async with asyncio.timeout(60):
        while between.connections:
            await asyncio.sleep(0)


async def test_the_end_of_a_client_s_bytes_comes_behind_them_and_the_home_still_answers(between: Between) -> None:
    await asyncio.get_running_loop().sock_sendall(between.client, b"last")
    between.client.shutdown(socket.SHUT_WR)
    await between.home.until(lambda: between.home.parts)
    assert between.home.parts == [(Part.EOF, b"", 4)]
    between.home.link.send(b"answer")
    between.home.link.say_behind(Part.CLOSE)
    assert await between.read(6) == b"answer"
    await between.home.until(lambda: between.home.is_lost)
    assert not between.connections


async def test_a_client_that_is_gone_ends_the_link(between: Between) -> None:
    between.client.close()
    between.home.link.send(bytes(LARGE))  # writing finds it
    await between.home.until(lambda: between.home.is_lost)
    assert not between.connections


async def test_a_goodbye_of_the_relaying_process_overtakes_the_bytes(between: Between) -> None:
    between.home.takes = False
    loop = asyncio.get_running_loop()
    sending = asyncio.ensure_future(loop.sock_sendall(between.client, bytes(4 * WINDOW)))
    await between.home.until(lambda: len(between.home.came) == WINDOW)
    between.relay.drain()
    await between.home.until(lambda: between.home.parts)
    assert between.home.parts == [(Part.DRAIN, b"", WINDOW)]
    sending.cancel()
