"""Contract of the processes: which server processes share a store, how to reach them, and whether they run.

A process is alive as long as it is here. It advances its counter, and the others see on their own clocks for how
long it has stood still; the store has no part in that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessRecord:
    """A server process."""

    id: str
    """random, new at each start"""
    pid: int
    started_at: datetime
    beat: int
    """counter that the process advances (`Pulse.beat`)"""
    relay_address: str
    """path of the Unix socket that takes relays; empty if the process takes none: then its sessions can be claimed
    while it lives"""
    relay_version: int
    service: str
    """processes that differ in this or in `limits` do not relay to each other"""
    limits: str
    place: str = ""
    """machine and data folder of the process (`server.home.place`); empty for one of an earlier version"""
    node_address: str = ""
    """host and port that take relays from other places, over TLS; empty if the process takes none from there"""
    certificate: str = ""
    """SHA-256 of the certificate that it shows there, in hexadecimal"""
    keys: str = ""
    """marks of the sealing keys in its key ring (`identity.keys.KeyRing.marks`)"""

    @property
    def where(self) -> str:
        """Machine and data folder, as people and `scp` write them; empty if they are not known."""
        return self.place.partition("#")[0]


class Processes(Protocol):
    """Server processes by their id.

    Every method raises `TryLater` when the store cannot do its work.
    """

    async def enter(self, process: ProcessRecord) -> bool:
        """Add a process, or replace its record.

        Returns:
            False if it lacks the key that seals (`Owned.sealing`): then nothing is changed.
        """

    async def find(self, id: str) -> ProcessRecord | None:
        """Return a process; None if it is dead."""

    async def all(self) -> list[ProcessRecord]:
        """Return all processes, the oldest first."""

    async def remove(self, id: str, beat: int | None = None) -> bool:
        """Remove a process: it has ended or is dead. With `beat`, only if its counter still stands there.

        Returns:
            whether it was removed.
        """

    def pulse(self, keys: Callable[[], str] = lambda: "") -> "Pulse":
        """Return the pulse, for a thread of its own: it waits neither for the event loop nor for other calls.

        `keys` is called in that thread, and returns `ProcessRecord.keys` as they are then.
        """


class Pulse(Protocol):
    """Heartbeats of the processes, on a database connection of its own; it blocks the one thread that uses it."""

    def beat(self, id: str) -> dict[str, int] | None:
        """Advance the counter of the process `id`, note its keys, and return the counters of all.

        It is one transaction.

        Returns:
            None if `id` is not there any more: others take the process for dead.

        Raises:
            TryLater: the store cannot do it now.
        """

    def close(self) -> None:
        """Close the connection. May be called again."""
