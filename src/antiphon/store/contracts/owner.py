"""Contract of the owner: whose a database is that does not stand in the data folder of its servers."""

from typing import NamedTuple, Protocol


class Owned(NamedTuple):
    """What is noted about the owner of a database."""

    ring: bytes | None
    """mark of the key ring that seals its accounts (`data.belonging.ring_mark`); None: there was none yet"""
    place: str | None
    """machine and data folder of the servers that use it"""


class Owner(Protocol):
    """One key ring and one place for all servers of a database.

    Every method raises `TryLater` when the store cannot do its work.
    """

    async def noted(self) -> Owned:
        """Return what is noted."""

    async def join(self, ring: bytes | None, place: str | None) -> Owned:
        """Note a key ring if there is none yet, and a place if there are no processes. None leaves what is noted.

        Returns:
            What is noted then: where it differs, the database belongs to others.
        """
