"""All contracts on SQL databases."""

from antiphon.store.sql.copying import copy_accounts
from antiphon.store.sql.sqlite import open_sqlite
from antiphon.store.sql.store import SqlStore

__all__ = ["SqlStore", "copy_accounts", "open_sqlite"]
