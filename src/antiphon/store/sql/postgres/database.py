"""PostgreSQL as `database.Database`: a few threads, each with a connection of its own, and transactions in them.

A transaction that got in the way of another one, or whose connection broke before the commit, is tried again.
"""

import asyncio
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import psycopg
from psycopg import errors

from antiphon.errors import TryLater
from antiphon.store.sql.postgres.connection import PostgresConnection, connect
from antiphon.store.sql.postgres.listening import listen
from antiphon.store.thread import ANSWER_SECONDS, StoreThread

THREADS = 4
"""Connections of one process for its transactions; its heartbeat has another one."""
TRIES = 5
"""Most tries of a transaction; the next one would hardly come within the time of the contracts."""
PAUSE_SECONDS = 0.02
"""Longest pause before the second try; it grows with each try, and is random so that two do not meet again."""
_CONFLICTS = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.UniqueViolation,  # of a row that another transaction has just added: the next try sees it
)
_MOVED = (errors.ReadOnlySqlTransaction,)
"""Errors of a server that is no longer the one to write to: the next connection may lead to another one."""

Result = TypeVar("Result")


class PostgresDirect:
    """Connection of its own, used in the thread of the caller. It is made when it is first used.

    Once it has broken it is closed, and the next transaction makes another one.
    """

    def __init__(self, dsn: str) -> None:
        """Connect to the `postgresql://` address when it is first used."""
        self._dsn = dsn
        self._connection: PostgresConnection | None = None

    def run(self, work: Callable[[PostgresConnection], Result]) -> Result:
        """See `database.Direct`."""
        until = time.monotonic() + ANSWER_SECONDS
        tries = 0
        while True:
            tries += 1
            was_open = self._connection is not None
            try:
                return self._transact(work)
            except _CONFLICTS as error:
                if tries >= TRIES or time.monotonic() > until:
                    raise TryLater from error
                time.sleep(random.uniform(0, tries * PAUSE_SECONDS))  # noqa: S311 - no secret
            except _LostBeforeCommit as lost:
                # One that broke while nobody used it, as when the server was restarted; a new one is no better
                # when it breaks too.
                if not was_open or tries >= TRIES:
                    raise TryLater from lost.__cause__
            except psycopg.Error as error:
                raise TryLater from error

    def close(self) -> None:
        """See `database.Direct`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _transact(self, work: Callable[[PostgresConnection], Result]) -> Result:
        """Do `work` as one transaction, once.

        Raises:
            _LostBeforeCommit: the connection broke, and nothing was done.
            psycopg.Error: it failed; if the connection broke at the commit, nobody knows whether it was done.
        """
        if self._connection is None:
            self._connection = connect(self._dsn)
        connection = self._connection
        committing = False
        try:
            connection.begin()
            result = work(connection)
            committing = True
            connection.commit()
        except BaseException as error:
            connection.rollback()
            if connection.lost or isinstance(error, _MOVED):
                self.close()
                if isinstance(error, psycopg.Error) and not committing:
                    raise _LostBeforeCommit from error
            raise
        return result


class _LostBeforeCommit(Exception):
    """The connection broke before the commit: nothing was done. The cause is the driver's error."""


class PostgresDatabase:
    """Database of a server, with a few connections that are kept open."""

    copy: Path | None = None
    """Nothing is copied before an upgrade: an operator has backups of a database."""

    def __init__(self, dsn: str, threads: int = THREADS) -> None:
        """Connect to the `postgresql://` address, which `opening.prepare` has made ready, as transactions come."""
        self._dsn = dsn
        self._threads = [StoreThread(f"postgres-{number}") for number in range(threads)]
        self._connections = [PostgresDirect(dsn) for _ in self._threads]

    async def run(self, work: Callable[[PostgresConnection], Result], order: object = None) -> Result:
        """See `database.Database`. Calls with the same `order` use the same thread.

        Raises:
            TryLater: the server does not answer or refuses, or the database is closed.
        """
        if order is None:
            number = min(range(len(self._threads)), key=lambda each: self._threads[each].waiting)
        else:
            number = hash(order) % len(self._threads)
        return await self._threads[number].run(partial(self._connections[number].run, work))

    def direct(self) -> PostgresDirect:
        """See `database.Database`."""
        return PostgresDirect(self._dsn)

    async def listen(self, channel: str, heard: Callable[[], object]) -> None:
        """See `database.Database`."""
        await listen(self._dsn, channel, heard)

    async def close(self) -> None:
        """See `database.Database`. A transaction that does not end is left behind."""
        pairs = zip(self._threads, self._connections, strict=True)
        await asyncio.gather(*(thread.close(connection.close) for thread, connection in pairs))
