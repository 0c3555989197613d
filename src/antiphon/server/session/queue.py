"""Message queue of a session: messages that wait for the handler of the one before."""

from collections.abc import Iterator

from antiphon.wire.frames import Payload
from antiphon.wire.kinds import KIB

QUEUED_MOST = 16
"""Messages of a session that may wait; at that many nothing more is read from its connection."""
QUEUED_LIMIT = 256 * KIB
"""Bytes of waiting messages, likewise."""


class MessageQueue:
    """Messages with their ids, in order of arrival."""

    __slots__ = ("_messages", "full", "size")

    def __init__(self) -> None:
        """Start empty."""
        self._messages: list[tuple[int, Payload]] = []
        self.size = 0
        """Length of all messages, in bytes or characters."""
        self.full = False
        """Whether a limit is reached."""

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self._messages)

    def __iter__(self) -> Iterator[tuple[int, Payload]]:
        """Iterate over ids and messages."""
        return iter(self._messages)

    def put(self, id: int, message: Payload) -> None:
        """Append a message."""
        self._messages.append((id, message))
        self._resize(len(message))

    def take(self) -> tuple[int, Payload]:
        """Remove and return the first message."""
        id, message = self._messages.pop(0)
        self._resize(-len(message))
        return id, message

    def remove(self, id: int) -> bool:
        """Remove a message by its id; return whether it was there."""
        found = next((entry for entry in self._messages if entry[0] == id), None)
        if found is not None:
            self._messages.remove(found)
            self._resize(-len(found[1]))
        return found is not None

    def _resize(self, size: int) -> None:
        self.size += size
        self.full = len(self._messages) >= QUEUED_MOST or self.size >= QUEUED_LIMIT
