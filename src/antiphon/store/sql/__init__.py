"""All contracts on SQL databases."""

from antiphon.store.sql.sqlite import open_sqlite
from antiphon.store.sql.store import SqlStore

__all__ = ["SqlStore", "open_sqlite"]
