"""The messages of a session that wait for the one before them."""

from collections.abc import Iterator

from antiphon.wire.frames import Payload
from antiphon.wire.kinds import KIB

WAITING_MOST = 16
"""Messages of a session that may wait; then nothing more is read."""
WAITING_LIMIT = 256 * KIB
"""Bytes of them, likewise."""


class Waiting:
    """Messages with their ids, the one that came first in front."""

    __slots__ = ("_messages", "full", "size")

    def __init__(self) -> None:
        """Begin with none."""
        self._messages: list[tuple[int, Payload]] = []
        self.size = 0
        """Bytes and characters of them."""
        self.full = False
        """As much waits as may."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._messages)

    def __iter__(self) -> Iterator[tuple[int, Payload]]:
        """Go through them."""
        return iter(self._messages)

    def put(self, id: int, message: Payload) -> None:
        """Have one more wait."""
        self._messages.append((id, message))
        self._grown(len(message))

    def take(self) -> tuple[int, Payload]:
        """Take the first."""
        id, message = self._messages.pop(0)
        self._grown(-len(message))
        return id, message

    def take_back(self, id: int) -> bool:
        """Take one away by its id; return whether it was there."""
        found = next((entry for entry in self._messages if entry[0] == id), None)
        if found is not None:
            self._messages.remove(found)
            self._grown(-len(found[1]))
        return found is not None

    def _grown(self, size: int) -> None:
        self.size += size
        self.full = len(self._messages) >= WAITING_MOST or self.size >= WAITING_LIMIT
