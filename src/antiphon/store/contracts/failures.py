"""Contract of the login failures: how failed sign-ins are counted, and when they are forgiven.

A store reads no clock: the caller passes times, which have a time zone. `identity.throttle` has the rules.
"""

from datetime import datetime
from typing import NamedTuple, Protocol

COUNTED_NAMES = 65_536
"""Most names whose failures are counted at once, give or take a few; beyond that, the name that failed longest ago
is forgotten."""
KNOWN_SOURCES = 8
"""Most addresses remembered for a name; beyond that, the one that was used longest ago is forgotten."""


class Marks(NamedTuple):
    """Keyed hashes by which failed sign-ins are counted (`identity.throttle`)."""

    name: bytes
    source: bytes


class LoginFailures(Protocol):
    """Failed sign-ins, counted by name and by address.

    `Sessions.open` also forgives, in the transaction that opens the session.

    Every method raises `TryLater` when the store cannot do its work.
    """

    async def attempt(self, name: bytes, source: bytes, at: datetime) -> float:
        """Count a sign-in as failed before anybody knows whether it is, or say how long it has to wait.

        `name` and `source` are `Marks`. If the name has signed in from this source before, the source's own count
        decides, else the name's. Reading and counting are one transaction, for all servers: each of several
        simultaneous attempts is counted, and no more pass than `throttle.wait` allows.

        Returns:
            0 when the attempt was counted and may go on; else the seconds to wait, infinity when the name is
            locked, and nothing is counted.
        """

    async def succeeded(self, name: bytes, source: bytes, at: datetime) -> None:
        """Forget all failures of a name, and remember that it has signed in from this source."""

    async def forgive(self, name: bytes) -> None:
        """Forget all failures of a name: the operator's way to unlock it."""
