"""Broker in memory: for a server of one process."""

import asyncio
import os

from antiphon.server.topics.contract import News, Position, Stretch
from antiphon.server.topics.hub import Hub
from antiphon.topics import Subscriber
from antiphon.wire.frames import Payload


class MemoryBroker:
    """The only end of a hub in the same process (`contract.Broker`)."""

    news: News

    def __init__(self, hub: Hub | None = None) -> None:
        """Be an end of `hub`; by default of one of its own."""
        self._hub = hub or Hub(os.urandom)

    async def start(self) -> None:
        """See `Broker`: it takes part already."""

    async def stop(self) -> None:
        """See `Broker`: it ends with its process."""

    async def publish(self, topic: str, message: Payload) -> None:
        """See `Broker`."""
        self._hub.publish(topic, message)
        await asyncio.sleep(0)  # who publishes without end lets the others run

    async def subscribe(self, topic: str, number: int, subscriber: Subscriber) -> Stretch:
        """See `Broker`."""
        return self._hub.subscribe(self, topic, number, subscriber)

    def unsubscribe(self, topic: str, number: int) -> None:
        """See `Broker`."""
        self._hub.unsubscribe(self, topic, number)

    async def read(self, topic: str, after: Position) -> Stretch:
        """See `Broker`."""
        await asyncio.sleep(0)  # likewise, who has much to read
        return self._hub.read(topic, after)

    async def topics(self, prefix: str) -> list[str]:
        """See `Broker`."""
        return self._hub.topics(prefix)

    async def present(self, topic: str) -> list[Subscriber]:
        """See `Broker`."""
        return self._hub.present(topic)
