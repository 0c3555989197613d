"""Contract of a broker: takes what is published, gives each topic one order, and keeps its newest entries.

A broker has one end in each process of a server. The messages of a topic are numbered from 1, in the order in
which the broker has taken them. Subscribers read from a `Position` on, and compare numbers: a hole between two is
either to be read, or, where the broker does not keep it any more, a gap.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from antiphon.topics import Subscriber
from antiphon.wire.frames import Payload

READ_LIMIT = 64 * 1024
"""Bytes of memory after which `Broker.read` returns no further entry."""

News = Callable[[str, int, int, Payload | None], None]
"""Takes what was published: topic, epoch, number, and the message; None if it must be read."""


class Position(NamedTuple):
    """A place in a topic."""

    epoch: int
    """Names one life of the topic: a broker that has forgotten a topic numbers its messages from 1 again."""
    offset: int
    """Number of the last message before the place."""


class Entry(NamedTuple):
    """A message of a topic."""

    offset: int
    """Its number."""
    message: Payload


class Stretch(NamedTuple):
    """Some entries of a topic, in order, and which ones the broker has."""

    epoch: int
    first: int
    """Number of the oldest entry that is kept; `last` + 1 if none is."""
    last: int
    """Number of the newest one that was published; 0 if none was."""
    entries: list[Entry]


class Broker(Protocol):
    """One process's end of a broker. Its sessions are known by numbers that the process chooses."""

    news: News
    """Called with what is published to topics that have subscribers here, in order. There may be holes, which
    `read` fills, and messages from before the subscription. What was published after the end that a `read` has
    returned comes after it, or while it is under way."""

    async def start(self) -> None:
        """Take part from now on.

        Raises:
            TryLater: the broker does not answer.
        """

    async def stop(self) -> None:
        """Take part no more."""

    async def publish(self, topic: str, message: Payload) -> None:
        """Publish a message; return when the broker has taken it.

        Raises:
            TopicsFull: the topic is new, and there are too many.
            TryLater: the broker does not answer; nobody knows whether it has taken the message.
        """

    async def subscribe(self, topic: str, number: int, subscriber: Subscriber) -> Stretch:
        """Subscribe the session `number` of this process; again, it changes nothing.

        Returns:
            What there is to read, without entries. `news` is called with all that is published after that.

        Raises:
            TopicsFull: as `publish`.
            TryLater: the broker does not answer.
        """

    def unsubscribe(self, topic: str, number: int) -> None:
        """Subscribe a session no more; it need not be subscribed."""

    async def read(self, topic: str, after: Position) -> Stretch:
        """Return the first entries after a position, at least one unless there are none.

        Raises:
            TryLater: the broker does not answer.
        """

    async def topics(self, prefix: str) -> list[str]:
        """Return the topics that have subscribers in any process and begin with `prefix`, the oldest first.

        Raises:
            TryLater: the broker does not answer.
        """

    async def present(self, topic: str) -> list[Subscriber]:
        """Return who is subscribed to a topic, in all processes, in the order of the subscriptions.

        Raises:
            TryLater: the broker does not answer.
        """
