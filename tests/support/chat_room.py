"""A chat service in memory: sessions without a server but with its topics, and a clock that never waits.

For tests of the messages of a service; behaviour of connections is tested over sockets.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace, TracebackType
from typing import Any, Self, TypeVar

from antiphon.language import catalogue
from antiphon.server.handler.environment import HandlerEnvironment
from antiphon.server.handler.session import ServiceSession
from antiphon.server.session.subscriptions import Subscriptions
from antiphon.server.tasks import BackgroundTasks
from antiphon.server.topics.memory import MemoryBroker
from antiphon.server.topics.topics import Topics
from antiphon.services import Chat, as_service
from antiphon.testing import VirtualLoop

Result = TypeVar("Result")
BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Guest:
    """A session whose client takes everything at once (`Publishing`, `Sender`); `heard` holds its pushes."""

    over = False
    takes_published = True

    def __init__(
        self, environment: HandlerEnvironment, name: str, account: int, language: str, since: datetime
    ) -> None:
        """Create the session of a person."""
        self.heard: list[str] = []
        self.server_stops = False
        self.lifecycle: Any = SimpleNamespace(opened=True, opening=False)
        self.runner: Any = None
        self.shown = ServiceSession(self, account, name, "127.0.0.1", since, environment.server)
        self.shown.translate = catalogue(language).gettext
        self.subscriptions = Subscriptions(environment, self)

    def push(self, message: str | bytes) -> None:
        """See `Sender`."""
        self.heard.append(str(message))

    def encoded(self, message: object) -> bytes:
        """See `Publishing`."""
        raise AssertionError(message)

    def push_frame(self, frame: bytes) -> None:
        """See `Publishing`."""
        raise AssertionError(frame)  # the chat sends all that is published by itself

    def miss(self) -> None:
        """See `Publishing`."""
        raise AssertionError("nothing is ever missed here")

    async def ready(self) -> None:
        """See `Sender`."""

    def end(self, reason: str) -> None:
        """See `Sender`."""
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
        self._came = 0
        self._tasks = BackgroundTasks()
        self._environment: Any = None

    @property
    def now(self) -> float:
        """Seconds of the loop's time."""
        return self._runner.get_loop().time()

    def come(self, name: str, account: int | None = None, language: str = "en") -> Guest:
        """Open a session for `name`, with the account of that name unless `account` is given."""
        own = self._accounts.setdefault(name, len(self._accounts) + 1)
        self._came += 1
        since = BEGAN + timedelta(seconds=self._came)

        async def opened() -> Guest:
            guest = Guest(await self._served(), name, own if account is None else account, language, since)
            await self.chat.opened(guest.shown)
            return guest

        return self._run(opened())

    async def _served(self) -> Any:
        """Return what the sessions share, which is made in the event loop."""
        if self._environment is None:
            topics = Topics(MemoryBroker(), self._tasks, 1024 * 1024, lambda: BEGAN)
            await topics.start()
            self._environment = SimpleNamespace(service=as_service(self.chat), topics=topics, server=topics)
        return self._environment

    def go(self, guest: Guest) -> None:
        """Close a session."""

        self._run(self._closed(guest))

    async def _closed(self, guest: Guest) -> None:
        guest.over = True
        guest.subscriptions.close()
        await self.chat.closed(guest.shown)

    def move(self, guest: Guest, *, says: Callable[[], object] | None = None, stops: bool = True) -> Guest:
        """Close a session and open it again elsewhere; `says` is called meanwhile.

        The process from which it moves `stops`, or else gives the session up, which has no connection.
        """
        guest.server_stops = stops
        self._run(self._closed(guest))
        kept = guest.subscriptions.dump()
        if says is not None:
            says()

        async def opened() -> Guest:
            shown = guest.shown
            moved = Guest(await self._served(), shown.name, shown.account, "en", shown.since)
            moved.subscriptions.restore(kept)
            await moved.subscriptions.prepare()
            moved.lifecycle.opening = True
            await self.chat.opened(moved.shown)
            moved.lifecycle.opening = False
            moved.subscriptions.go_on()
            return moved

        return self._run(opened())

    def say(self, guest: Guest, *messages: str) -> list[str]:
        """Send messages and return their answers."""

        async def collected() -> list[str]:
            said: list[AsyncIterator[str]] = [self.chat.received(message, guest.shown) for message in messages]
            return [answer for each in said async for answer in each]

        return self._run(collected())

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something, and wait until everybody has heard of it."""

        async def done() -> Result:
            result = await work
            while list(self._tasks):
                await asyncio.sleep(0)
            return result

        return self._runner.run(done())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()
