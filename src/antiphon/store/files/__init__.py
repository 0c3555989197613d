"""Accounts, clients and invitations in files that a person can read; sessions stay in SQLite."""

from antiphon.store.files.accounts import ACCOUNTS_FILE
from antiphon.store.files.clients import CLIENTS_FILE
from antiphon.store.files.contents import contents_of_files
from antiphon.store.files.copying import copy_files
from antiphon.store.files.rewritten import NameRewritten, Tell
from antiphon.store.files.spreadsheet import guarded
from antiphon.store.files.store import FilesStore, open_files

__all__ = [
    "ACCOUNTS_FILE",
    "CLIENTS_FILE",
    "FilesStore",
    "NameRewritten",
    "Tell",
    "contents_of_files",
    "copy_files",
    "guarded",
    "open_files",
]
