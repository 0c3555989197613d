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
from antiphon.store.sql.database import POLLS
from antiphon.store.sql.postgres.connection import BEGIN_SECONDS, PostgresConnection
from antiphon.store.sql.postgres.connector import Connector
from antiphon.store.sql.postgres.listening import Listener
from antiphon.store.thread import StoreThread

THREADS = 4
"""Connections of one process for its transactions; what it polls, and its heartbeat, have one each beside them."""
TRANSACTION_SECONDS = 2.25
"""Time of a transaction, with its tries: more than for a statement, and below `thread.ANSWER_SECONDS`. After that
its connection is closed, so that no thread waits for a server that does not run."""
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

    def __init__(self, dsn: str, connector: Connector | None = None, *, patient: bool = True) -> None:
        """Connect to the `postgresql://` address when it is first used; with `connector`, by it.

        While the database is away, one that is not `patient` fails at once: others wait behind it.
        """
        self._connector = connector or Connector(dsn)
        self._patient = patient
        self._connection: PostgresConnection | None = None

    def run(self, work: Callable[[PostgresConnection], Result]) -> Result:
        """See `database.Direct`."""
        until = time.monotonic() + TRANSACTION_SECONDS
        tries = 0
        while True:
            tries += 1
            was_open = self._connection is not None
            try:
                return self._transact(work, until)
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

    def _transact(self, work: Callable[[PostgresConnection], Result], until: float) -> Result:
        """Do `work` as one transaction, once.

        Raises:
            _LostBeforeCommit: the connection broke, and nothing was done.
            psycopg.Error: it failed; if the connection broke at the commit, nobody knows whether it was done.
        """
        begin_until = until
        if self._connection is None:
            self._connection = self._connector.connection(until, patient=self._patient)
        else:  # it may be dead without a word
            begin_until = min(until, time.monotonic() + BEGIN_SECONDS)
        connection = self._connection
        committing = False
        try:
            connection.limit(begin_until)
            connection.begin()
            connection.limit(until)
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
        self._connector = Connector(dsn)
        self._threads = [StoreThread(f"postgres-{number}") for number in range(threads)]
        self._polling = StoreThread("postgres-polls")
        self._connections = {each: PostgresDirect(dsn, self._connector, patient=False) for each in self._threads}
        self._connections[self._polling] = self.direct()
        self._listener = Listener(dsn)

    async def run(self, work: Callable[[PostgresConnection], Result], order: object = None) -> Result:
        """See `database.Database`. Calls with the same `order` use the same thread.

        Raises:
            TryLater: the server does not answer or refuses, or the database is closed.
        """
        thread = self._polling if order is POLLS else self._thread(order)
        return await thread.run(partial(self._connections[thread].run, work))

    def _thread(self, order: object) -> StoreThread:
        if order is None:
            return min(self._threads, key=lambda each: each.waiting)
        return self._threads[hash(order) % len(self._threads)]

    def direct(self) -> PostgresDirect:
        """See `database.Database`."""
        return PostgresDirect(self._dsn, self._connector)

    async def listen(self, channel: str, heard: Callable[[], object]) -> None:
        """See `database.Database`."""
        await self._listener.listen(channel, heard)

    async def close(self) -> None:
        """See `database.Database`. A transaction that does not end is left behind."""
        await asyncio.gather(*(thread.close(direct.close) for thread, direct in self._connections.items()))
        self._connector.close()
