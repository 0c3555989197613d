"""Message queue of a session: messages that wait for the handler of the one before."""

from collections.abc import Iterator
from typing import NamedTuple

from antiphon.wire.frames import Payload
from antiphon.wire.kinds import KIB

QUEUED_MOST = 16
"""Messages of a session that may wait; at that many nothing more is read from its connection."""
QUEUED_LIMIT = 256 * KIB
"""Bytes of waiting messages, likewise."""


class Answered(NamedTuple):
    """A message that is not handled, because it was refused or cancelled: its answer waits for its turn."""

    frame: bytes
    """END or ERROR"""


Waiting = Payload | Answered


class MessageQueue:
    """Messages with their ids, in order of arrival."""

    __slots__ = ("_messages", "full", "size")

    def __init__(self) -> None:
        """Start empty."""
        self._messages: list[tuple[int, Waiting]] = []
        self.size = 0
        """Length of all messages, in bytes or characters; of those not to be handled, of their answers."""
        self.full = False
        """Whether a limit is reached."""

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self._messages)

    def __iter__(self) -> Iterator[tuple[int, Waiting]]:
        """Iterate over ids and messages."""
        return iter(self._messages)

    def put(self, id: int, message: Waiting) -> None:
        """Append a message."""
        self._messages.append((id, message))
        self._resize(_length(message))

    def take(self) -> tuple[int, Waiting]:
        """Remove and return the first message."""
        id, message = self._messages.pop(0)
        self._resize(-_length(message))
        return id, message

    def answer(self, id: int, frame: bytes) -> None:
        """Put an answer in the place of the first message `id` that is to be handled; do nothing without one."""
        for at, (each, message) in enumerate(self._messages):
            if each == id and not isinstance(message, Answered):
                self._messages[at] = id, Answered(frame)
                self._resize(len(frame) - len(message))
                return

    def _resize(self, size: int) -> None:
        self.size += size
        self.full = len(self._messages) >= QUEUED_MOST or self.size >= QUEUED_LIMIT


def _length(message: Waiting) -> int:
    return len(message.frame if isinstance(message, Answered) else message)
