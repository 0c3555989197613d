"""Answers: an inbox of the asyncio client, to be awaited."""

import asyncio
from collections.abc import Callable
from typing import Self

from antiphon.client.protocol.inbox import Inbox
from antiphon.wire.frames import Payload


class Answers(Inbox):
    """The answers to one message, or what the service sends by itself: any number of payloads, as they come."""

    _waiter: asyncio.Future[None] | None = None
    on_news: Callable[[], object] | None = None
    """Called at once for each payload and for the end, for a caller that cannot wait for `next`."""

    def _wake(self) -> None:
        if self.on_news is not None:
            self.on_news()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> Payload | None:
        """Return the next payload, None at the end. One task at a time may wait.

        Raises:
            AntiphonError: why it ended.
        """
        while not self.ready:
            await self.news()
        return self.take()

    def news(self) -> asyncio.Future[None]:
        """Return a future of the next payload, or of the end. Precondition: it is not `ready`."""
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter

    def __aiter__(self) -> Self:
        """Iterate over the payloads."""
        return self

    async def __anext__(self) -> Payload:
        """Return the next payload."""
        payload = await self.next()
        if payload is None:
            raise StopAsyncIteration
        return payload
