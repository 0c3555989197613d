"""Contract of the clients store: clients that are known by their address alone (`--access identify`).

A store reads no clock: the caller passes times, which have a time zone.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from antiphon.identity.names import Name


@dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    """A name given at an address. The same name at another address is another client."""

    address: str
    """the host, without a port"""
    display: str
    """the name, as typed the first time, or at the last renaming"""
    key: str
    """the name, case-mapped: no two clients at one address have the same"""
    first_at: datetime
    visited_at: datetime


class Clients(Protocol):
    """Clients by address. What a method has done survives a crash once it has returned.

    Every method raises `TryLater` when the store cannot do its work.
    """

    async def at(self, address: str) -> list[Client]:
        """Return the clients at an address, the last visitor first."""

    async def visited(self, address: str, name: Name, at: datetime, most: int) -> datetime | None:
        """Record a visit; return the time of the one before it, None at the first.

        An address keeps `most` names. Beyond that, the other name that was used longest ago is deleted.
        """

    async def renamed(self, address: str, key: str, name: Name, at: datetime) -> None:
        """Correct the name of the client with this key.

        - If another client at the address has the new name, the two become one, with the earlier first visit and
          the later last visit.
        - If no client has the key, the new name is added, with `at` as first and last visit.
        - Otherwise the visits stay as they were: `visited` records visits.
        """

    async def forget(self, address: str, key: str) -> bool:
        """Delete a client; return whether it was there."""

    async def all(self) -> list[Client]:
        """Return all clients, by address and key."""
