"""Contents of a store of accounts, on their way into a database that has none yet."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
"""A row by the names of its columns, as `sql.schema` has them."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """All rows of the tables in `sql.schema.ACCOUNTS_SCHEMA`, whatever they were kept in."""

    rows: Iterable[tuple[str, Row]]
    """each with the name of its table; those of one table stand together, accounts before credentials"""
    size: int
    """how many there are"""
    numbers: dict[str, int]
    """highest number that was ever given to a row, by the name of the table"""


class ContentsUnfit(ValueError):
    """A database cannot hold a row of the contents."""
