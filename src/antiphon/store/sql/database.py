"""What an SQL engine gives to statements and stores: a database that runs transactions, and its connection.

`sqlite.py` and `postgres.py` are engines. Whatever only one engine knows stands in that engine's module.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Dialect

Result = TypeVar("Result")

POLLS: Final = "polls"
"""The `order` of what is read again and again: it waits for nothing else, whatever all others wait for."""
REVOCATIONS_CHANNEL: Final = "antiphon_revocations"
TOPICS_CHANNEL: Final = "antiphon_topics"
CHANNELS: Final = (REVOCATIONS_CHANNEL, TOPICS_CHANNEL)
"""What transactions can notify of: a longer revocation log, and messages of topics."""


class Lock(IntEnum):
    """What transactions can lock that is no row: a number of PostgreSQL's advisory locks."""

    SEALING = 1
    """The choice of a sealing key: shared by those who seal and by processes that enter, for `reseal` and for its
    change alone."""
    SESSIONS = 2
    """The sessions of an account, for who adds one, and for who ends all."""
    REVOCATIONS = 3
    """The end of the revocation log: held until the commit, so that numbers are given in the order of commits."""
    PROCESS = 4
    """The life of a process: shared by those who claim its sessions because it is dead, for itself alone."""
    CLIENTS = 5
    """The clients at an address."""
    INVITATIONS = 6
    """The invitations of a name."""
    TABLES = 7
    """The version of the tables."""
    TOPICS = 8
    """The topics with their messages: held until the commit, as `REVOCATIONS`."""


class Cursor(Protocol):
    """Outcome of one statement."""

    @property
    def rowcount(self) -> int:
        """Number of rows that the statement changed."""

    def fetchall(self) -> list[Any]:
        """Return the rows that the statement gave."""

    def fetchmany(self, size: int, /) -> list[Any]:
        """Return the next `size` of these rows, or as many as are left."""


class Connection(Protocol):
    """Open connection of an engine, inside a transaction."""

    @property
    def dialect(self) -> Dialect:
        """SQLAlchemy's dialect of the engine, with the driver's style of named parameters."""

    def execute(self, text: str, values: Mapping[str, Any], /) -> Cursor:
        """Execute one statement."""

    def executemany(self, text: str, values: Iterable[Mapping[str, Any]], /) -> object:
        """Execute one statement for each set of values."""

    def begin_writing(self) -> None:
        """Begin a transaction that reads before it writes. Call it before anything else in the transaction.

        An engine with one writer locks the others out here. Elsewhere the rows that are read must be locked
        (`with_for_update`), or something that stands for them (`lock`).
        """

    def lock(self, lock: Lock, of: object = "", *, shared: bool = False) -> None:
        """Wait for a lock, and hold it until the transaction ends; `of` says of which account, process or address.

        It includes `begin_writing`. What later statements read was committed before, whoever held the lock.
        Transactions that take several locks take them in the order in which `sessions.py` lists them.
        """

    def number_above(self, table: str, highest: int) -> None:
        """Give the next new row of `table`, and all after it, a number above `highest`, which is at least 1."""

    def notify(self, channel: str) -> None:
        """Have those hear who listen to `channel` (`Database.listen`), once the transaction is committed."""


class Database(Protocol):
    """Database that runs transactions, and answers within the time of the contracts."""

    @property
    def copy(self) -> Path | None:
        """The copy that was made of it when it was opened, because it was upgraded."""

    async def run(self, work: Callable[[Connection], Result], order: object = None) -> Result:
        """Return what `work` returns. Its statements are one transaction, which is rolled back if `work` raises.

        The transaction may be tried again, and `work` with it: `work` must have no effects outside the transaction
        but its result. A transaction that has begun is finished even if nobody waits for it any more.

        Calls with the same `order`, if it is not None, are carried out in the order in which they were made.
        Others may overtake each other. Those of `POLLS` wait for no others.

        Raises:
            TryLater: the engine cannot do it now, with the engine's error as the cause; or the database is closed.
        """

    def direct(self) -> "Direct":
        """Return another connection, for a thread that waits neither for this database nor for the event loop."""

    async def listen(self, channel: str, heard: Callable[[], object]) -> None:
        """Call `heard` soon after each transaction that has notified `channel`, until cancelled; it may miss some.

        An engine that cannot tell of such things returns at once.
        """

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
