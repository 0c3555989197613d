"""Filling of a database with the accounts of another store, and all that belongs to them."""

import contextlib
import time
from collections.abc import Callable

import psycopg
from psycopg import errors

from antiphon.errors import Problem, RestoreRefused
from antiphon.language import N_
from antiphon.store.contents import Contents, ContentsUnfit
from antiphon.store.contracts import Owned
from antiphon.store.copied import Told
from antiphon.store.sql.contents import fill, is_empty
from antiphon.store.sql.owner import note, take
from antiphon.store.sql.postgres.connection import PostgresConnection
from antiphon.store.sql.postgres.opening import alone, connected, prepare, reported_by_postgres

BATCH_SECONDS = 30.0
"""Time for the rows that are written at once, and for the commit; then a server that is silent is given up."""

_UNFIT = (psycopg.DataError, psycopg.IntegrityError, errors.ProgramLimitExceeded, OverflowError)
"""Errors that rows raise which somebody has changed by hand; the last is of a time that is none."""
_NOT_EMPTY = Problem(N_("it has accounts, or a server has used it"))


def check_fillable(dsn: str) -> None:
    """Check that `fill_postgres` can fill the database of a `postgresql://` address; an empty one gets its tables.

    It blocks.

    Raises:
        RestoreRefused: it has accounts already, or belongs to a server.
        AntiphonError: as `open_postgres`.
    """
    prepare(dsn)
    with reported_by_postgres(dsn), contextlib.closing(connected(dsn)) as connection, alone(connection):
        _take(connection, dsn)


def fill_postgres(dsn: str, contents: Contents, owned: Owned, ready: Callable[[], object], told: Told) -> None:
    """Write the contents of a store into an empty database, all or nothing.

    It blocks. No server can use the database meanwhile. If the connection is lost while it commits, another one
    shows whether it has.

    Args:
        dsn: the `postgresql://` address; `check_fillable` was called for it.
        contents: what is written.
        owned: the key ring that has sealed the accounts, and no place.
        ready: called when all is written, before the commit; what it raises undoes all.
        told: called as the work goes on.

    Raises:
        ContentsUnfit: a text contains a NUL character, or is too long for an index; or a row is damaged.
        RestoreRefused, AntiphonError: as `check_fillable`; nothing is written then.
    """
    committing = False
    with reported_by_postgres(dsn), contextlib.closing(connected(dsn)) as connection:

        def told_in_time(done: int, of: int) -> None:
            connection.limit(time.monotonic() + BATCH_SECONDS)
            told(done, of)

        try:
            with alone(connection):
                # Files get their names before the commit, which takes its time on a busy disk.
                connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = {BATCH_SECONDS * 1000:.0f}")
                _take(connection, dsn)
                note(connection, owned)
                try:
                    fill(connection, contents, told_in_time)
                except _UNFIT as error:
                    raise ContentsUnfit from error
                ready()
                committing = True
        except psycopg.Error:
            if not (committing and connection.lost and _is_filled(dsn, owned)):
                raise


def _is_filled(dsn: str, owned: Owned) -> bool:
    """Return whether a transaction was committed of which nobody knows; if it is still under way, wait for it."""
    with contextlib.closing(connected(dsn)) as connection, alone(connection):
        return take(connection).ring == owned.ring


def _take(connection: PostgresConnection, dsn: str) -> None:
    if take(connection).ring is not None or not is_empty(connection):
        raise RestoreRefused(path=dsn, problem=_NOT_EMPTY)
