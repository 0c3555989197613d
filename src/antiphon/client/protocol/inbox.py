"""Inbox: payloads that came for one message, or that the service sent by itself, and are not taken yet."""

from collections import deque
from collections.abc import Callable

from antiphon.client.protocol.unanswered import Sent
from antiphon.errors import AntiphonError
from antiphon.wire.frames import Payload


class Inbox:
    """Payloads in order, and their end.

    `taken` is called for each payload that is taken, or never will be. `take_back` sends CANCEL for a message.
    There is an inbox for each message, so the class holds what all of them begin with.
    """

    _ended = False
    _error: AntiphonError | None = None
    sent: "Sent[Inbox] | None" = None
    """The message that is answered here; None for what the service sends by itself, and at the end.

    The message refers to this object: without the end, only the garbage collector would free the two.
    """
    size = 0
    """The message's size in bytes."""
    stream = False
    """Whether every answer is wanted, however many there are: `leave` does not wait for such an inbox."""

    def __init__(self, taken: Callable[[Payload], None], take_back: Callable[[Sent["Inbox"]], None]) -> None:
        """Start empty."""
        self._items: deque[Payload] = deque()
        self._taken = taken
        self._take_back = take_back

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return self._ended

    @property
    def error(self) -> AntiphonError | None:
        """Why it ended; None if it ended in order."""
        return self._error

    @property
    def ready(self) -> bool:
        """Whether `take` returns or raises something now."""
        return bool(self._items) or self._ended

    def is_ready(self) -> bool:
        """Return what `ready` is, for a caller that asks again and again: this is one call and not two."""
        return bool(self._items) or self._ended

    def put(self, payload: Payload) -> None:
        """Add a payload."""
        self._items.append(payload)
        self._wake()

    def answer(self, payload: Payload) -> None:
        """Add a payload that is the only one, and end the inbox. Precondition: it has not ended."""
        self._items.append(payload)
        self._ended = True
        self.sent = None
        self._wake()

    def end(self, error: AntiphonError | None = None) -> None:
        """End the inbox, because of `error` if there is one; the first end counts."""
        if not self._ended:
            self._ended = True
            self._error = error
            self.sent = None
            self._wake()

    def take(self) -> Payload | None:
        """Return the next payload, None at the end. Precondition: it is `ready`.

        Raises:
            AntiphonError: why it ended.
        """
        if self._items:
            payload = self._items.popleft()
            self._taken(payload)
            return payload
        if self._error is not None:
            raise self._error
        return None

    def take_all(self) -> list[Payload]:
        """Return every payload that came and was not taken yet."""
        payloads = list(self._items)
        if payloads:
            self._items.clear()
            for payload in payloads:
                self._taken(payload)
        return payloads

    def ignore(self) -> None:
        """Drop what came and what still comes; the service is not stopped."""
        self.take_all()
        self.end()

    def close(self) -> None:
        """Drop what came and what still comes; the service is stopped if it is still at work."""
        sent = self.sent
        if self._items or not self._ended:
            self.ignore()
        if sent is not None:
            self._take_back(sent)

    def _wake(self) -> None:
        """Wake the one that waits for `ready`; a shell's."""
