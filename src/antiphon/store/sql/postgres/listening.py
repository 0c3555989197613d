"""Listening for NOTIFY: one connection of a process, beside those of its transactions, made again when it is lost.

What is heard is a hint, and hints get lost: whoever listens also polls. The connection must be a direct one:
behind a pooler in transaction mode LISTEN would stay in a connection that others get, and would tell nobody.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable

import psycopg
from psycopg import pq

from antiphon.store.sql.database import CHANNELS
from antiphon.store.sql.postgres.connection import connect_to_listen, give_back

FIRST_SECONDS = 0.5
"""Pause before a lost connection is made again; each next one is twice as long, and varied by half."""
MOST_SECONDS = 30.0
"""The longest pause."""


class Listener:
    """The connection on which a process listens, to all its channels; it is there while anybody listens."""

    def __init__(self, dsn: str) -> None:
        """Listen to the database of a `postgresql://` address, once somebody does."""
        self._dsn = dsn
        self._heard: list[tuple[str, Callable[[], object]]] = []
        """Channels, and what to call."""
        self._running: asyncio.Task[None] | None = None
        self._listens = False

    async def listen(self, channel: str, heard: Callable[[], object]) -> None:
        """Call `heard` whenever a transaction with a NOTIFY to `channel` was committed, until cancelled.

        It is also called when it begins to listen, at first and after each loss of the connection, for what was
        missed before. No error of the database ends it.
        """
        listener = channel, heard
        self._heard.append(listener)
        if self._listens:
            heard()
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())
        try:
            await asyncio.shield(self._running)
        finally:
            self._heard.remove(listener)
            if not self._heard:
                running, self._running = self._running, None
                running.cancel()
                await asyncio.wait({running})

    async def _run(self) -> None:
        pause = FIRST_SECONDS
        while True:
            began = False
            with contextlib.suppress(
                psycopg.Error, OSError
            ):  # polling goes on, and tells of a database that is away
                connection = await connect_to_listen(self._dsn)
                try:
                    await _Listening(connection, self._told).until_lost()
                finally:
                    began, self._listens = self._listens, False
                    await give_back(connection)
            pause = FIRST_SECONDS if began else pause
            await asyncio.sleep(random.uniform(0.5, 1.5) * pause)  # noqa: S311 - no secret
            pause = min(2 * pause, MOST_SECONDS)

    def _told(self, channel: str | None) -> None:
        """Tell who listens to a channel; None: that the connection listens to all of them from now on."""
        if channel is None:
            self._listens = True
        for name, heard in self._heard:
            if channel in (None, name):
                heard()


class _Listening:
    """A connection that listens, read by the event loop whenever there is something to read."""

    def __init__(self, connection: psycopg.AsyncConnection[object], told: Callable[[str | None], object]) -> None:
        """Call `told` with the channel of each NOTIFY, and first with None, when the connection listens."""
        self._connection = connection.pgconn
        self._socket = connection.fileno()
        self._told = told
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def until_lost(self) -> None:
        """Listen until the connection is lost.

        Nobody waits for the answer to LISTEN: a server that is frozen must not hold up the end of this process.

        Raises:
            psycopg.Error: it was lost at once.
        """
        loop = asyncio.get_running_loop()
        listen = "".join(f"LISTEN {channel}; " for channel in CHANNELS)
        self._connection.send_query(
            b"DO $$ BEGIN IF pg_backend_pid() <> %d THEN RAISE 'no direct connection'; END IF; %sEND $$"
            % (self._connection.backend_pid, listen.encode())
        )
        self._connection.flush()
        loop.add_reader(self._socket, self._readable)
        try:
            await self._lost
        finally:
            loop.remove_reader(self._socket)

    def _readable(self) -> None:
        try:
            self._connection.consume_input()
            while not self._connection.is_busy() and (result := self._connection.get_result()) is not None:
                if result.status != pq.ExecStatus.COMMAND_OK:  # there is a pooler between
                    self._end()
                    return
                self._told(None)
            while (notify := self._connection.notifies()) is not None:
                self._told(notify.relname.decode())
        except psycopg.Error:
            self._end()

    def _end(self) -> None:
        if not self._lost.done():
            self._lost.set_result(None)
