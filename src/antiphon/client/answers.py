"""What has come for one message, or from the service by itself, until somebody awaits it."""

import asyncio
from collections.abc import Callable
from typing import Self

from antiphon.client.continuity import Sent
from antiphon.client.exchange import Inbox
from antiphon.wire.frames import Payload


class Answers(Inbox):
    """An inbox to be awaited: any number of payloads, as they come."""

    __slots__ = ("_wake", "on_news")

    def __init__(self, taken: Callable[[Payload], None], take_back: Callable[[Sent[Inbox]], None]) -> None:
        """Begin empty."""
        super().__init__(taken, take_back)
        self._wake: asyncio.Future[None] | None = None
        self.on_news: Callable[[], object] | None = None
        """Called at once when something has come, and at the end; for whoever cannot wait for `next`."""

    def _stir(self) -> None:
        if self.on_news is not None:
            self.on_news()
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def next(self) -> Payload | None:
        """Return the next payload, None at the end; one at a time may wait for it.

        Raises:
            AntiphonError: why it has ended.
        """
        while not self.ready:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        return self.take()

    def __aiter__(self) -> Self:
        """Iterate over what comes."""
        return self

    async def __anext__(self) -> Payload:
        """Return the next payload."""
        payload = await self.next()
        if payload is None:
            raise StopAsyncIteration
        return payload
