"""Transactions that are tried again, as an engine does that two writers got in each other's way on."""

from collections.abc import Callable
from typing import TypeVar

import pytest

from antiphon.store.sql.sqlite import SqliteConnection, SqliteDatabase

Result = TypeVar("Result")


class RolledBackError(Exception):
    """The first try of a transaction."""


def retry_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have SQLite do each transaction twice: once rolled back, and once for good."""
    transact = SqliteDatabase._transact

    def twice(database: SqliteDatabase, work: Callable[[SqliteConnection], Result]) -> Result:
        def rolled_back(connection: SqliteConnection) -> None:
            work(connection)
            raise RolledBackError

        with pytest.raises(RolledBackError):
            transact(database, rolled_back)
        return transact(database, work)

    monkeypatch.setattr(SqliteDatabase, "_transact", twice)
