"""`FaultProxy`: a relay between client and server that cuts, garbles, splits or delays, like a bad network."""

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
    """Faults in one direction of one connection. Bytes count from 0 at the start of the connection."""

    direction: Literal["up", "down"]
    """From the client (`up`) or from the server (`down`)."""
    cut_at: int | None = None
    """Cut both sides off after this many bytes."""
    garble_at: int | None = None
    """Change the byte with this number."""
    split: int = CHUNK
    """Most bytes passed on in one piece."""
    delay: float = 0.0
    """Seconds to wait before each piece is passed on."""


class FaultProxy:
    """A proxy on a free port of 127.0.0.1 that relays to `target`: `async with FaultProxy(address) as proxy`.

    `faults` takes the number of a connection (0 is the first) and returns its fault; None, the default, relays
    faithfully. A client connects to `proxy.address`: the target's name and fingerprint, the proxy's port.
    """

    def __init__(self, target: Address, faults: Callable[[int], LinkFault | None] = lambda _: None) -> None:
        """Prepare to relay to `target`."""
        self.target = target
        """Server that the next connection is relayed to; may be changed."""
        self.faults = faults
        """Faults of the next connections; may be changed."""
        self.connections = 0
        """Connections accepted so far."""
        self.passed = {"up": 0, "down": 0}
        """Bytes passed on the newest connection, by direction."""
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
        """The address for clients: the target's name and fingerprint, the proxy's port."""
        return replace(self.target, host="127.0.0.1", port=self._server.sockets[0].getsockname()[1])

    async def cut(self) -> None:
        """Cut all open connections now."""
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
            pass  # by `cut`; asyncio discards the result of this task
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
            if not any(task.result() for task in done):  # a half-close, not a cut: the other direction goes on
                await asyncio.wait({up, down})
        finally:
            up.cancel()
            down.cancel()
            there_writer.close()  # not abort: all bytes that were passed on still arrive


async def _pass_on(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    direction: Literal["up", "down"],
    fault: LinkFault | None,
    passed: dict[str, int],
) -> bool:
    """Relay one direction until its end; return whether the connection must be cut."""
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
