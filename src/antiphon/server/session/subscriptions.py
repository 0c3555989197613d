"""Subscriptions of one session: what is published to its topics becomes pushes, and a gap is told."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import msgspec

from antiphon.arguments import check_argument
from antiphon.errors import Problem, TopicsFull
from antiphon.language import N_
from antiphon.observe.repeats import place_of
from antiphon.server.handler.environment import HandlerEnvironment
from antiphon.server.handler.guard import call
from antiphon.server.handler.lifecycle import Lifecycle
from antiphon.server.handler.runner import HandlerRunner
from antiphon.server.handler.session import ServiceSession
from antiphon.server.topics.contract import Position
from antiphon.server.topics.post import Between, between
from antiphon.server.topics.subscription import Subscription
from antiphon.topics import check_info, check_topic
from antiphon.wire.conversation import ServerConversation
from antiphon.wire.frames import Payload

TOPICS_OF_SESSION = 100
"""Topics that one session can be subscribed to."""
MISSED_MOST = 2**31
"""The most entries that count as missed: beyond that the number tells nobody more."""

_OF_SESSION = Problem(N_("this session is subscribed to {most}"))


class KeptSubscription(msgspec.Struct, array_like=True):
    """A subscription in a snapshot."""

    topic: str
    place: Position
    since: datetime
    untold: bool
    """whether the service is still to be told of a gap"""
    info: str = ""


class KeptTopics(msgspec.Struct, array_like=True):
    """The subscriptions of a session in a snapshot."""

    subscriptions: list[KeptSubscription]
    missed: int
    """entries of which the client is still to be told that it misses them"""
    post: Position | None
    """how far the post for the account has been read"""


class Publishing(Protocol):
    """The channel of the session."""

    shown: ServiceSession
    runner: HandlerRunner
    lifecycle: Lifecycle
    over: bool

    @property
    def takes_published(self) -> bool:
        """Whether a client is there that takes what is sent to it, and no frame is pushed out for it."""

    def encoded(self, message: object) -> bytes:
        """Return the frame that pushes a message.

        Raises:
            ValueError: the message is too large.
        """

    def push_frame(self, frame: bytes) -> None:
        """Push a frame. Precondition: `takes_published`."""

    def miss(self) -> None:
        """Have a client that is there resume, because it misses something."""


class Subscriptions:
    """The topics of one session (`subscription.Reader`), and the post for its account (`post.Addressee`).

    While no client is there, or it does not take what is sent to it, they stand still: what is published waits in
    the topic's history, once for all, and not in the session's replay buffer.
    """

    __slots__ = ("_all", "_channel", "_closed_at", "_environment", "_missed", "_moved", "_post")

    def __init__(self, environment: HandlerEnvironment, channel: Publishing) -> None:
        """Begin without any."""
        self._environment = environment
        self._channel = channel
        self._all: dict[str, Subscription] = {}
        self._missed = 0
        self._post: Between | None = None
        """The post that came between two channels of the session, as far as it was not delivered."""
        self._closed_at: Position | None = None
        """How far the post was read when the channel has ended."""
        self._moved = False
        """Whether the service has known the session in a channel before."""
        environment.topics.post.add(self)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._all)

    # --- what the service may do ------------------------------------------------------------------------------

    @property
    def names(self) -> dict[str, str]:
        """See `services.Session.topics`."""
        return {topic: each.subscriber.info for topic, each in self._all.items()}

    async def subscribe(self, topic: str, history: int, info: str) -> None:
        """See `services.Session.subscribe`."""
        check_topic(topic)
        check_info(info)
        check_argument("history", history, int)
        if self._channel.over:
            return
        found = self._all.get(topic)
        if found is None:
            if len(self._all) >= TOPICS_OF_SESSION:
                raise TopicsFull(problem=_OF_SESSION, most=TOPICS_OF_SESSION)
            found = self._all[topic] = self._environment.topics.subscription(self, self.shown, topic, info=info)
        found.asked = True
        if found.place is None:
            try:
                await found.join(max(0, history))
            except BaseException:
                self._end(found)
                raise
        await found.caught_up()

    def unsubscribe(self, topic: str) -> None:
        """See `services.Session.unsubscribe`."""
        if (found := self._all.get(topic)) is not None:
            self._end(found)

    def _end(self, subscription: Subscription) -> None:
        if self._all.get(subscription.topic) is subscription:
            del self._all[subscription.topic]
        self._environment.topics.leave(subscription)

    # --- what the channel does --------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Look what has been missed, before a client resumes.

        Raises:
            TryLater: the broker does not answer.
        """
        post = self._environment.topics.post
        while self._post is not None:
            since = self._post[0]
            stretch = await post.read(since)
            if self._post is not None and self._post[0] == since:  # else another resume has delivered it meanwhile
                self._post = post.catch_up(self, stretch, self._post[1])
        for each in list(self._all.values()):
            if each.behind and each.place is not None:
                try:
                    await each.join()
                except TopicsFull:  # it was forgotten, and there is no room for it
                    self._end(each)
                    self.missed(each, 1)

    def take_missed(self) -> int:
        """Return how many entries are missed, of which the client is told now."""
        missed, self._missed = self._missed, 0
        return missed

    def lost(self) -> None:
        """Have the service told that pushes may be lost: frames were dropped, or nobody knows which have come."""
        for each in self._all.values():
            each.untold = self._environment.service.missed is not None

    def go_on(self) -> None:
        """Deliver what has waited: a client is there and takes it, or `opened` has returned."""
        for each in list(self._all.values()):
            self._tell(each)
            each.go_on()

    def close(self) -> None:
        """End them all: the channel ends. `dump` may follow."""
        self._closed_at = self._read_until
        self._environment.topics.post.remove(self)
        for each in self._all.values():
            self._environment.topics.leave(each)

    def dump(self) -> KeptTopics:
        """Return them for the next channel of the session."""
        kept = [
            KeptSubscription(each.topic, each.place, each.subscriber.since, each.untold, each.subscriber.info)
            for each in self._all.values()
            if each.place is not None
        ]
        return KeptTopics(kept, self._missed, self._closed_at or self._read_until)

    def restore(self, kept: KeptTopics) -> None:
        """Take up those of a channel before; call `prepare` next."""
        topics = self._environment.topics
        self._missed, self._moved = kept.missed, True
        for each in kept.subscriptions:
            found = topics.subscription(
                self, self.shown, each.topic, info=each.info, since=each.since, place=each.place
            )
            found.untold = each.untold
            self._all[each.topic] = found
        if kept.post is not None and topics.post.place is not None:
            self._post = between(kept.post, topics.post.place)

    @property
    def _read_until(self) -> Position | None:
        return self._environment.topics.post.place if self._post is None else self._post[0]

    # --- called by the post -----------------------------------------------------------------------------------

    @property
    def shown(self) -> ServiceSession:
        """See `Addressee`."""
        return self._channel.shown

    @property
    def reachable(self) -> bool:
        """See `Addressee`."""
        return self._channel.lifecycle.opened and not self._channel.over

    def takes_post(self, place: Position) -> bool:
        """See `Addressee`."""
        if self._post is not None:  # in order
            self._post = self._post[0], place
            return False
        return self.reachable or (self._moved and not self._channel.over)

    # --- called by the subscriptions --------------------------------------------------------------------------

    def takes(self, subscription: Subscription) -> bool:
        """Return whether something may be pushed; what the service has not asked for waits for `opened`."""
        lifecycle = self._channel.lifecycle
        ready = subscription.asked or (lifecycle.opened and not lifecycle.opening)
        return ready and self._channel.takes_published

    def deliver(self, subscription: Subscription, message: Payload, frame: bytes | None) -> None:
        """Push an entry, or what the service makes of it."""
        self._tell(subscription)
        hook = self._environment.service.published
        if hook is None:
            self._channel.push_frame(frame or ServerConversation.push(message))
        else:
            self._push_what(hook, subscription.topic, message, self.shown)

    def missed(self, subscription: Subscription, entries: int) -> None:
        """Tell the service of a gap, as soon as something may be pushed; without a hook tell the client."""
        if self._environment.service.missed is None:
            self._missed = min(self._missed + entries, MISSED_MOST)
            self._channel.miss()
        else:
            subscription.untold = True
            self._tell(subscription)

    def _tell(self, subscription: Subscription) -> None:
        hook = self._environment.service.missed
        if subscription.untold and hook is not None and self.takes(subscription):
            subscription.untold = False
            self._push_what(hook, subscription.topic, self.shown)

    def _push_what(self, hook: Callable[..., object], *arguments: object) -> None:
        """Push what a hook of the service returns."""
        try:
            message = call(hook, *arguments)
            if message is not None:
                self._channel.push_frame(self._channel.encoded(message))
        except Exception as error:  # noqa: BLE001 - the service's own
            name, address = self.shown.name, self.shown.address
            self._channel.runner.repeats.error(
                "service-failed", place_of(error), name=name, address=address, exception=error
            )
