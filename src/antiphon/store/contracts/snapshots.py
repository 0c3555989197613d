"""Contract of the snapshots: session state that a stopping server saves for its successor.

A snapshot belongs to a session record and is deleted with it.
"""

from collections.abc import Mapping
from typing import Protocol


class Snapshots(Protocol):
    """Snapshots as bytes, by the fingerprint of their session.

    `Sessions.claim` says whether there is one. Every method raises `TryLater` when the store cannot do its work.
    """

    async def save(self, snapshots: Mapping[bytes, bytes]) -> None:
        """Save the snapshots of sessions, all in one transaction. A session that is over gets none."""

    async def take(self, fingerprint: bytes) -> bytes | None:
        """Return the snapshot of a session and delete it, in one transaction; None if there is none."""
