"""Contract of the login failures: how failed and refused sign-ins are counted, and when they are forgiven.

Nothing here depends on whether anybody has a name: a store does the same work for every name (promise 5).
A store reads no clock: the caller passes times, which have a time zone. `identity.throttle` has the rules.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

COUNTED_NAMES = 65_536
"""Most names that are counted at once, give or take a few; beyond that, the name with the earliest
`throttle.kept_until` is forgotten. Names without a failure go first."""
KNOWN_SOURCES = 8
"""Most addresses remembered for a name; beyond that, the one that was used longest ago is forgotten."""


class Marks(NamedTuple):
    """Keyed hashes by which failed sign-ins are counted (`identity.throttle`)."""

    name: bytes
    source: bytes


class LoginFailures(Protocol):
    """Failed sign-ins, counted by name and by address; and refused ones, counted by name for its owner to see.

    The two counts differ: a sign-in that comes too early is refused and is no failure, and failures are forgiven
    before the owner has seen the refusals. `Sessions.open` forgives and takes the refusals, in the transaction
    that opens the session.

    Every method raises `TryLater` when the store cannot do its work.
    """

    async def attempt(self, name: bytes, source: bytes, at: datetime, *, only_known: bool = False) -> float | None:
        """Count a sign-in as failed before anybody knows whether it is, or say how long it has to wait.

        `name` and `source` are `Marks`. If the name has signed in from this source before, the source's own count
        decides, else the name's. Reading and counting are one transaction, for all servers: each of several
        simultaneous attempts is counted, and no more pass than `throttle.wait` allows.

        Returns:
            0 when the attempt was counted and may go on; else the seconds to wait, infinity when the name is
            locked, and nothing is counted. With `only_known`, None if the name has not signed in from this source
            before: nothing is counted, and nothing is written.
        """

    async def succeeded(self, name: bytes, source: bytes, at: datetime) -> None:
        """Forget all failures of a name, and remember that it has signed in from this source.

        The refusals stay.
        """

    async def forgive(self, name: bytes) -> None:
        """Forget all failures of a name: the operator's way to unlock it. The refusals stay."""

    async def refused(self, name: bytes, at: datetime) -> None:
        """Count one refused sign-in under a name; none is lost when many come at once."""

    async def refusals(self) -> Mapping[bytes, int]:
        """Return the names with refusals since their last sign-in, and how many."""
