"""A store as whoever opened it holds it: its contracts, opened and closed together."""

from typing import Protocol

from antiphon.store.contracts.accounts import Accounts
from antiphon.store.contracts.clients import Clients
from antiphon.store.contracts.invitations import Invitations
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
        """Sessions, and the failed sign-ins."""

    async def close(self) -> None:
        """Let go of everything. May be called again."""
