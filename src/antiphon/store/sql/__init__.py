"""All contracts on SQL databases."""

from antiphon.store.sql.contents import contents_of_sqlite, fill_sqlite
from antiphon.store.sql.copying import copy_accounts
from antiphon.store.sql.sqlite import open_sqlite
from antiphon.store.sql.store import SqlStore

__all__ = ["SqlStore", "contents_of_sqlite", "copy_accounts", "fill_sqlite", "open_sqlite"]
