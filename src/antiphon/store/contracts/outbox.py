"""Contract of the outbox: what processes on many machines publish to topics, in one order, and who is subscribed.

Everything published has a number, and numbers are given in the order of commits: whoever has read one has read all
lower ones. Each topic also numbers its own messages from 1; `epoch` names one life of it.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from antiphon.topics import Subscriber

OUTBOX_KEPT = timedelta(days=1)
"""Time for which messages are kept; the newest ones of a topic, within its limits."""


class Kept(NamedTuple):
    """What is kept of a topic."""

    epoch: int
    first: int
    """Number of the oldest message that is kept; `last` + 1 if none is."""
    last: int
    """Number of the newest one that was published; 0 if none was."""


class Posted(NamedTuple):
    """A message of a topic."""

    topic: str
    epoch: int
    offset: int
    """Its number in the topic."""
    message: str | bytes | None
    """None if it is too large to be given along with others."""


class Present(NamedTuple):
    """A subscription of a topic."""

    process: str
    number: int
    subscriber: Subscriber


class Outbox(Protocol):
    """Topics of all processes of a database.

    Every method raises `TryLater` when the store cannot do its work.
    """

    topics_most: int
    """Topics that there may be. For a new one, that is forgotten which was not used for longest and has no
    subscribers."""

    async def publish(self, messages: list[tuple[str, str | bytes]], now: datetime) -> list[bool]:
        """Publish messages to topics, in one transaction and in this order.

        Returns:
            for each message whether it was taken; it is not if its topic is new and there are too many.
        """

    async def subscribe(self, process: str, topic: str, number: int, subscriber: Subscriber) -> Kept | None:
        """Subscribe a session; again, it changes nothing.

        Args:
            process: the session's home.
            topic: what to subscribe to; it is made if there is none.
            number: of the session, chosen by the process.
            subscriber: what others see of it.

        Returns:
            What is kept; None if the topic is new and there are too many.
        """

    async def unsubscribe(self, process: str, subscriptions: Iterable[tuple[str, int]]) -> None:
        """Subscribe sessions of a process no more, by topic and number; they need not be subscribed."""

    async def subscriptions(self, process: str) -> set[tuple[str, int]]:
        """Return topics and numbers of all subscriptions of a process."""

    async def count(self, process: str) -> int:
        """Return how many subscriptions a process has."""

    async def read(self, topic: str, epoch: int, offset: int, most: int) -> tuple[Kept | None, list[Posted]]:
        """Return what is kept of a topic, and the first messages after `offset`; of another epoch, from the first.

        As many as have `most` bytes together, and at least one unless there are none. None for no such topic.
        """

    async def news(self, process: str, after: int) -> tuple[int, list[Posted]]:
        """Return what was published after number `after` to topics that have subscribers in a process.

        Not everything at once: the number up to which it was read is returned with it.
        """

    async def ends(self, process: str) -> tuple[int, list[Posted]]:
        """Return the newest number, and the end of each topic with subscribers in a process, without message."""

    async def listen(self, heard: Callable[[], object]) -> None:
        """Call `heard` in this event loop soon after something was published, until cancelled.

        Only a hint, as `RevocationLog.listen`.
        """

    async def topics(self, prefix: str) -> list[tuple[str, str]]:
        """Return topics that begin with `prefix` and each process that has subscribers, the oldest topic first.

        Only processes that are in `Processes` count, here and in `present`.
        """

    async def present(self, topics: Collection[str]) -> dict[str, list[Present]]:
        """Return who is subscribed to topics, by topic and in the order of `since`; without those of nobody."""

    async def trim(self, now: datetime) -> None:
        """Forget what is kept for too long or beyond the limits, and subscribers whose process is gone."""
