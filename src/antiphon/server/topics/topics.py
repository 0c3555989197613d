"""Topics of a server, as its sessions and its service use them; one object in each process."""

from collections.abc import Callable
from datetime import datetime
from itertools import count

from antiphon.arguments import check_argument
from antiphon.server.tasks import BackgroundTasks
from antiphon.server.topics.contract import Broker, Position
from antiphon.server.topics.post import POST, Letter, Post
from antiphon.server.topics.subscription import Reader, Subscription
from antiphon.services import Session
from antiphon.topics import Subscriber, check_topic
from antiphon.wire.conversation import ServerConversation
from antiphon.wire.frames import HEADER_SIZE, Payload
from antiphon.wire.values import payload_of


class Topics:
    """What is published, and the subscriptions of this process (`services.ServiceServer`)."""

    def __init__(
        self, broker: Broker, tasks: BackgroundTasks, message_limit: int, clock: Callable[[], datetime]
    ) -> None:
        """Use this process's end of a broker; call `start` next.

        Args:
            broker: the end; its news are taken from now on.
            tasks: where subscriptions read.
            message_limit: the largest message in bytes.
            clock: wall time in UTC.
        """
        self._broker = broker
        self._tasks = tasks
        self._message_limit = message_limit
        self._clock = clock
        self._subscriptions: dict[str, dict[Subscription, None]] = {}
        self._numbers = count(1)
        self.post = Post(broker, tasks)
        """Reaches the sessions of an account."""
        broker.news = self._news

    async def start(self) -> None:
        """Take part from now on.

        Raises:
            TryLater: the broker does not answer.
        """
        await self._broker.start()
        await self.post.start(self._clock())

    async def stop(self) -> None:
        """Take part no more."""
        await self._broker.stop()

    # --- what a service may do (`services.ServiceServer`) -----------------------------------------------------

    async def publish(self, topic: str, message: object) -> None:
        """See `ServiceServer`."""
        check_topic(topic)
        await self._broker.publish(topic, self._payload(message))

    async def present(self, topic: str) -> list[Subscriber]:
        """See `ServiceServer`."""
        check_topic(topic)
        return await self._broker.present(topic)

    async def topics(self, prefix: str = "") -> list[str]:
        """See `ServiceServer`."""
        check_argument("the beginning of a topic", prefix, str)
        if not prefix.isprintable():  # no topic of a service begins so, and not every broker could look for it
            return []
        return [topic for topic in await self._broker.topics(prefix) if topic != POST]

    async def send_to(self, account: int, message: object) -> None:
        """See `ServiceServer`."""
        check_argument("the number of an account (Session.account)", account, int)
        await self.post.send(Letter(account, self._payload(message)))

    async def disconnect(self, whom: Session | int, reason: str = "") -> None:
        """See `ServiceServer`."""
        check_argument("a reason", reason, str)
        if not hasattr(whom, "close"):
            check_argument("who is disconnected, a session or the number of an account,", whom, int)
        if isinstance(whom, int):
            await self.post.send(Letter(whom, None, reason))
        else:
            whom.close(reason)

    def sessions(self) -> list[Session]:
        """See `ServiceServer`."""
        return [each.shown for each in self.post if each.reachable]

    def _payload(self, message: object) -> Payload:
        """Return what clients are sent of a message.

        Raises:
            TypeError: JSON cannot hold it.
            ValueError: it is too large, or text that UTF-8 cannot encode.
        """
        payload = payload_of(message)
        if len(ServerConversation.push(payload)) > self._message_limit + HEADER_SIZE:
            raise ValueError("a message of more than --message-limit bytes cannot be published")
        return payload

    # --- subscriptions ----------------------------------------------------------------------------------------

    def subscription(
        self,
        reader: Reader,
        session: Session,
        topic: str,
        *,
        info: str,
        since: datetime | None = None,
        place: Position | None = None,
    ) -> Subscription:
        """Return a new subscription of a session; call its `join` next, and `leave` at its end.

        `info` is what `present` shows of it; `since` and `place` are those of the same subscription in the
        session's channel before.
        """
        who = Subscriber(session.account, session.name, since or self._clock(), info)
        subscription = Subscription(self._broker, self._tasks, reader, topic, next(self._numbers), who, place)
        self._subscriptions.setdefault(topic, {})[subscription] = None
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """End a subscription."""
        topic = subscription.topic
        if (those := self._subscriptions.get(topic)) is not None:
            those.pop(subscription, None)
            if not those:
                del self._subscriptions[topic]
        subscription.leave()

    def _news(self, topic: str, epoch: int, offset: int, message: Payload | None) -> None:
        if topic == POST:
            self.post.news(epoch, offset, message)
        subscriptions = self._subscriptions.get(topic)
        if subscriptions is not None:
            frame = None if message is None else ServerConversation.push(message)  # once for all
            for subscription in list(subscriptions):
                subscription.news(epoch, offset, message, frame)
