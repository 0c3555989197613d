"""The network between one node and the database: it delays, is cut, and comes back."""

import asyncio
import contextlib
from typing import Literal

CHUNK = 64 * 1024
State = Literal["whole", "refused", "silent"]


class _Link:
    """A connection of a node."""

    def __init__(self, *, dead: bool) -> None:
        self.dead = dead
        self.task: asyncio.Task[None] | None = None


class DatabaseNetwork:
    """A port of 127.0.0.1 whose connections lead to the port of the database.

    While it is `refused`, connections are reset and none is taken. While it is `silent`, bytes are lost without a
    word; connections that were open or were made meanwhile stay silent for ever, as behind a firewall that has
    forgotten them.
    """

    def __init__(self, target: int) -> None:
        """Lead to the port `target` of 127.0.0.1; call `open` next."""
        self.target = target
        self.delay = 0.0
        """Seconds for which bytes are on their way, in either direction."""
        self.port = 0
        self.state: State = "whole"
        self.taken = 0
        """Connections that have come so far."""
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()

    async def open(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=1000)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = [link.task for link in self._links if link.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def cut(self, state: State) -> None:
        """Cut it."""
        self.state = state
        if state == "refused":
            await self.close()
        for link in self._links:
            link.dead = True

    async def heal(self) -> None:
        """Let new connections through."""
        self.state = "whole"
        if self._server is None:
            await self.open()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        link = _Link(dead=self.state != "whole")
        link.task = asyncio.current_task()
        self._links.add(link)
        there: asyncio.StreamWriter | None = None
        try:
            reader_there, there = await asyncio.open_connection("127.0.0.1", self.target)
            both = [
                asyncio.ensure_future(self._pass_on(link, reader, there)),
                asyncio.ensure_future(self._pass_on(link, reader_there, writer)),
            ]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for direction in both:
                    direction.cancel()
                await asyncio.wait(both)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(link)
            for end in (writer, there):
                if end is not None:
                    end.transport.abort()

    async def _pass_on(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if link.dead:
                    continue
                if self.delay:
                    loop.call_later(self.delay, self._deliver, link, writer, data)
                else:
                    writer.write(data)
                    await writer.drain()
            if link.dead:  # that one end closes it is not heard of at the other end
                await loop.create_future()

    @staticmethod
    def _deliver(link: _Link, writer: asyncio.StreamWriter, data: bytes) -> None:
        if not link.dead and not writer.is_closing():
            writer.write(data)
