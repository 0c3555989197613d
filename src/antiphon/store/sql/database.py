"""What an SQL engine gives to statements and stores: a database that runs transactions, and its connection.

`sqlite.py` is an engine. Whatever only one engine knows stands in that engine's module.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import Dialect

Result = TypeVar("Result")


class Cursor(Protocol):
    """Outcome of one statement."""

    @property
    def rowcount(self) -> int:
        """Number of rows that the statement changed."""

    def fetchall(self) -> list[Any]:
        """Return the rows that the statement gave."""


class Connection(Protocol):
    """Open connection of an engine, inside a transaction."""

    @property
    def dialect(self) -> Dialect:
        """SQLAlchemy's dialect of the engine, with the driver's style of named parameters."""

    def execute(self, text: str, values: Mapping[str, Any], /) -> Cursor:
        """Execute one statement."""

    def executemany(self, text: str, values: Iterable[Mapping[str, Any]], /) -> object:
        """Execute one statement for each set of values."""

    def lock_writers(self) -> None:
        """Lock other writers out until the transaction ends. Call it before anything else in the transaction."""


class Database(Protocol):
    """Database that runs one transaction at a time, and answers within the time of the contracts."""

    @property
    def copy(self) -> Path | None:
        """The copy that was made of it when it was opened, because it was upgraded."""

    async def run(self, work: Callable[[Connection], Result]) -> Result:
        """Return what `work` returns. Its statements are one transaction, which is rolled back if `work` raises.

        The transaction may be tried again, and `work` with it: `work` must have no effects outside the transaction
        but its result. A transaction that has begun is finished even if nobody waits for it any more.

        Raises:
            TryLater: the engine cannot do it now, with the engine's error as the cause; or the database is closed.
        """

    def direct(self) -> "Direct":
        """Return another connection, for a thread that waits neither for this database nor for the event loop."""

    async def close(self) -> None:
        """Finish the transaction in progress and close. May be called again."""


class Direct(Protocol):
    """Connection of its own to a database, used by one thread at a time, which it blocks."""

    def run(self, work: Callable[[Connection], Result]) -> Result:
        """Return what `work` returns. Its statements are one transaction, as in `Database.run`.

        Raises:
            TryLater: the engine cannot do it now, with the engine's error as the cause.
        """

    def close(self) -> None:
        """Close the connection. May be called again; the next `run` opens a new one."""
