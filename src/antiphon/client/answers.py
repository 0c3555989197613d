"""What has come for one message, or from the service by itself, until somebody takes it."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self

from antiphon.client.continuity import Sent
from antiphon.errors import AntiphonError
from antiphon.wire.frames import Payload


class Inbox:
    """Payloads in order, and their end; `taken` is told of the bytes that somebody takes, or will never take."""

    __slots__ = ("_ended", "_error", "_items", "_taken", "_wake")

    def __init__(self, taken: Callable[[int], None]) -> None:
        """Begin empty."""
        self._items: deque[Payload] = deque()
        self._taken = taken
        self._wake: asyncio.Future[None] | None = None
        self._ended = False
        self._error: AntiphonError | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return self._ended

    def put(self, payload: Payload) -> None:
        """Add what has come."""
        self._items.append(payload)
        self._stir()

    def end(self, error: AntiphonError | None = None) -> None:
        """Note that nothing more comes, because of `error` if there is one; the first end counts."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._stir()

    def empty(self) -> None:
        """Throw away what nobody wants."""
        while self._items:
            self._taken(len(self._items.popleft()))

    def _stir(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def next(self) -> Payload | None:
        """Return the next payload, None at the end; one at a time may wait for it.

        Raises:
            AntiphonError: why it has ended.
        """
        while not self._items:
            if self._ended:
                if self._error is not None:
                    raise self._error
                return None
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        payload = self._items.popleft()
        self._taken(len(payload))
        return payload

    def __aiter__(self) -> Self:
        """Iterate over what comes."""
        return self

    async def __anext__(self) -> Payload:
        """Return the next payload."""
        payload = await self.next()
        if payload is None:
            raise StopAsyncIteration
        return payload


class Answers(Inbox):
    """The answers to one message: any number, as they come."""

    __slots__ = ("_take_back", "sent")

    def __init__(self, taken: Callable[[int], None], take_back: Callable[[Sent["Answers"]], None]) -> None:
        """Begin empty; `take_back` has the service stop."""
        super().__init__(taken)
        self._take_back = take_back
        self.sent: Sent[Answers] | None = None
        """The message."""

    def ignore(self) -> None:
        """Drop what comes; the service does not stop."""
        self.empty()
        self.end()

    def close(self) -> None:
        """Want no more answers: the service is stopped if it is still at work."""
        at_work = not self.ended
        self.ignore()
        if at_work and self.sent is not None:
            self._take_back(self.sent)
