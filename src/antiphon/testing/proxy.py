"""A relay between a client and a server that does to their bytes what a bad network does."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal, Self

from antiphon.address import Address

CHUNK = 64 * 1024


@dataclass(frozen=True)
class LinkFault:
    """What happens to the bytes of one connection in one direction, counted from its beginning."""

    direction: Literal["up", "down"]
    """from the client (`up`) or from the server (`down`)"""
    cut_at: int | None = None
    """both sides are cut off when so many bytes have passed"""
    garble_at: int | None = None
    """the byte with this number is changed"""
    split: int = CHUNK
    """bytes that are passed on in one piece, at the most"""
    delay: float = 0.0
    """seconds before each piece is passed on"""


class FaultProxy:
    """Listens on a free port of 127.0.0.1 and relays to `target`: `async with FaultProxy(address) as proxy`.

    `faults` gives, for the number of a connection (0 is the first), what is to happen to it; by default nothing
    happens. `proxy.address` is where a client connects: the target's name and fingerprint, the proxy's port.
    """

    def __init__(self, target: Address, faults: Callable[[int], LinkFault | None] = lambda _: None) -> None:
        """Prepare to relay to `target`."""
        self.target = target
        """Where the next connection is relayed to; may be changed."""
        self.faults = faults
        """May be changed as well."""
        self.connections = 0
        """How many there have been."""
        self.passed = {"up": 0, "down": 0}
        """Bytes that have passed on the newest connection."""
        self._server: asyncio.Server
        self._relays: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self.cut()

    @property
    def address(self) -> Address:
        """Where a client connects."""
        return replace(self.target, host="127.0.0.1", port=self._server.sockets[0].getsockname()[1])

    async def cut(self) -> None:
        """Cut every connection that there is, now."""
        relays = list(self._relays)
        for relay in relays:
            relay.cancel()
        if relays:
            await asyncio.wait(relays)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        fault = self.faults(self.connections)
        self.connections += 1
        passed = self.passed = {"up": 0, "down": 0}
        try:
            await self._between(reader, writer, fault, passed)
        except asyncio.CancelledError:
            pass  # `cut`; nobody waits for what a stream's own task returns
        finally:
            self._relays.discard(task)
            writer.close()

    async def _between(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        fault: LinkFault | None,
        passed: dict[str, int],
    ) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(self.target.host, self.target.port)
        except OSError:
            return
        up = asyncio.create_task(_pass_on(reader, there_writer, "up", fault, passed))
        down = asyncio.create_task(_pass_on(there_reader, writer, "down", fault, passed))
        try:
            done, _ = await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if not any(task.result() for task in done):  # an end, not a cut: the other direction goes on
                await asyncio.wait({up, down})
        finally:
            up.cancel()
            down.cancel()
            there_writer.close()  # what was passed on still arrives, to the byte


async def _pass_on(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    direction: Literal["up", "down"],
    fault: LinkFault | None,
    passed: dict[str, int],
) -> bool:
    """Relay one direction until its end; return whether the connection is to be cut."""
    here = fault if fault is not None and fault.direction == direction else LinkFault(direction)
    with suppress(OSError):
        while data := await reader.read(here.split):
            if here.delay:
                await asyncio.sleep(here.delay)
            begin, end = passed[direction], passed[direction] + len(data)
            if here.garble_at is not None and begin <= here.garble_at < end:
                changed = bytearray(data)
                changed[here.garble_at - begin] ^= 0x55
                data = bytes(changed)
            if here.cut_at is not None and end >= here.cut_at:
                writer.write(data[: here.cut_at - begin])
                passed[direction] = here.cut_at
                await writer.drain()
                return True
            passed[direction] = end
            writer.write(data)
            await writer.drain()
        writer.write_eof()
        return False
    return True
