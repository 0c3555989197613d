"""Connection to PostgreSQL: how it is made, and its transactions.

Nothing is kept in the session of a connection: settings are those of a transaction, locks end with it, and no
statement is prepared. So it also works through a pooler (PgBouncer) that gives each transaction another connection
to the server.
"""

import math
import os
import select
import time
import weakref
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final, TypeVar

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.waiting import Ready, Wait
from sqlalchemy import Dialect
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from antiphon.store.sql.database import Lock

CONNECT_SECONDS = 2
"""Time to connect to one address; libpq takes no less. A server that is silent for longer counts as away."""
STATEMENT_SECONDS = 2.0
"""Time for one statement, waiting for locks included: below `thread.ANSWER_SECONDS`."""
IDLE_SECONDS = 3.0
"""Time between two statements of a transaction. A process that is frozen inside one gives its locks back then."""
BEGIN_SECONDS = 0.75
"""Time for the BEGIN on a connection that was used before. It waits for no lock, so that only a connection that is
dead without a word, or a server that is, takes longer."""
_BEGIN: Final = (
    "BEGIN ISOLATION LEVEL READ COMMITTED;"
    f"SET LOCAL statement_timeout = {STATEMENT_SECONDS * 1000:.0f};"
    f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_SECONDS * 1000:.0f}"
).encode()
_LOCK_CLASS: Final = 0x416E7400
"""First number of our advisory locks, which all programs of a database share. Another program that uses the same
ones is waited for, and no more."""
_DEFAULTS: Final[dict[str, Any]] = {
    "application_name": "antiphon",
    "client_encoding": "UTF8",
    "connect_timeout": CONNECT_SECONDS,
    # A network that is cut is noticed although nobody closes the connection.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 5000,
}

_open: weakref.WeakSet[psycopg.Connection[Any] | psycopg.AsyncConnection[Any]] = weakref.WeakSet()
"""All open connections of this process, for its children to give up."""


Value = TypeVar("Value")
_POLLED: Final[dict[int, int]] = {
    Wait.R: select.POLLIN,
    Wait.W: select.POLLOUT,
    Wait.RW: select.POLLIN | select.POLLOUT,
}
"""What to wait for at a socket, by what the driver waits for."""


class SilentError(psycopg.OperationalError):
    """The server has not answered in time: it is frozen, or the network is cut and nobody says so."""


class Driver(psycopg.Connection[Any]):
    """Connection of the driver that waits for the server no longer than it is told to.

    The server's own limits end nothing if the server does not run, and those of TCP nothing if its machine does.
    """

    ends_at = math.inf
    """Until when it waits, in the seconds of `time.monotonic`; then it is closed: nobody knows what was done."""

    def wait(self, gen: PQGen[Value], *limits: Any, **named: Any) -> Value:
        """Wait for what the driver does; `limits` are for its own waiting, which `ends_at` replaces.

        Raises:
            SilentError: it took until `ends_at`.
        """
        if self.ends_at == math.inf:
            return super().wait(gen, *limits, **named)
        try:
            return self._wait(gen)
        except SilentError:
            self.close()
            raise

    def _wait(self, steps: PQGen[Value]) -> Value:
        polled, descriptor = select.poll(), self.pgconn.socket
        try:
            wanted = next(steps)
            while True:
                polled.register(descriptor, _POLLED[wanted])
                left = self.ends_at - time.monotonic()
                found = polled.poll(max(0.0, left) * 1000)
                if not found:
                    raise SilentError("timeout: the server does not answer")
                ((_, events),) = found
                if events & ~(select.POLLIN | select.POLLOUT):  # the driver finds out what is wrong with it
                    events = _POLLED[Wait.RW]
                ready = (Ready.R if events & select.POLLIN else 0) | (Ready.W if events & select.POLLOUT else 0)
                wanted = steps.send(ready)
        except StopIteration as end:
            value: Value = end.value
            return value


