"""Subscription: where one reader of a topic is, and how it gets on.

A subscription is a place in a topic that moves on with each entry delivered. It takes news that follow on its
place. After a hole, and when its reader could take nothing for a while, it reads on from its place. What the
broker does not keep any more is a gap, of which the reader is told.
"""

import asyncio
from typing import Protocol

from antiphon.errors import AntiphonError
from antiphon.server.tasks import BackgroundTasks
from antiphon.server.topics.contract import Broker, Position, Stretch
from antiphon.topics import Subscriber
from antiphon.wire.frames import Payload

AGAIN_SECONDS = 1.0
"""Pause before a broker that does not answer is asked again."""


class Reader(Protocol):
    """What subscribes to topics: the channel of a session, or the process itself."""

    def takes(self, subscription: "Subscription") -> bool:
        """Return whether something may be delivered now. If not, the reader calls `go_on` later."""

    def deliver(self, subscription: "Subscription", message: Payload, frame: bytes | None) -> None:
        """Take an entry; `frame` is what pushes it, if that was made already."""

    def missed(self, subscription: "Subscription", entries: int) -> None:
        """Take note of a gap of so many entries, at least."""


class Subscription:
    """One reader's place in one topic."""

    __slots__ = (
        "_broker", "_joined", "_left", "_news", "_reader", "_reading", "_tasks", "asked", "behind", "number",
        "place", "subscriber", "topic", "untold",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917 - each is of another type
        self,
        broker: Broker,
        tasks: BackgroundTasks,
        reader: Reader,
        topic: str,
        number: int,
        subscriber: Subscriber,
        place: Position | None = None,
    ) -> None:
        """Begin at the end of the topic, or at a `place`; call `join` next. It reads in `tasks`."""
        self._broker = broker
        self._tasks = tasks
        self._reader = reader
        self.topic = topic
        self.number = number
        self.subscriber = subscriber
        self.place = place
        """None until it has joined."""
        self.asked = False
        """Whether the service has asked for it in this channel, and not only in one before."""
        self.untold = False
        """Whether the service is to be told of a gap."""
        self.behind = True
        """Whether entries are to be read, or may be: news are not taken until that is done."""
        self._news = False
        """Whether news have come that were not taken."""
        self._joined = self._left = False
        self._reading: asyncio.Task[None] | None = None

    async def join(self, history: int = 0) -> None:
        """Make the broker know it, and begin `history` entries before the end, or at its place if it has one.

        Calling it again looks for a gap.

        Raises:
            TopicsFull, TryLater: as `Broker.subscribe`.
        """
        stretch = await self._broker.subscribe(self.topic, self.number, self.subscriber)
        if self._left:  # meanwhile
            self._broker.unsubscribe(self.topic, self.number)
        self._joined = True
        if self._reading is not None:
            return
        if self.place is None:
            kept = stretch.last - stretch.first + 1
            self.place = Position(stretch.epoch, stretch.last - min(history, kept))
        self._look(stretch)
        self.behind = self._news or self.place.offset < stretch.last

    def leave(self) -> None:
        """Make the broker forget it; nothing is delivered any more."""
        self._left = True
        self._broker.unsubscribe(self.topic, self.number)

    def news(self, epoch: int, offset: int, message: Payload | None, frame: bytes | None) -> None:
        """Take what was published, or note that it is to be read."""
        place = self.place
        if self.behind or place is None:
            self._news = True
        elif place == (epoch, offset - 1) and message is not None and self._takes():
            self.place = Position(epoch, offset)
            self._reader.deliver(self, message, frame)
        elif place.epoch != epoch or place.offset < offset:
            self._news = self.behind = True
        self.go_on()

    def go_on(self) -> None:
        """Read on, if there is something to read and the reader can take it."""
        if self.behind and self._reading is None and self._takes():
            self._reading = self._tasks.start(self._read())

    async def caught_up(self) -> None:
        """Wait until everything is delivered, or no more can be delivered now."""
        self.go_on()
        if self._reading is not None:
            await asyncio.wait({self._reading})

    def _takes(self) -> bool:
        return self._joined and not self._left and self._reader.takes(self)

    async def _read(self) -> None:
        try:
            while self.behind and self._takes():
                assert self.place is not None
                self._news = False
                stretch = await self._broker.read(self.topic, self.place)
                if not self._left:
                    self._look(stretch)
                    self._take(stretch)
        except AntiphonError:
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self.go_on)
        finally:
            self._reading = None

    def _look(self, stretch: Stretch) -> None:
        """Look for a gap before what the broker keeps."""
        assert self.place is not None
        epoch, offset = self.place
        before = stretch.first - 1
        if epoch == stretch.epoch and offset >= before:
            return
        self.place = Position(stretch.epoch, before)
        # How much is missed of a topic that was forgotten, nobody knows.
        self._reader.missed(self, before - offset if epoch == stretch.epoch else max(1, before))

    def _take(self, stretch: Stretch) -> None:
        """Deliver entries as far as the reader takes them."""
        for offset, message in stretch.entries:
            if not self._takes():
                return
            self.place = Position(stretch.epoch, offset)
            self._reader.deliver(self, message, None)
        assert self.place is not None
        self.behind = self._news or self.place.offset < stretch.last
