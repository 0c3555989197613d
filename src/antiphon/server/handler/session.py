"""The session as user code sees it (`services.Session`)."""

from datetime import datetime
from typing import Any, Protocol

from antiphon.language import Translate
from antiphon.services import Server
from antiphon.wire.values import payload_of


class Sender(Protocol):
    """The channel, as the user code's view of a session uses it."""

    def push(self, message: str | bytes) -> None:
        """See `services.Session.send`."""

    async def ready(self) -> None:
        """See `services.Session.ready`."""

    def end(self, reason: str) -> None:
        """See `services.Session.close`."""

    @property
    def server_stops(self) -> bool:
        """Whether the server is stopping."""

    @property
    def server(self) -> Server:
        """See `services.Session.server`."""


class ServiceSession:
    """See `services.Session`; the channel does what is asked, and sets what changes with the connection."""

    __slots__ = ("__weakref__", "_sender", "account", "address", "name", "since", "state", "translate")

    def __init__(self, sender: Sender, account: int, name: str, address: str, since: datetime) -> None:
        """Show a session of `account`, called `name`, opened from `address` at the time `since`."""
        self._sender = sender
        self.account = account
        self.name = name
        self.address = address
        self.since = since
        self.state: Any = None
        self.translate: Translate = str

    @property
    def server(self) -> Server:
        """See `services.Session`."""
        return self._sender.server

    def send(self, message: object) -> None:
        """See `services.Session`."""
        self._sender.push(payload_of(message))

    async def ready(self) -> None:
        """See `services.Session`."""
        await self._sender.ready()

    def close(self, reason: str = "") -> None:
        """See `services.Session`."""
        self._sender.end(reason)

    @property
    def server_stops(self) -> bool:
        """Whether the server is stopping; for `exec:` only."""
        return self._sender.server_stops
