"""A chat service in memory: sessions without a server, and a clock that never waits.

For tests of the messages of a service; behaviour of connections is tested over sockets.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from antiphon.language import Translate, catalogue
from antiphon.services import Chat
from antiphon.testing import VirtualLoop


class Guest:
    """A session as the service sees it; `heard` holds its pushes."""

    def __init__(self, name: str, account: int, language: str = "en") -> None:
        """Create the session of a person."""
        self.account = account
        self.name = name
        self.address = "127.0.0.1"
        self.since = datetime.now(UTC)
        self.state: Any = None
        self.translate: Translate = catalogue(language).gettext
        self.server: Any = None
        self.heard: list[str] = []

    async def subscribe(self, topic: str, history: int = 0) -> None:
        """Implement `services.Session`."""
        raise AssertionError(topic)

    def unsubscribe(self, topic: str) -> None:
        """Implement `services.Session`."""
        raise AssertionError(topic)

    async def publish(self, topic: str, message: str | bytes) -> None:
        """Implement `services.Session`."""
        raise AssertionError(topic)

    def send(self, message: str | bytes) -> None:
        """Implement `services.Session`."""
        self.heard.append(str(message))

    async def ready(self) -> None:
        """Implement `services.Session`."""

    def close(self, reason: str = "") -> None:
        """Implement `services.Session`."""
        raise AssertionError(reason)

    def hears(self) -> list[str]:
        """Return the pushes since the last call."""
        heard, self.heard = self.heard, []
        return heard


class ChatRoom:
    """A chat and its members."""

    def __init__(self, chat: Chat | None = None) -> None:
        """Create a chat without members."""
        self.chat = chat or Chat()
        self._runner = asyncio.Runner(loop_factory=VirtualLoop)
        self._accounts: dict[str, int] = {}

    @property
    def now(self) -> float:
        """Seconds of the loop's time."""
        return self._runner.get_loop().time()

    def come(self, name: str, account: int | None = None, language: str = "en") -> Guest:
        """Open a session for `name`, with the account of that name unless `account` is given."""
        own = self._accounts.setdefault(name, len(self._accounts) + 1)
        guest = Guest(name, own if account is None else account, language)
        self.chat.opened(guest)
        return guest

    def go(self, guest: Guest) -> None:
        """Close a session."""
        self.chat.closed(guest)

    def say(self, guest: Guest, *messages: str) -> list[str]:
        """Send messages and return their answers."""

        async def collected() -> list[str]:
            said: list[AsyncIterator[str]] = [self.chat.received(message, guest) for message in messages]
            return [answer for each in said async for answer in each]

        return self._runner.run(collected())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()
