"""Questions about who is subscribed to topics, put together: one is under way at a time.

The next question is about all topics that somebody has asked for meanwhile, so that whoever asks about every topic
of a service costs one question and not one for each.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from antiphon.errors import TryLater

AT_ONCE = 1000
"""Topics in one question."""

Found = TypeVar("Found")


class Presence(Generic[Found]):
    """Asks who is subscribed, for one process."""

    def __init__(self, ask: Callable[[list[str]], Awaitable[Mapping[str, list[Found]]]]) -> None:
        """Ask by `ask`, which may leave out topics of nobody, and raises `TryLater` if nobody answers."""
        self._ask = ask
        self._waiting: dict[str, list[asyncio.Future[list[Found]]]] = {}
        """Topics that the next question is about."""
        self._asking: asyncio.Task[None] | None = None

    async def of(self, topic: str) -> list[Found]:
        """Return who is subscribed to a topic, at this moment or later.

        Raises:
            TryLater: nobody answers.
        """
        answer: asyncio.Future[list[Found]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(topic, []).append(answer)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_on())
        return await answer

    async def stop(self) -> None:
        """Ask nothing more; whoever waits is told to try later."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})

    async def _ask_on(self) -> None:
        asked: dict[str, list[asyncio.Future[list[Found]]]] = {}
        try:
            while self._waiting:
                asked = {topic: self._waiting.pop(topic) for topic in list(self._waiting)[:AT_ONCE]}
                found = await self._ask(list(asked))
                for topic, answers in asked.items():
                    for answer in answers:
                        if not answer.done():  # else who asked waits no more
                            answer.set_result(found.get(topic, []))
        except TryLater:
            pass  # those who wait are told
        finally:
            self._asking = None
            waiting, self._waiting = self._waiting, {}
            for answer in (each for those in (asked, waiting) for answers in those.values() for each in answers):
                if not answer.done():
                    answer.set_exception(TryLater())
