"""The session as user code sees it (`services.Session`)."""

from datetime import datetime
from typing import Any, Protocol

from antiphon.arguments import check_argument
from antiphon.language import Translate
from antiphon.services import ServiceServer
from antiphon.wire.values import payload_of


class Subscribing(Protocol):
    """The subscriptions of the channel, likewise."""

    @property
    def names(self) -> dict[str, str]:
        """See `services.Session.topics`."""

    async def subscribe(self, topic: str, history: int, info: str) -> None:
        """See `services.Session.subscribe`."""

    def unsubscribe(self, topic: str) -> None:
        """See `services.Session.unsubscribe`."""


class Sender(Protocol):
    """The channel, as the user code's view of a session uses it."""

    def push(self, message: str | bytes) -> None:
        """See `services.Session.send`."""

    async def ready(self) -> None:
        """See `services.Session.ready`."""

    def end(self, reason: str) -> None:
        """See `services.Session.close`."""

    @property
    def subscriptions(self) -> "Subscribing":
        """The topics of the session."""

    @property
    def server_stops(self) -> bool:
        """Whether the server is stopping."""


class ServiceSession:
    """See `services.Session`; the channel does what is asked, and sets what changes with the connection."""

    __slots__ = ("__weakref__", "_sender", "account", "address", "name", "server", "since", "state", "translate")

    def __init__(  # noqa: PLR0917 - they say what it shows
        self, sender: Sender, account: int, name: str, address: str, since: datetime, server: ServiceServer
    ) -> None:
        """Show a session of `server`, of `account`, called `name`, opened from `address` at the time `since`."""
        self._sender = sender
        self.account = account
        self.name = name
        self.address = address
        self.since = since
        self.server = server
        self.state: Any = None
        self.translate: Translate = str

    def send(self, message: object) -> None:
        """See `services.Session`."""
        self._sender.push(payload_of(message))

    async def ready(self) -> None:
        """See `services.Session`."""
        await self._sender.ready()

    def close(self, reason: str = "") -> None:
        """See `services.Session`."""
        check_argument("a reason", reason, str)
        self._sender.end(reason)

    @property
    def topics(self) -> dict[str, str]:
        """See `services.Session`."""
        return self._sender.subscriptions.names

    async def subscribe(self, topic: str, history: int = 0, info: str = "") -> None:
        """See `services.Session`."""
        await self._sender.subscriptions.subscribe(topic, history, info)

    def unsubscribe(self, topic: str) -> None:
        """See `services.Session`."""
        self._sender.subscriptions.unsubscribe(topic)

    async def publish(self, topic: str, message: object) -> None:
        """See `services.Session`."""
        await self.server.publish(topic, message)

    @property
    def server_stops(self) -> bool:
        """Whether the server is stopping; for `exec:` only."""
        return self._sender.server_stops
