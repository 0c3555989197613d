"""Contracts that every store fulfils, one for each concern, and the records that they give."""

from antiphon.store.contracts.accounts import Account, Accounts, NewAccount, Overview, Resealed, Seal, Visit
from antiphon.store.contracts.clients import Client, Clients
from antiphon.store.contracts.failures import COUNTED_NAMES, KNOWN_SOURCES, LoginFailures, Marks
from antiphon.store.contracts.invitations import Invitation, Invitations, check_invitation
from antiphon.store.contracts.outbox import OUTBOX_KEPT, Kept, Outbox, Posted, Present
from antiphon.store.contracts.owner import Owned, Owner
from antiphon.store.contracts.processes import Processes, ProcessRecord, Pulse
from antiphon.store.contracts.revocations import REVOCATIONS_KEPT, Revocation, RevocationLog
from antiphon.store.contracts.sessions import TOO_MANY, Claim, Opened, SessionRecord, Sessions, short_id
from antiphon.store.contracts.store import STORE_SECONDS, Store

__all__ = [
    "COUNTED_NAMES",
    "KNOWN_SOURCES",
    "OUTBOX_KEPT",
    "REVOCATIONS_KEPT",
    "STORE_SECONDS",
    "TOO_MANY",
    "Account",
    "Accounts",
    "Claim",
    "Client",
    "Clients",
    "Invitation",
    "Invitations",
    "Kept",
    "LoginFailures",
    "Marks",
    "NewAccount",
    "Opened",
    "Outbox",
    "Overview",
    "Owned",
    "Owner",
    "Posted",
    "Present",
    "ProcessRecord",
    "Processes",
    "Pulse",
    "Resealed",
    "Revocation",
    "RevocationLog",
    "Seal",
    "SessionRecord",
    "Sessions",
    "Store",
    "Visit",
    "check_invitation",
    "short_id",
]
