"""Worker's end of the hub of its supervisor (`topics.contract.Broker`)."""

import asyncio
import itertools
import socket
from collections.abc import Callable

from antiphon.errors import TopicsFull, TryLater
from antiphon.server.forking import give_up_socket
from antiphon.server.topics.contract import Entry, Position, Stretch
from antiphon.server.topics.contract import News as TakeNews
from antiphon.server.topics.hub import IN_ALL
from antiphon.server.topics.presence import Presence
from antiphon.server.workers.channel import Channel
from antiphon.server.workers.messages import (
    Answer,
    Message,
    News,
    Publish,
    Read,
    Subscribe,
    Unsubscribe,
    Which,
    Who,
)
from antiphon.topics import Subscriber
from antiphon.wire.frames import Payload

ANSWER_SECONDS = 10.0
"""Longest wait for the supervisor, which runs no user's code."""
SENT_LIMIT = 1024 * 1024
"""Bytes on their way to the supervisor after which the next one who asks waits."""


class HubBroker:
    """One worker's end."""

    news: TakeNews

    def __init__(self, end: socket.socket) -> None:
        """Talk to the supervisor over `end`; call `open` next."""
        end.set_inheritable(False)
        give_up_socket(end)
        self._end = end
        self._channel: Channel
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        """Questions that are not answered."""
        self._reads: dict[tuple[str, Position], asyncio.Future[Answer]] = {}
        """Reads that are not answered: subscriptions at one place share them."""
        self._presence = Presence(self._who)
        self._order = asyncio.Lock()
        self._room = asyncio.Event()
        """Set while nothing waits for the supervisor to read."""
        self._gone = False

    def open(self) -> None:
        """Begin to listen, in the running event loop."""
        self._channel = Channel(self._end, self._received, self._lost)
        self._channel.drained = self._room.set
        self._channel.start()

    def close(self) -> None:
        """Ask nothing more."""
        self._channel.close()
        self._lost()

    # --- `Broker` ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """See `Broker`: the worker has opened it."""

    async def stop(self) -> None:
        """See `Broker`: the worker closes it."""

    async def publish(self, topic: str, message: Payload) -> None:
        """See `Broker`."""
        await self._ask(lambda id: Publish(id, topic, message))

    async def subscribe(self, topic: str, number: int, subscriber: Subscriber) -> Stretch:
        """See `Broker`."""
        return _stretch(await self._ask(lambda id: Subscribe(id, topic, number, subscriber)))

    def unsubscribe(self, topic: str, number: int) -> None:
        """See `Broker`."""
        self._channel.send(Unsubscribe(topic, number))

    async def read(self, topic: str, after: Position) -> Stretch:
        """See `Broker`."""
        key = topic, after
        reading = self._reads.get(key)
        if reading is None:
            reading = self._reads[key] = asyncio.ensure_future(self._ask(lambda id: Read(id, topic, after), key))
            reading.add_done_callback(_retrieve)
        return _stretch(await asyncio.shield(reading))

    async def topics(self, prefix: str) -> list[str]:
        """See `Broker`."""
        return (await self._ask(lambda id: Which(id, prefix))).topics

    async def present(self, topic: str) -> list[Subscriber]:
        """See `Broker`."""
        return await self._presence.of(topic)

    async def _who(self, topics: list[str]) -> dict[str, list[Subscriber]]:
        answer = await self._ask(lambda id: Who(id, topics))
        return dict(zip(topics, answer.present, strict=True))

    # --- the channel ------------------------------------------------------------------------------------------

    async def _ask(self, question: Callable[[int], Message], key: tuple[str, Position] | None = None) -> Answer:
        """Ask the supervisor; `key` is that of a read.

        Raises:
            TopicsFull: its answer.
            TryLater: it does not answer.
        """
        id = next(self._numbers)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                async with self._order:
                    while self._channel.waiting > SENT_LIMIT and not self._gone:
                        self._room.clear()
                        await self._room.wait()
                    if self._gone:
                        raise TryLater
                    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
                    self._asked[id] = answer
                    self._channel.send(question(id))
                answered = await answer
        except TimeoutError:
            raise TryLater from None
        finally:
            self._asked.pop(id, None)
            if key is not None:  # in the step that takes the answer: it does not hold news that come after it
                self._reads.pop(key, None)
        if answered.most:
            raise TopicsFull(problem=IN_ALL, most=answered.most)
        return answered

    def _received(self, message: Message, _: socket.socket | None) -> None:
        if isinstance(message, News):
            self.news(message.topic, message.epoch, message.offset, message.message)
        elif isinstance(message, Answer):
            answer = self._asked.get(message.id)
            if answer is not None and not answer.done():
                answer.set_result(message)

    def _lost(self) -> None:
        """Leave those who wait to themselves: the supervisor is gone, and this worker drains."""
        self._gone = True
        self._room.set()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(TryLater())


def _stretch(answer: Answer) -> Stretch:
    return Stretch(answer.epoch, answer.first, answer.last, [Entry(*entry) for entry in answer.entries])


def _retrieve(reading: "asyncio.Future[Answer]") -> None:
    """Take what has failed, also if nobody waits for it any more."""
    if not reading.cancelled():
        reading.exception()
