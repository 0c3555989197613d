"""The network between one client and the servers: it cuts, now or at a byte to come, and leads elsewhere."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Literal

CHUNK = 16 * 1024
Direction = Literal["up", "down"]
"""From the client (`up`) or from the server (`down`)."""


class Network:
    """A port of 127.0.0.1 whose connections lead to the port that `choose` names when they come."""

    def __init__(self, choose: Callable[[], int | None]) -> None:
        """Lead nowhere while `choose` returns None."""
        self._choose = choose
        self._server: asyncio.Server
        self._links: set[asyncio.Task[None]] = set()
        self._left: dict[Direction, int | None] = {"up": None, "down": None}
        self.cuts = 0
        """Connections that were cut."""

    async def open(self) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._link, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Close the port and every connection."""
        self._server.close()
        self.cut()
        if self._links:
            await asyncio.wait(self._links)

    def cut(self) -> None:
        """Cut every connection now; what is in the buffers of the system still arrives, or not."""
        for link in self._links:
            link.cancel()

    def cut_after(self, direction: Direction, size: int) -> None:
        """Cut when `size` more bytes have passed in a direction, on this connection or a later one."""
        self._left[direction] = size

    def calm(self) -> None:
        """Cut nothing more."""
        self._left = {"up": None, "down": None}

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        there: asyncio.StreamWriter | None = None
        try:
            port = self._choose()
            if port is not None:
                reader_there, there = await asyncio.open_connection("127.0.0.1", port)
                await self._both(reader, writer, reader_there, there)
        except (OSError, asyncio.CancelledError):
            self.cuts += 1
        finally:
            self._links.discard(task)
            for end in (writer, there):
                if end is not None:
                    end.transport.abort() if self.cuts % 2 else end.close()

    async def _both(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        reader_there: asyncio.StreamReader,
        writer_there: asyncio.StreamWriter,
    ) -> None:
        up = asyncio.ensure_future(self._pass_on("up", reader, writer_there))
        down = asyncio.ensure_future(self._pass_on("down", reader_there, writer))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in (up, down):
                direction.cancel()
            await asyncio.wait({up, down})

    async def _pass_on(
        self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                left = self._left[direction]
                if left is not None:
                    if len(data) >= left:
                        self._left[direction] = None
                        self.cuts += 1
                        writer.write(data[:left])
                        await asyncio.wait_for(writer.drain(), 1)
                        return
                    self._left[direction] = left - len(data)
                writer.write(data)
                await writer.drain()
