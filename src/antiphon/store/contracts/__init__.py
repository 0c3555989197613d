"""What a server remembers: contracts that every store fulfils, and the records that they give."""

from antiphon.store.contracts.accounts import Account, Accounts, NewAccount, Overview, Visit
from antiphon.store.contracts.clients import Client, Clients
from antiphon.store.contracts.invitations import Invitation, Invitations, check_invitation
from antiphon.store.contracts.sessions import (
    COUNTED_NAMES,
    KNOWN_SOURCES,
    REVOCATIONS_KEPT,
    Claim,
    Marks,
    Revocation,
    SessionRecord,
    Sessions,
)
from antiphon.store.contracts.store import STORE_SECONDS, Store

__all__ = [
    "COUNTED_NAMES",
    "KNOWN_SOURCES",
    "REVOCATIONS_KEPT",
    "STORE_SECONDS",
    "Account",
    "Accounts",
    "Claim",
    "Client",
    "Clients",
    "Invitation",
    "Invitations",
    "Marks",
    "NewAccount",
    "Overview",
    "Revocation",
    "SessionRecord",
    "Sessions",
    "Store",
    "Visit",
    "check_invitation",
]
