"""Contract of the owner: whose a database is that does not stand in the data folder of its servers."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from antiphon.store.contracts.processes import ProcessRecord


class Owned(NamedTuple):
    """What is noted about the owner of a database."""

    ring: bytes | None
    """mark of the key ring that seals its accounts (`data.belonging.ring_mark`); None: there was none yet"""
    place: str | None
    """machine and data folder of the servers that use it"""
    sealing: str | None = None
    """mark of the key that seals (`identity.keys.KeyRing.mark`); None: that of no key ring was noted yet"""


class Owner(Protocol):
    """One key ring, one sealing key and one place for all servers of a database.

    Every method raises `TryLater` when the store cannot do its work.
    """

    async def noted(self) -> Owned:
        """Return what is noted."""

    async def join(self, ring: bytes | None, place: str | None, sealing: str | None = None) -> Owned:
        """Note a key ring and its sealing key if there is none yet, and a place if there are no processes.

        None leaves what is noted.

        Returns:
            What is noted then: where it differs, the database belongs to others.
        """

    async def seal_with(self, key: str, still: Mapping[str, int]) -> list[ProcessRecord]:
        """Note that the key with this mark seals from now on, if every process has it.

        A process does not count if its counter stands where `still` says by its id: it may be dead.

        Whoever seals meanwhile, with the key before, has committed; no process enters meanwhile.

        Returns:
            The processes that do not have it. If there are any, nothing is changed.
        """
