"""Readers for the files of a home-made system: accounts with passwords, and a list of names and addresses."""

from antiphon.identity.legacy.accounts import NO_PASSWORDS, Accounts, read_accounts
from antiphon.identity.legacy.columns import are_columns
from antiphon.identity.legacy.lines import SEPARATOR_WORDS, SEPARATORS
from antiphon.identity.legacy.names import Known, Names, read_names
from antiphon.identity.legacy.rows import Hints, Passed, Plain, Row, Scheme, Why

__all__ = [
    "NO_PASSWORDS",
    "SEPARATORS",
    "SEPARATOR_WORDS",
    "Accounts",
    "Hints",
    "Known",
    "Names",
    "Passed",
    "Plain",
    "Row",
    "Scheme",
    "Why",
    "are_columns",
    "read_accounts",
    "read_names",
]
