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

from antiphon.store.sql.postgres.connection import connect_to_listen, give_back

FIRST_SECONDS = 0.5
"""Pause before a lost connection is made again; each next one is twice as long, and varied by half."""
MOST_SECONDS = 30.0
"""The longest pause."""


async def listen(dsn: str, channel: str, heard: Callable[[], object]) -> None:
    """Call `heard` whenever a transaction with a NOTIFY to `channel` was committed, until cancelled.

    It is also called when a connection begins to listen, for what was missed before. No error ends it.
    """
    pause = FIRST_SECONDS
    while True:
        listened = False
        with contextlib.suppress(psycopg.Error, OSError):  # polling goes on, and tells of a database that is away
            connection = await connect_to_listen(dsn)
            try:
                listened = await _Listening(connection, channel, heard).until_lost()
            finally:
                await give_back(connection)
        pause = FIRST_SECONDS if listened else pause
        await asyncio.sleep(random.uniform(0.5, 1.5) * pause)  # noqa: S311 - no secret
        pause = min(2 * pause, MOST_SECONDS)


class _Listening:
    """A connection that listens, read by the event loop whenever there is something to read."""

    def __init__(
        self, connection: psycopg.AsyncConnection[object], channel: str, heard: Callable[[], object]
    ) -> None:
        self._connection = connection.pgconn
        self._socket = connection.fileno()
        self._channel = channel
        self._heard = heard
        self._listens = False
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def until_lost(self) -> bool:
        """Listen until the connection is lost; return whether it has listened at all.

        Nobody waits for the answer to LISTEN: a server that is frozen must not hold up the end of this process.

        Raises:
            psycopg.Error: it was lost at once.
        """
        loop = asyncio.get_running_loop()
        self._connection.send_query(
            b"DO $$ BEGIN IF pg_backend_pid() <> %d THEN RAISE 'no direct connection'; END IF; LISTEN %s; END $$"
            % (self._connection.backend_pid, self._channel.encode())
        )
        self._connection.flush()
        loop.add_reader(self._socket, self._readable)
        try:
            await self._lost
        finally:
            loop.remove_reader(self._socket)
        return self._listens

    def _readable(self) -> None:
        try:
            self._connection.consume_input()
            while not self._connection.is_busy() and (result := self._connection.get_result()) is not None:
                if result.status != pq.ExecStatus.COMMAND_OK:  # there is a pooler between
                    self._end()
                    return
                self._listens = True
                self._heard()
            while self._connection.notifies() is not None:
                self._heard()
        except psycopg.Error:
            self._end()

    def _end(self) -> None:
        if not self._lost.done():
            self._lost.set_result(None)