class PostgresConnection:
    """Connection of the driver, as `database.Connection`."""

    dialect: Final[Dialect] = PGDialect_psycopg(paramstyle="pyformat")  # type: ignore[no-untyped-call]  # SQLAlchemy's

    def __init__(self, driver: Driver) -> None:
        """Use an open connection that commits nothing by itself and begins nothing either (autocommit)."""
        self._driver = driver

    def execute(self, text: str, values: Mapping[str, Any] | None = None, /) -> psycopg.Cursor[Any]:
        """See `database.Connection`."""
        return self._driver.execute(text.encode(), values)

    def executemany(self, text: str, values: Iterable[Mapping[str, Any]], /) -> None:
        """See `database.Connection`."""
        with self._driver.cursor() as cursor:
            cursor.executemany(text.encode(), list(values))

    def begin_writing(self) -> None:
        """See `database.Connection`: there are many writers."""

    def lock(self, lock: Lock, of: object = "", *, shared: bool = False) -> None:
        """See `database.Connection`: an advisory lock, which ends with the transaction."""
        number = int.from_bytes(blake2b(str(of).encode(), digest_size=4).digest(), "big", signed=True)
        function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
        self.execute(f"SELECT {function}({_LOCK_CLASS + lock}, {number})")

    def number_above(self, table: str, highest: int) -> None:
        """See `database.Connection`. Precondition: no number of `table` was given yet."""
        values = {"table": table, "highest": highest}
        self.execute("SELECT setval(pg_get_serial_sequence(%(table)s, 'id'), %(highest)s)", values)

    def notify(self, channel: str) -> None:
        """See `database.Connection`. Others hear of it when the transaction is committed."""
        self.execute("SELECT pg_notify(%(channel)s, '')", {"channel": channel})

    # --- its transactions -------------------------------------------------------------------------------------

    def limit(self, ends_at: float) -> None:
        """Wait for the server no longer than this, in the seconds of `time.monotonic`, from now on.

        Whatever takes longer raises `SilentError`, and the connection is closed.
        """
        self._driver.ends_at = ends_at

    def begin(self) -> None:
        """Begin a transaction, with its time limits, in one round trip."""
        self._driver.execute(_BEGIN)

    def commit(self) -> None:
        """Commit the transaction.

        Raises:
            psycopg.Error: it is not committed; or, if the connection is `lost`, nobody knows.
        """
        self._driver.execute(b"COMMIT")

    def rollback(self) -> None:
        """Roll the transaction back, if one is open; a connection that cannot is closed."""
        try:
            if self._driver.info.transaction_status != pq.TransactionStatus.IDLE:
                self._driver.execute(b"ROLLBACK")
        except psycopg.Error:
            self.close()

    @property
    def lost(self) -> bool:
        """Whether the connection is closed or broken."""
        return self._driver.closed

    def close(self) -> None:
        """Close it. May be called again."""
        _open.discard(self._driver)
        self._driver.close()


def connect(dsn: str) -> PostgresConnection:
    """Connect to the database of a `postgresql://` address, with time limits that the address may change.

    Raises:
        psycopg.Error: there is no connection.
    """
    # Prepared statements belong to one connection of the server, and a pooler gives us several.
    driver = Driver.connect(dsn, autocommit=True, prepare_threshold=None, **_defaults_for(dsn))
    _open.add(driver)
    return PostgresConnection(driver)


async def connect_to_listen(dsn: str) -> psycopg.AsyncConnection[object]:
    """Connect to the database as `connect` does, for `listening`; `give_back` closes it.

    Raises:
        psycopg.Error: there is no connection.
    """
    driver = await psycopg.AsyncConnection.connect(dsn, autocommit=True, **_defaults_for(dsn))
    _open.add(driver)
    return driver


async def give_back(driver: psycopg.AsyncConnection[object]) -> None:
    """Close a connection of `connect_to_listen`."""
    _open.discard(driver)
    await driver.close()


def _defaults_for(dsn: str) -> dict[str, Any]:
    given = conninfo_to_dict(dsn)
    return {name: value for name, value in _DEFAULTS.items() if name not in given}


def _give_up_in_child() -> None:
    """Leave the connections to the parent: what a child sent or closed there would end the parent's."""
    if not _open:
        return
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for driver in _open:
        if not driver.closed:
            os.dup2(nothing, driver.fileno(), inheritable=False)
    os.close(nothing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_give_up_in_child)
