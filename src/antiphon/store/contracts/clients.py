"""What is remembered of clients that are known by their address alone (`--access identify`).

A store keeps no clock: times are passed in and have a time zone, and whoever asks decides what has expired.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from antiphon.identity.names import Name


@dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    """A name that somebody has given at an address; the same name at another address is another client."""

    address: str
    """the host, without a port"""
    display: str
    """the name, as typed when it was given first, or at the last renaming"""
    key: str
    """the name, case-mapped: no two clients at one address have the same"""
    first_at: datetime
    visited_at: datetime


class Clients(Protocol):
    """Clients by address; what a method has returned from survives a crash.

    Every method raises `TryLater` when the store cannot do its work.
    """

    async def at(self, address: str) -> list[Client]:
        """Return the clients at an address, the one that came last first."""

    async def visited(self, address: str, name: Name, at: datetime, most: int) -> datetime | None:
        """Record a visit, and return when the one before it was; None at the first.

        An address keeps `most` names; beyond that, of the others the one that was used longest ago makes way.
        """

    async def renamed(self, address: str, key: str, name: Name, at: datetime) -> None:
        """Give the client with this key another name, for the old one was wrong.

        Where another client at the address has the new name already, the two are one from here on, with the
        earlier first visit and the later last one; where nobody has the key, the new name is added, with `at` as
        both. Otherwise the visits stay as they were: to record one is left to `visited`.
        """

    async def forget(self, address: str, key: str) -> bool:
        """Forget a client; return whether it was there."""

    async def all(self) -> list[Client]:
        """Return all clients, by address and key."""

    async def close(self) -> None:
        """Let go of everything; every other method raises `TryLater` from here on. May be called again."""
