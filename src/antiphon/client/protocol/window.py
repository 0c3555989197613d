"""Send window: how many messages may be unanswered at once, and how large each may be."""

from antiphon.errors import MessageTooLarge, NotText
from antiphon.wire.bodies import Limits
from antiphon.wire.frames import Payload
from antiphon.wire.kinds import KIB

WINDOW = 256
"""Messages that may be unanswered at once: enough to fill any path, few enough to hold."""
WINDOW_BYTES = 256 * KIB
"""Bytes of unanswered messages at which no further one is sent: as many as a server lets wait."""


class Window:
    """The messages of a session that are unanswered."""

    def __init__(self) -> None:
        """Start with no message."""
        self._messages = self._size = 0

    @property
    def full(self) -> bool:
        """Whether a further message has to wait."""
        return self._messages >= WINDOW or self._size >= WINDOW_BYTES

    @property
    def empty(self) -> bool:
        """Whether no message is unanswered."""
        return not self._messages

    @property
    def low(self) -> bool:
        """Whether half of it is free: time to send many messages at once."""
        return self._messages <= WINDOW // 2 and self._size <= WINDOW_BYTES // 2

    def room(self, size: int) -> int:
        """Return how many messages of `size` bytes can be sent until it is full."""
        if self.full:
            return 0
        messages = WINDOW - self._messages
        return min(messages, -(-(WINDOW_BYTES - self._size) // size)) if size else messages

    def add(self, size: int, messages: int = 1) -> None:
        """Count a message of `size` bytes that is sent, or several that have so many together."""
        self._messages += messages
        self._size += size

    def remove(self, size: int, messages: int = 1) -> None:
        """Count a message of `size` bytes as answered, or several that have so many together."""
        self._messages -= messages
        self._size -= size


def check_message(message: Payload, limits: Limits) -> int:
    """Check that the server takes a message; return its size in bytes.

    Raises:
        MessageTooLarge: it would end the connection.
        NotText: it holds half a surrogate pair, which UTF-8 cannot encode.
        TypeError: it is neither text nor bytes.
    """
    if isinstance(message, bytes):
        size = len(message)
    elif isinstance(message, str):
        try:
            size = len(message) if message.isascii() else len(message.encode())
        except UnicodeEncodeError:
            raise NotText from None
    else:
        raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
    if size > limits.message:
        raise MessageTooLarge(size=size, limit=limits.message)
    return size
