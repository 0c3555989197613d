"""`FaultProxy` cuts, delays, splits and garbles exactly as told, to the byte."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from antiphon.address import Address
from antiphon.testing import FaultProxy, LinkFault


class There:
    """An echo server that also keeps what it received."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.address: Address

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                self.got.append(data)
                writer.write(data)
                await writer.drain()
            writer.write(b".")  # after the end of the other direction
        writer.close()


@pytest.fixture
async def there() -> AsyncIterator[There]:
    there = There()
    async with await asyncio.start_server(there.serve, "127.0.0.1", 0) as server:
        there.address = Address("tcp", "127.0.0.1", server.sockets[0].getsockname()[1], "ann", None)
        yield there


async def talk(proxy: FaultProxy, data: bytes) -> bytes:
    """Send `data` and close the output; return everything received until the end."""
    reader, writer = await asyncio.open_connection(proxy.address.host, proxy.address.port)
    back = b""
    with contextlib.suppress(ConnectionError):
        writer.write(data)
        writer.write_eof()
        while piece := await reader.read(1 << 20):
            back += piece
    writer.close()
    return back


async def test_without_a_fault_everything_passes_and_is_counted(there: There) -> None:
    async with FaultProxy(there.address) as proxy:
        assert (proxy.address.name, proxy.address.host) == ("ann", "127.0.0.1")
        assert proxy.address.port != there.address.port
        data = bytes(range(256)) * 4096
        assert await talk(proxy, data) == data + b"."
        assert proxy.passed == {"up": len(data), "down": len(data) + 1}
        assert proxy.connections == 1


@pytest.mark.parametrize("at", range(5))
async def test_a_cut_comes_at_its_byte(there: There, at: int) -> None:
    async with FaultProxy(there.address, lambda _: LinkFault("down", cut_at=at)) as proxy:
        assert await talk(proxy, b"hello") == b"hello"[:at]
        assert proxy.passed["down"] == at
    async with FaultProxy(there.address, lambda _: LinkFault("up", cut_at=at)) as proxy:
        there.got.clear()
        await talk(proxy, b"hello")
        assert proxy.passed["up"] == at
        while len(b"".join(there.got)) < at:  # what passed arrives, if later
            await asyncio.sleep(0)
        assert b"".join(there.got) == b"hello"[:at]


async def test_one_byte_is_garbled_and_no_other(there: There) -> None:
    faults = {number: LinkFault("up" if number < 3 else "down", garble_at=number, split=2) for number in range(5)}
    async with FaultProxy(there.address, faults.get) as proxy:
        for number in faults:
            back = await talk(proxy, b"hello")
            assert [place for place in range(5) if back[place] != b"hello"[place]] == [number]
            assert back.endswith(b".")


async def test_faults_are_those_of_the_connection_with_their_number(there: There) -> None:
    faults = {1: LinkFault("down", cut_at=1)}
    async with FaultProxy(there.address, faults.get) as proxy:
        assert [await talk(proxy, b"hello") for _ in range(3)] == [b"hello.", b"h", b"hello."]
        assert proxy.connections == 3


async def test_what_is_split_and_delayed_comes_whole_and_later(there: There) -> None:
    clock = asyncio.get_running_loop().time
    async with FaultProxy(there.address, lambda _: LinkFault("up", split=1, delay=0.01)) as proxy:
        began = clock()
        assert await talk(proxy, b"hello") == b"hello."
        assert clock() - began >= 0.05
    assert max(len(piece) for piece in there.got) < 5
    there.got.clear()
    async with FaultProxy(there.address, lambda _: LinkFault("down", delay=0.01)) as proxy:
        assert await talk(proxy, b"hello") == b"hello."
    assert there.got == [b"hello"]


async def test_everything_is_cut_at_a_word_and_a_new_connection_passes(there: There) -> None:
    async with FaultProxy(there.address) as proxy:
        reader, writer = await asyncio.open_connection(proxy.address.host, proxy.address.port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        await proxy.cut()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        assert await talk(proxy, b"hello") == b"hello."


async def test_a_target_that_is_not_there_is_an_end(there: There) -> None:
    async with await asyncio.start_server(there.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
    async with FaultProxy(Address("tcp", "127.0.0.1", port)) as proxy:
        assert await talk(proxy, b"hello") == b""
