"""Hub's end of one worker: answers what the worker asks, and tells it what is published."""

import socket
from collections import deque

from antiphon.errors import TopicsFull
from antiphon.server.topics.contract import Stretch
from antiphon.server.topics.hub import Hub
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
from antiphon.wire.frames import Payload

NEWS_LIMIT = 4 * 1024 * 1024
"""Bytes that wait for a worker after which it is told of news later, and reads them from the histories."""
ANSWERS_LIMIT = 4 * NEWS_LIMIT
"""Bytes that wait for a worker after which nothing more is answered to it, or read from it."""


class HubEnd:
    """One worker, as the hub of its supervisor sees it (`hub.Process`)."""

    def __init__(self, hub: Hub, end: socket.socket) -> None:
        """Listen to a worker at the other side of `end`, in the running event loop."""
        self._hub = hub
        self._behind: dict[str, tuple[int, int]] = {}
        """Topics of which the worker was not told something; the newest, with its epoch."""
        self._unanswered: deque[Message] = deque()
        """What was received and is answered when the worker takes what waits for it."""
        self._channel = Channel(end, self._received, self._lost)
        self._channel.drained = self._drained
        self._channel.start()

    def close(self) -> None:
        """Forget the subscriptions of a worker that has ended."""
        self._channel.close()
        self._lost()

    def news(self, topic: str, epoch: int, offset: int, message: Payload | None) -> None:
        """See `hub.Process`."""
        if self._behind or self._channel.waiting > NEWS_LIMIT:
            self._behind[topic] = epoch, offset
        else:
            self._channel.send(News(topic, epoch, offset, message))

    def _drained(self) -> None:
        behind, self._behind = self._behind, {}
        for topic, (epoch, offset) in behind.items():
            self._channel.send(News(topic, epoch, offset, None))
        self._go_on()
        if not self._unanswered:
            self._channel.start()

    def _received(self, message: Message, _: socket.socket | None) -> None:
        self._unanswered.append(message)
        self._go_on()
        if self._unanswered:
            self._channel.pause()

    def _go_on(self) -> None:
        while self._unanswered and self._channel.waiting <= ANSWERS_LIMIT:
            match message := self._unanswered.popleft():
                case Unsubscribe():
                    self._hub.unsubscribe(self, message.topic, message.number)
                case Publish() | Subscribe() | Read() | Who() | Which():
                    self._channel.send(self._answer(message))

    def _answer(self, asked: Publish | Subscribe | Read | Who | Which) -> Answer:
        hub, id = self._hub, asked.id
        try:
            match asked:
                case Publish():
                    hub.publish(asked.topic, asked.message)
                    return Answer(id)
                case Subscribe():
                    return _stretch(id, hub.subscribe(self, asked.topic, asked.number, asked.subscriber))
                case Read():
                    return _stretch(id, hub.read(asked.topic, asked.after))
                case Who():
                    return Answer(id, present=list(map(hub.present, asked.topics)))
                case Which():
                    return Answer(id, topics=hub.topics(asked.topic))
        except TopicsFull as error:
            return Answer(id, most=int(str(error.fields["most"])))

    def _lost(self) -> None:
        self._hub.gone(self)


def _stretch(id: int, stretch: Stretch) -> Answer:
    return Answer(id, stretch.epoch, stretch.first, stretch.last, list(stretch.entries))
