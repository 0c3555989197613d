"""Hub: the topics of one server, with their newest entries and their subscribers.

It is plain data, without I/O: `memory.py` has one in the server's process, the supervisor has one for its workers.
"""

import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from antiphon.errors import Problem, TopicsFull
from antiphon.language import N_
from antiphon.server.topics.contract import READ_LIMIT, Entry, Position, Stretch
from antiphon.topics import (
    ENTRY_OVERHEAD,
    HISTORY_LIMIT,
    HISTORY_MOST,
    TOPICS_MOST,
    TOTAL_LIMIT,
    Subscriber,
)
from antiphon.wire.frames import Payload

IN_ALL = Problem(N_("the server has {most}"))


class Process(Protocol):
    """A process whose sessions subscribe."""

    def news(self, topic: str, epoch: int, offset: int, message: Payload | None) -> None:
        """See `contract.News`; it never waits."""


@dataclass(slots=True, eq=False)
class _Topic:
    epoch: int
    last: int = 0
    entries: deque[tuple[Payload, int]] = field(default_factory=deque)
    """Messages that are kept, the newest last, and the memory of each."""
    size: int = 0
    readers: dict[Process, dict[int, Subscriber]] = field(default_factory=dict)

    @property
    def first(self) -> int:
        return self.last - len(self.entries) + 1

    def trim(self) -> int:
        """Drop the oldest entries beyond the limits, but for the newest one; return how many bytes are freed."""
        before = self.size
        while len(self.entries) > 1 and (len(self.entries) > HISTORY_MOST or self.size > HISTORY_LIMIT):
            self.drop()
        return before - self.size

    def drop(self) -> None:
        """Drop the oldest entry."""
        self.size -= self.entries.popleft()[1]


class Hub:
    """The topics of a server."""

    def __init__(
        self, random: Callable[[int], bytes], topics_most: int = TOPICS_MOST, total: int = TOTAL_LIMIT
    ) -> None:
        """Start with none; `random` returns random bytes, of which epochs are made."""
        self._random = random
        self._topics_most = topics_most
        self._total_limit = total
        self._topics: dict[str, _Topic] = {}
        self._idle: dict[str, None] = {}
        """Topics without subscribers, in the order of their last use."""
        self.total = 0
        """Bytes of memory that all entries take."""

    def publish(self, topic: str, message: Payload) -> None:
        """Number a message, keep it, and tell the processes that have subscribers.

        Raises:
            TopicsFull: as `Broker.publish`.
        """
        found = self._topic(topic)
        if not found.readers:
            self._used(topic)
        found.last += 1
        size = sys.getsizeof(message) + ENTRY_OVERHEAD
        found.entries.append((message, size))
        found.size += size
        self.total += size - found.trim()
        if self.total > self._total_limit:
            self._shrink()
        for process in list(found.readers):
            process.news(topic, found.epoch, found.last, message)

    def subscribe(self, process: Process, topic: str, number: int, subscriber: Subscriber) -> Stretch:
        """Subscribe a session of a process; see `Broker.subscribe`.

        Raises:
            TopicsFull: as `Broker.subscribe`.
        """
        found = self._topic(topic)
        self._idle.pop(topic, None)
        found.readers.setdefault(process, {}).setdefault(number, subscriber)
        return Stretch(found.epoch, found.first, found.last, [])

    def unsubscribe(self, process: Process, topic: str, number: int) -> None:
        """Subscribe a session no more."""
        found = self._topics.get(topic)
        if found is not None and (numbers := found.readers.get(process)) is not None:
            numbers.pop(number, None)
            if not numbers:
                self._leave(process, topic, found)

    def gone(self, process: Process) -> None:
        """Forget all subscriptions of a process that has ended."""
        for topic, found in list(self._topics.items()):
            if process in found.readers:
                self._leave(process, topic, found)

    def read(self, topic: str, after: Position) -> Stretch:
        """Return the first entries after a position; see `Broker.read`."""
        found = self._topics.get(topic)
        if found is None:
            return Stretch(0, 1, 0, [])
        first = found.first
        start = max(first, after.offset + 1) if after.epoch == found.epoch else first
        entries: list[Entry] = []
        size = 0
        for offset, (message, taken) in enumerate(islice(found.entries, start - first, None), start):
            entries.append(Entry(offset, message))
            size += taken
            if size >= READ_LIMIT:
                break
        return Stretch(found.epoch, first, found.last, entries)

    def topics(self, prefix: str) -> list[str]:
        """Return the topics with subscribers; see `Broker.topics`."""
        return [topic for topic, found in self._topics.items() if found.readers and topic.startswith(prefix)]

    def present(self, topic: str) -> list[Subscriber]:
        """Return who is subscribed; see `Broker.present`."""
        found = self._topics.get(topic)
        everybody = [each for numbers in found.readers.values() for each in numbers.values()] if found else []
        return sorted(everybody, key=lambda each: each.since)

    # --- helpers ----------------------------------------------------------------------------------------------

    def _topic(self, topic: str) -> _Topic:
        """Return a topic, which is made if there is none; for a new one, one that nobody uses may be forgotten."""
        found = self._topics.get(topic)
        if found is None:
            if len(self._topics) >= self._topics_most:
                oldest = next(iter(self._idle), None)
                if oldest is None:
                    raise TopicsFull(problem=IN_ALL, most=self._topics_most)
                self._forget(oldest)
            epoch = int.from_bytes(self._random(7), "big") + 1
            found = self._topics[topic] = _Topic(epoch)
        return found

    def _used(self, topic: str) -> None:
        self._idle.pop(topic, None)
        self._idle[topic] = None

    def _leave(self, process: Process, topic: str, found: _Topic) -> None:
        del found.readers[process]
        if not found.readers:
            self._used(topic)  # also without entries: the subscriber may be on its way to another process

    def _forget(self, topic: str) -> None:
        self.total -= self._topics.pop(topic).size
        self._idle.pop(topic, None)

    def _shrink(self) -> None:
        """Halve the largest history until all keep the limit: it is the topic with the most that loses."""
        while self.total > self._total_limit:
            largest = max(self._topics.values(), key=lambda found: found.size)
            before = largest.size
            while largest.size > before // 2:
                largest.drop()
            self.total -= before - largest.size
