"""Post: messages to all sessions of an account, and their ends, on the way to all processes of the server.

It is a topic of its own, which every process reads: so it has one order, and a session that is on its way from one
process to another gets afterwards what it has missed.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Protocol

import msgspec

from antiphon.server.home.fence import fence
from antiphon.server.tasks import BackgroundTasks
from antiphon.server.topics.contract import Broker, Position, Stretch
from antiphon.server.topics.subscription import Subscription
from antiphon.services import Session
from antiphon.topics import Subscriber
from antiphon.wire.frames import Payload

POST = "\1post"
"""Name of the topic; those of services hold no control character, and a database takes all but NUL."""


Between = tuple[Position, Position]
"""From where to where the post is still to be read."""


def between(since: Position, until: Position) -> Between | None:
    """Return what is to be read from one place to another; None if there is nothing, or nobody knows."""
    return (since, until) if since.epoch == until.epoch and since.offset < until.offset else None


class Letter(msgspec.Struct, array_like=True):
    """What all sessions of an account are to do."""

    account: int
    message: Any
    """Text or bytes to push; None to end the sessions."""
    reason: str = ""
    """Why they end."""


class Addressee(Protocol):
    """The channel of a session."""

    @property
    def shown(self) -> Session:
        """The session as user code sees it."""

    @property
    def reachable(self) -> bool:
        """Whether the service knows the session."""

    def takes_post(self, place: Position) -> bool:
        """Return whether it is to be given what comes at `place`; else it reads that by itself, or wants none."""


class Post:
    """The sessions of this process by account, and the post that comes for them (`subscription.Reader`)."""

    def __init__(self, broker: Broker, tasks: BackgroundTasks) -> None:
        """Know nobody; call `start` next."""
        self._broker = broker
        self._tasks = tasks
        self._addressees: dict[int, dict[Addressee, None]] = {}
        self._subscription: Subscription | None = None

    async def start(self, now: datetime) -> None:
        """Read the post from now on.

        Raises:
            TryLater: the broker does not answer.
        """
        self._subscription = Subscription(self._broker, self._tasks, self, POST, 0, Subscriber(0, "", now))
        await self._subscription.join()

    def news(self, epoch: int, offset: int, message: Payload | None) -> None:
        """Take what was published."""
        if self._subscription is not None:
            self._subscription.news(epoch, offset, message, None)

    @property
    def place(self) -> Position | None:
        """How far the post has been read."""
        return None if self._subscription is None else self._subscription.place

    def add(self, addressee: Addressee) -> None:
        """Deliver to a channel from now on."""
        self._addressees.setdefault(addressee.shown.account, {})[addressee] = None

    def remove(self, addressee: Addressee) -> None:
        """Deliver to a channel no more."""
        account = addressee.shown.account
        if (those := self._addressees.get(account)) is not None:
            those.pop(addressee, None)
            if not those:
                del self._addressees[account]

    def __iter__(self) -> Iterator[Addressee]:
        """Iterate over a copy, since channels end meanwhile."""
        return iter([each for those in self._addressees.values() for each in those])

    async def send(self, letter: Letter) -> None:
        """Send a letter; the errors are those of `Broker.publish`."""
        await self._broker.publish(POST, msgspec.msgpack.encode(letter))

    async def read(self, since: Position) -> Stretch:
        """Read the post after a place.

        Raises:
            TryLater: the broker does not answer.
        """
        return await self._broker.read(POST, since)

    @staticmethod
    def catch_up(addressee: Addressee, stretch: Stretch, until: Position) -> Between | None:
        """Deliver to a channel what was read up to a place; return what is still to be read."""
        for offset, message in stretch.entries:
            letter = _letter(message)
            if offset <= until.offset and letter.account == addressee.shown.account:
                _hand_over(letter, addressee)
        reached = stretch.entries[-1].offset if stretch.entries else until.offset
        return between(Position(stretch.epoch, reached), until)

    def go_on(self) -> None:
        """Deliver what has waited: the fence is open again."""
        if self._subscription is not None:
            self._subscription.go_on()

    # --- called by the subscription ---------------------------------------------------------------------------

    def takes(self, subscription: Subscription) -> bool:  # noqa: ARG002 - see `Reader`
        """Return whether the sessions are this process's own."""
        return fence.check()

    def deliver(self, subscription: Subscription, message: Payload, frame: bytes | None) -> None:  # noqa: ARG002
        """Hand a letter over to the sessions of its account."""
        letter, place = _letter(message), subscription.place
        assert place is not None
        for addressee in list(self._addressees.get(letter.account, ())):
            if addressee.takes_post(place):
                _hand_over(letter, addressee)

    def missed(self, subscription: Subscription, entries: int) -> None:
        """Do nothing: whether a letter for anybody was among them, nobody knows."""


def _letter(message: Payload) -> Letter:
    assert isinstance(message, bytes)
    return msgspec.msgpack.decode(message, type=Letter)


def _hand_over(letter: Letter, addressee: Addressee) -> None:
    if letter.message is None:
        addressee.shown.close(letter.reason)
    else:
        addressee.shown.send(letter.message)
