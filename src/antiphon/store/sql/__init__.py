"""All contracts on SQL databases."""

from antiphon.store.sql.sqlite import SqlStore, open_sqlite

__all__ = ["SqlStore", "open_sqlite"]
