"""`ask_many` of the asyncio client: messages ahead of their answers, which come in order."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from itertools import islice
from typing import Any

from antiphon.client.aio.answers import Answers
from antiphon.client.aio.window import WaitingWindow
from antiphon.client.protocol.values import AnswerReader, message_of
from antiphon.client.protocol.window import Window, check_message
from antiphon.wire.bodies import Limits

Begin = Callable[[object], Awaitable[Answers]]
"""Sends a message as soon as it may be sent, and returns its answers."""
BeginNow = Callable[[object], Answers | None]
"""Does the same, unless that means to wait: then it returns None."""


class _Ahead:
    """Messages that are sent and whose answers are not taken yet."""

    def __init__(self, begin: Begin, begin_now: BeginNow, messages: Iterable[object]) -> None:
        self._begin = begin
        self._begin_now = begin_now
        self._messages = iter(messages)
        self._held: list[object] = []
        """A message that would have had to wait for answers."""
        self._window = Window()
        self.more = True
        """Whether there may be messages left."""
        self.waiting: deque[Answers] = deque()

    @property
    def low(self) -> bool:
        """Whether it is time to `send`."""
        return self.more and self._window.low

    async def send(self) -> None:
        """Send as many messages as may be unanswered."""
        while not self._window.full:
            if not self._held:
                self._held += islice(self._messages, 1)
                if not self._held:
                    self.more = False
                    return
            answers = self._begin_now(self._held[0])
            if answers is None:
                if self.waiting:
                    return
                answers = await self._begin(self._held[0])
            self._held.clear()
            self.waiting.append(answers)
            self._window.add(answers.size)

    def taken(self) -> None:
        """Let go of the oldest message: its answer was taken."""
        answers = self.waiting.popleft()
        answers.close()
        self._window.remove(answers.size)


async def ask_ahead(
    begin: Begin, begin_now: BeginNow, messages: Iterable[object], read: AnswerReader | None
) -> AsyncGenerator[Any, None]:
    """Yield the answers to messages that are at hand: they are sent many at once."""
    ahead = _Ahead(begin, begin_now, messages)
    failure: Exception | None = None
    try:
        while ahead.more or ahead.waiting:
            if ahead.low:
                try:
                    await ahead.send()
                except Exception as error:  # noqa: BLE001 - raised behind the answers to the messages before
                    failure, ahead.more = error, False
                if not ahead.waiting:
                    continue
            answers = ahead.waiting[0]
            answer = answers.take() if answers.ready else await answers.next()
            ahead.taken()
            yield answer if read is None else read(answer)
        if failure is not None:
            raise failure
    finally:
        for answers in ahead.waiting:
            answers.close()


async def ask_as_they_come(
    begin: Begin, messages: AsyncIterable[object], limits: Limits, read: AnswerReader | None
) -> AsyncGenerator[Any, None]:
    """Yield the answers to messages that have to be awaited: each is sent as it comes."""
    begun: asyncio.Queue[Answers | None] = asyncio.Queue()
    room = WaitingWindow()

    async def send() -> None:
        try:
            async for message in messages:
                payload = message if isinstance(message, (str, bytes)) else message_of(message)
                await room.enter(check_message(payload, limits))
                answers = await begin(payload)
                begun.put_nowait(answers)
        finally:
            begun.put_nowait(None)

    sender = asyncio.create_task(send())
    answers: Answers | None = None
    try:
        while (answers := await begun.get()) is not None:
            answer = await answers.next()
            yield answer if read is None else read(answer)
            answers.close()
            room.remove(answers.size)
        await sender
    finally:
        sender.cancel()
        while answers is not None:
            answers.close()
            answers = await begun.get()
        await asyncio.wait({sender})
