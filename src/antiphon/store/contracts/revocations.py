"""Contract of the revocation log: how servers learn that a session was ended elsewhere.

`Sessions` writes the log, each entry in the transaction that ends the session. Servers poll it,
and a store may hasten them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

REVOCATIONS_KEPT = timedelta(days=1)
"""Age at which an entry is deleted: a server that cannot read the log for longer may miss one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Revocation:
    """Entry of the revocation log: one session, or every session of an account, was taken away."""

    id: int
    """grows with every entry and is never given again"""
    fingerprint: bytes | None = field(repr=False)
    account_id: int | None
    owner: str | None
    """the server that took the one session over; None when the session is over for everybody"""
    reason: str
    """one word, for the log and for the client whose connection holds the session"""


class RevocationLog(Protocol):
    """Revocations, numbered upwards.

    Every method raises `TryLater` when the store cannot do its work.
    """

    async def entries(self, after: int) -> list[Revocation]:
        """Return the revocations with a higher number than `after`, in order."""

    async def listen(self, heard: Callable[[], object]) -> None:
        """Call `heard` in this event loop soon after entries are written, until cancelled.

        Only a hint: it may miss some, and returns at once where the store has no such thing. Poll as well.
        """

    async def position(self) -> int:
        """Return the number of the newest revocation, 0 if there was none."""

    async def trim(self, at: datetime) -> None:
        """Delete the revocations that are `REVOCATIONS_KEPT` or older at the time `at`."""
