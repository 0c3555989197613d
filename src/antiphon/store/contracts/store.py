"""Contract of a store: one contract for each concern, opened and closed together."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from antiphon.store.contracts.accounts import Accounts
from antiphon.store.contracts.clients import Clients
from antiphon.store.contracts.failures import LoginFailures
from antiphon.store.contracts.invitations import Invitations
from antiphon.store.contracts.outbox import Outbox
from antiphon.store.contracts.owner import Owner
from antiphon.store.contracts.processes import Processes
from antiphon.store.contracts.revocations import RevocationLog
from antiphon.store.contracts.sessions import Sessions

STORE_SECONDS = 3.0
"""Every method of every contract answers or raises `TryLater` within this time (promise 23)."""


class Store(Protocol):
    """All that a server remembers."""

    @property
    def accounts(self) -> Accounts:
        """Accounts and their credentials."""

    @property
    def clients(self) -> Clients:
        """Clients that are known by their address."""

    @property
    def invitations(self) -> Invitations:
        """Invitations to register."""

    @property
    def sessions(self) -> Sessions:
        """Open sessions."""

    @property
    def revocations(self) -> RevocationLog:
        """The log of sessions that were ended from outside."""

    @property
    def failures(self) -> LoginFailures:
        """Failed sign-ins."""

    @property
    def processes(self) -> Processes:
        """Server processes that share the sessions."""

    @property
    def owner(self) -> Owner | None:
        """Whose it is; None for one that stands in the data folder of its servers."""

    @property
    def outbox(self) -> Outbox | None:
        """What is published to topics; None for a store that only processes of one machine share."""

    @property
    def copies(self) -> Sequence[Path]:
        """Copies of databases that were upgraded when the store was opened."""

    def now(self) -> datetime:
        """Return the time in UTC for its records: the same on all machines that share the store."""

    async def close(self) -> None:
        """Close everything: every method of every contract raises `TryLater` from then on. May be called again."""
