"""One database and the way to it: one transaction at a time, and an answer within the time of the contracts.

Whatever goes wrong below comes out as `TryLater` with its cause; nothing of SQLite leaves this folder.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from antiphon.errors import TryLater
from antiphon.store.sql.worker import Worker

BUSY_SECONDS = 1.5
"""How long SQLite waits for another process to unlock the file."""
ANSWER_SECONDS = 2.5
"""From asking to `TryLater`, waiting for one's turn included: below `contracts.STORE_SECONDS`, with room for
a loop that is busy."""

Result = TypeVar("Result")


class Database:
    """One connection that is kept open, because taking one from a pool costs more than the statements here."""

    def __init__(self, worker: Worker, connection: sqlite3.Connection) -> None:
        """Take over an open connection and the thread that it belongs to; `open` makes both."""
        self._worker = worker
        self._connection = connection
        self._closed = False

    @classmethod
    async def open(cls, path: Path, synchronous: Literal["FULL", "NORMAL"]) -> Self:
        """Open the SQLite file at `path`, which `prepare` has made ready.

        With `synchronous` FULL a transaction survives a loss of power once it is committed; with NORMAL the last
        ones may be lost then, but none when only the process is killed.

        Raises:
            TryLater: it cannot be opened.
        """

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("PRAGMA foreign_keys = ON")
            return connection

        worker = Worker(path.name)
        try:
            return cls(worker, await worker.do(connect))
        except sqlite3.Error as error:
            worker.stop()
            raise TryLater from error

    async def run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Return what `work` returns; its statements are one transaction, undone if it raises.

        The transaction begins with the first statement that writes (the driver's way), and one that has begun is
        never cut in the middle, even if nobody waits for it any more.

        Raises:
            TryLater: the database is locked, full, damaged, frozen or closed.
        """
        if self._closed:
            raise TryLater
        transaction = self._worker.do(partial(self._transact, work))
        # Not asyncio.timeout, which would need a shield around the transaction: a fifth of what a visit costs.
        limit = asyncio.get_running_loop().call_later(ANSWER_SECONDS, _give_up, transaction)
        try:
            return await transaction
        except (sqlite3.Error, TimeoutError) as error:
            raise TryLater from error
        finally:
            limit.cancel()

    async def close(self) -> None:
        """Let the transaction under way end, then close; a frozen one is left behind, and closed when it thaws."""
        if self._closed:
            return
        self._closed = True
        closing = self._worker.do(self._connection.close)
        self._worker.stop()
        closing.add_done_callback(_seen)
        await asyncio.wait({closing}, timeout=ANSWER_SECONDS)

    def _transact(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        with self._connection:
            return work(self._connection)


def _give_up(transaction: "asyncio.Future[Any]") -> None:
    if not transaction.done():
        transaction.set_exception(TimeoutError())


def _seen(outcome: "asyncio.Future[Any]") -> None:
    """Take note of how it ended: the one who asked may have gone."""
    if not outcome.cancelled():
        outcome.exception()
