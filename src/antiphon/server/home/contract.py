"""Contract of the processes of a store, as sessions and relays ask about them (`process.HomeProcess`)."""

from typing import Protocol

from antiphon.store.contracts import ProcessRecord


class Homes(Protocol):
    """The processes, as sessions ask about them."""

    id: str
    """This process."""

    async def find(self, id: str) -> ProcessRecord | None:
        """Return another process; None if it is dead.

        Raises:
            TryLater: the store does not answer.
        """


class Reachable(Protocol):
    """The processes, as relays ask about them."""

    def understands(self, other: ProcessRecord) -> bool:
        """Return whether relays between this process and another one are understood, and serve the same."""

    def is_here(self, other: ProcessRecord) -> bool:
        """Return whether the Unix socket of a process can be reached; else it is of another node."""

    def still_for(self, other: ProcessRecord) -> float:
        """Return for how many seconds the counter of a process has stood still; 0 while that is not known."""

    async def refused(self, other: ProcessRecord) -> None:
        """Note that nobody listens at the Unix socket of a process: it is dead, unless its counter has moved.

        Raises:
            TryLater: it lives, or the store does not answer.
        """

    async def silent(self, other: ProcessRecord) -> None:
        """Note that a process does not answer at its relay address: it is dead if its counter stands still, too.

        Raises:
            TryLater: that is not known yet, it lives, or the store does not answer.
        """
