"""A service and people in it, in memory: sessions without a server, and a clock that waits for nobody.

For what a service says to whom; what has to do with connections is tested over sockets.
"""

import asyncio
import selectors
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from antiphon.language import Translate, catalogue
from antiphon.services import Chat


class Guest:
    """A session as the service sees it; what is pushed to it is in `heard`."""

    def __init__(self, name: str, account: int, language: str = "en") -> None:
        """Be somebody."""
        self.account = account
        self.name = name
        self.address = "127.0.0.1"
        self.since = datetime.now(UTC)
        self.state: Any = None
        self.translate: Translate = catalogue(language).gettext
        self.heard: list[str] = []

    def send(self, message: str | bytes) -> None:
        """See `services.Session`."""
        self.heard.append(str(message))

    async def ready(self) -> None:
        """See `services.Session`."""

    def close(self, reason: str = "") -> None:
        """See `services.Session`."""
        raise AssertionError(reason)

    def hears(self) -> list[str]:
        """Return what was pushed since the last time."""
        heard, self.heard = self.heard, []
        return heard


class _Clock(selectors.DefaultSelector):
    """Where a loop would wait, its time goes on at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


class Hall:
    """A chat, and who is in it."""

    def __init__(self, chat: Chat | None = None) -> None:
        """Begin with nobody."""
        self.chat = chat or Chat()
        self._clock = _Clock()
        self._runner = asyncio.Runner(loop_factory=self._loop)
        self._accounts: dict[str, int] = {}

    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.SelectorEventLoop(self._clock)
        loop.time = lambda: self._clock.now  # type: ignore[method-assign]
        return loop

    @property
    def now(self) -> float:
        """Seconds that would have passed."""
        return self._clock.now

    def come(self, name: str, account: int | None = None, language: str = "en") -> Guest:
        """Let somebody in, who has the account of that name unless told otherwise."""
        own = self._accounts.setdefault(name, len(self._accounts) + 1)
        guest = Guest(name, own if account is None else account, language)
        self.chat.opened(guest)
        return guest

    def go(self, guest: Guest) -> None:
        """Let somebody go."""
        self.chat.closed(guest)

    def say(self, guest: Guest, *messages: str) -> list[str]:
        """Return the answers to what somebody says."""

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
