"""Broker on the outbox of a database: for servers on many machines.

Each process reads on from the number up to which it has read. It looks again as soon as somebody has published
(`look`), and after a while in any case: it needs nobody who tells it.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime

from antiphon.errors import TopicsFull, TryLater
from antiphon.server.topics.contract import READ_LIMIT, Entry, News, Position, Stretch
from antiphon.server.topics.hub import IN_ALL
from antiphon.server.topics.presence import Presence
from antiphon.store.contracts import Kept, Outbox, Posted, Present
from antiphon.topics import Subscriber
from antiphon.wire.frames import Payload

LOOK_SECONDS = 0.5
"""Pause between two looks at the outbox when nobody has told of anything."""
TEND_SECONDS = 10.0
"""Pause between two looks at what is kept, and at this process's own subscriptions."""
BATCH_MOST = 500
"""Messages that are published in one transaction."""
BATCH_LIMIT = 4 * 1024 * 1024
"""Bytes of messages after which no further one joins a transaction."""


class OutboxBroker:
    """One process's end (`contract.Broker`)."""

    news: News

    def __init__(
        self, outbox: Outbox, process: str, is_alive: Callable[[str], bool], clock: Callable[[], datetime]
    ) -> None:
        """Be the end of a process.

        Args:
            outbox: the database's.
            process: its id.
            is_alive: whether another process lives, as far as this one knows: subscribers of others are absent.
            clock: wall time in UTC.
        """
        self._outbox = outbox
        self._process = process
        self._is_alive = is_alive
        self._clock = clock
        self._local: dict[str, dict[int, Subscriber]] = {}
        """Subscriptions of this process."""
        self._waiting: list[tuple[str, Payload, asyncio.Future[bool]]] = []
        """Messages that are published next."""
        self._publishing: asyncio.Task[None] | None = None
        self._presence = Presence(self._who)
        self._leaving: dict[tuple[str, int], None] = {}
        """Subscriptions that have ended here, and not yet in the database."""
        self._read_to = 0
        self._away = False
        """Whether something may have been missed since the last look."""
        self._look = asyncio.Event()
        self._running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """See `Broker`."""
        self._read_to, _ = await self._outbox.ends(self._process)
        self._running = [
            asyncio.create_task(work) for work in (self._follow(), self._tend(), self._outbox.listen(self.look))
        ]

    async def stop(self) -> None:
        """See `Broker`."""
        running, self._running = self._running, []
        if self._publishing is not None:
            running.append(self._publishing)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._presence.stop()
        for *_, answer in self._waiting:
            if not answer.done():
                answer.set_exception(TryLater())
        self._waiting.clear()
        self._local.clear()
        with contextlib.suppress(TryLater):
            await self._outbox.unsubscribe(self._process, await self._outbox.subscriptions(self._process))

    def look(self) -> None:
        """Look at the outbox now: somebody may have published."""
        self._look.set()

    # --- `Broker` ---------------------------------------------------------------------------------------------

    async def publish(self, topic: str, message: Payload) -> None:
        """See `Broker`."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((topic, message, answer))
        if self._publishing is None:
            self._publishing = asyncio.create_task(self._publish())
        if not await answer:
            raise TopicsFull(problem=IN_ALL, most=self._outbox.topics_most)

    async def subscribe(self, topic: str, number: int, subscriber: Subscriber) -> Stretch:
        """See `Broker`."""
        here = self._local.setdefault(topic, {})
        is_new = here.setdefault(number, subscriber) is subscriber
        self._leaving.pop((topic, number), None)
        kept = None
        try:
            await self._leave_all()
            kept = await self._outbox.subscribe(self._process, topic, number, subscriber)
        finally:
            if kept is None and is_new:
                self.unsubscribe(topic, number)
        if kept is None:
            raise TopicsFull(problem=IN_ALL, most=self._outbox.topics_most)
        return Stretch(*kept, [])

    def unsubscribe(self, topic: str, number: int) -> None:
        """See `Broker`."""
        here = self._local.get(topic)
        if here is None or here.pop(number, None) is None:
            return
        if not here:
            del self._local[topic]
        self._leaving[topic, number] = None
        self._look.set()

    async def read(self, topic: str, after: Position) -> Stretch:
        """See `Broker`."""
        kept, posted = await self._outbox.read(topic, *after, READ_LIMIT)
        entries = [Entry(each.offset, each.message) for each in posted if each.message is not None]
        return Stretch(*(kept or Kept(0, 1, 0)), entries)

    async def topics(self, prefix: str) -> list[str]:
        """See `Broker`."""
        return list(
            dict.fromkeys(
                topic
                for topic, process in await self._outbox.topics(prefix)
                if (topic in self._local if process == self._process else self._is_alive(process))
            )
        )

    async def present(self, topic: str) -> list[Subscriber]:
        """See `Broker`."""
        found = await self._presence.of(topic)
        here = self._local.get(topic, {})
        return [
            each.subscriber
            for each in found
            if (each.number in here if each.process == self._process else self._is_alive(each.process))
        ]

    # --- helpers ----------------------------------------------------------------------------------------------

    async def _who(self, topics: list[str]) -> dict[str, list[Present]]:
        return await self._outbox.present(topics)

    async def _publish(self) -> None:
        """Publish what waits, as much as may be in one transaction after the other."""
        try:
            while self._waiting:
                await self._publish_some()
        finally:
            self._publishing = None

    async def _publish_some(self) -> None:
        size = count = 0
        while count < min(len(self._waiting), BATCH_MOST) and size < BATCH_LIMIT:
            size += len(self._waiting[count][1])
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        answers = [answer for *_, answer in batch]
        taken: list[bool] | None = None
        try:
            await self._leave_all()
            taken = await self._outbox.publish([(topic, message) for topic, message, _ in batch], self._clock())
        except TryLater:
            pass  # those who wait are told
        finally:
            for place, answer in enumerate(answers):
                if answer.done():  # who published waits no more
                    continue
                if taken is None:
                    answer.set_exception(TryLater())
                else:
                    answer.set_result(taken[place])
        self._look.set()

    async def _follow(self) -> None:
        """Tell what is published, as long as this process runs."""
        while True:
            self._look.clear()
            try:
                await self._leave_all()
                await self._read_on()
            except TryLater:
                self._away = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._look.wait()

    async def _read_on(self) -> None:
        """Tell what was published since the last look; after an outage, that there may be something to be read."""
        if self._away:
            number, posted = await self._outbox.ends(self._process)
            self._away = False
            self._tell(number, posted)
            return
        while True:
            number, posted = await self._outbox.news(self._process, self._read_to)
            if number == self._read_to:
                return
            self._tell(number, posted)

    def _tell(self, number: int, posted: list[Posted]) -> None:
        self._read_to = number
        for topic, epoch, offset, message in posted:
            if topic in self._local:
                self.news(topic, epoch, offset, message)

    async def _leave_all(self) -> None:
        """Have the database forget the subscriptions that have ended here."""
        if leaving := list(self._leaving):
            await self._outbox.unsubscribe(self._process, leaving)
            for each in leaving:
                self._leaving.pop(each, None)

    async def _tend(self) -> None:
        """Trim the outbox, and mend this process's own subscriptions in it, now and then."""
        while True:
            await asyncio.sleep(TEND_SECONDS)
            with contextlib.suppress(TryLater):
                await self._outbox.trim(self._clock())
                if await self._outbox.count(self._process) != sum(map(len, self._local.values())):
                    await self._mend()

    async def _mend(self) -> None:
        """Have the database know the subscriptions of this process again; it was taken for dead."""
        known = await self._outbox.subscriptions(self._process)
        for topic, here in list(self._local.items()):
            for number, subscriber in list(here.items()):
                if (topic, number) not in known:
                    await self._outbox.subscribe(self._process, topic, number, subscriber)
                    self._away = True
        self._leaving |= dict.fromkeys(each for each in known if each[1] not in self._local.get(each[0], ()))
        self._look.set()
