"""The contract of a service: a function from a message to its answers, or an object that has session hooks too."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from antiphon.language import Translate
from antiphon.topics import Subscriber

if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar

    State = DefaultTypeVar("State", default=Any)
else:
    State = TypeVar("State")  # the default is for type checkers: `Session` alone is `Session[Any]`
Result = TypeVar("Result")

Answer = str | bytes | Any | None
"""Text, bytes, any other value, which is sent as JSON, or None for "no answer"."""

Reply = Answer | Awaitable[Answer] | AsyncIterator[Any]
"""An answer at once, one answer later, or any number of answers, each sent when it comes."""

Handler = Callable[..., Reply] | object
"""A function that takes a message and returns its `Reply`, or an object whose method `received` does.

The first parameter is the message. Annotated `str`, it is text, and messages of bytes are refused (`text-only`);
annotated `bytes`, it is bytes, with text encoded as UTF-8; without annotation, it is what the client sent.
Annotated with any other type that msgspec decodes from JSON, it is a value of that type, and a message that does
not fit is refused (`message-invalid`). A parameter named `session` receives the `Session`.

An object may have two hooks, plain or `async`: the server calls `opened(session)` before the first message of a
session and `closed(session)` after the last. It calls both again, with a new `Session`, when a client resumes a
session that was closed because no connection held it or because a server stopped.

It may have two more, called once in each worker: `started(server)` before the first connection, and
`stopping(server)` after the last handler. A function has `Lifespan` for that.

Two more hooks are plain functions for what is published to the topics of a session. `published(topic, message,
session)` returns what is pushed in place of the message, or None for nothing. `missed(topic, session)` is called
when messages of a topic are lost for a session, and returns what is pushed to say so, or None.

The messages of one session are handled one at a time and in order. Sessions are handled concurrently in one event
loop, so a plain function must return quickly. If the handler raises, the server logs the exception, the client
gets the error `service-failed`, and the session goes on. A coroutine or async generator is cancelled when the
client cancels the message, and when the next answer takes longer than `--service-seconds`.
"""


Lifespan = Callable[[Any], AbstractAsyncContextManager[object]]
"""A function of the server that returns an async context manager.

The server enters it before the first connection and leaves it after the last handler, in the same task.
`contextlib.asynccontextmanager` makes one of an async generator function with one `yield`.
"""


class ServiceServer(Protocol[State]):
    """The server, as a service uses it (`Session.server`).

    Its topics are those of all workers; `state`, `start_task` and `sessions` are of this process.
    """

    state: State
    """For the service's own use, shared by all sessions of this process; None at first."""

    def start_task(self, work: Coroutine[Any, Any, Result], *, name: str | None = None) -> "asyncio.Task[Result]":
        """Run a coroutine beside the sessions until it ends or the server stops.

        A server that stops cancels it after the last handler, and waits for its end before it calls `stopping`, in
        the drain time. What it raises is logged (`task-failed`), and ends nothing else.

        Args:
            work: the coroutine.
            name: of the task, for the log; by default the coroutine's.

        Raises:
            TypeError: `work` is no coroutine.
            RuntimeError: the server has not begun to start the service, or has stopped it.
        """

    async def publish(self, topic: str, message: object) -> None:
        """Publish a message to all sessions that are subscribed to a topic, each of which is pushed it.

        All of them get the messages of a topic in the same order. It returns when the broker has the message.

        Args:
            topic: its name, at most 200 bytes in UTF-8, without characters that cannot be printed.
            message: text, bytes, or a value that is sent as JSON; at most `--message-limit` bytes.

        Raises:
            TopicInvalid: `topic` cannot be a name.
            TypeError: JSON cannot hold `message`.
            ValueError: it is larger.
            TopicsFull: the topic is new, and there are too many (10,000).
            TryLater: the broker does not answer; nobody knows whether it has taken the message.
        """

    async def send_to(self, account: int, message: object) -> None:
        """Push a message to all sessions of an account.

        Args:
            account: the number, as `Session.account`.
            message: as `Session.send`.

        Raises:
            TypeError: `account` is no number, or JSON cannot hold `message`.
            ValueError, TryLater: as `publish`.
        """

    async def present(self, topic: str) -> list[Subscriber]:
        """Return who is subscribed to a topic: an entry for each session, in the order of the subscriptions.

        Raises:
            TopicInvalid, TryLater: as `publish`.
        """

    async def topics(self, prefix: str = "") -> list[str]:
        """Return the topics that have subscribers and whose names begin with `prefix`.

        Raises:
            TryLater: as `publish`.
        """

    def sessions(self) -> "list[Session]":
        """Return the sessions whose home is this process; with workers each has its own."""

    async def disconnect(self, whom: "Session | int", reason: str = "") -> None:
        """End a session of this process, or all sessions of an account wherever they are.

        Args:
            whom: the session, or the number of the account.
            reason: a sentence for the person, shown unchanged.

        Raises:
            TryLater: as `publish`.
        """


class Session(Protocol[State]):
    """The session of one person, as a service uses it; it outlives a broken connection.

    `Session[Cart]` says to type checkers that its `state` is a `Cart`.
    """

    account: int
    """Number of the account, never reused for another, whatever happens to names. Below 0 where there is no
    account (`--access identify` and `anyone`); such a number does not identify a person."""
    name: str
    """Name to display; empty where clients give none (`--access anyone`)."""
    address: str
    """Address of the connection, or of the last one."""
    since: datetime
    """Time when the session was opened."""
    state: State
    """For the service's own use; None at first."""
    translate: Translate
    """Translates a sentence into the person's language, if Antiphon's catalogue has it."""

    @property
    def server(self) -> ServiceServer[Any]:
        """The server; `antiphon.Server`, in `antiphon.testing` what stands in for it."""

    @property
    def server_stops(self) -> bool:
        """Whether the server, or this worker, stops: a session closed then can go on elsewhere."""

    def send(self, message: object) -> None:
        """Push a message that answers none; it never waits, so await `ready` before sending much.

        If the client does not read what is sent, its connection is cut when 256 KiB wait. In a session that is
        over, this does nothing.

        Args:
            message: text, bytes, or a value that is sent as JSON; at most `--message-limit` bytes.

        Raises:
            TypeError: `message` is None, or JSON cannot hold it.
            ValueError: it is larger.
        """

    async def ready(self) -> None:
        """Wait until the client has read enough for more to be sent."""

    def close(self, reason: str = "") -> None:
        """End the session.

        Args:
            reason: a sentence for the person, shown unchanged.
        """

    @property
    def topics(self) -> dict[str, str]:
        """The topics that this session is subscribed to, in order, each with its `info`.

        In `opened` they are those that the session has brought from another process, or from before a pause.
        """

    async def subscribe(self, topic: str, history: int = 0, info: str = "") -> None:
        """Have pushed to this session what is published to a topic from now on; again, it changes nothing.

        The subscription outlives connections and servers, until `unsubscribe` or the end of the session. It
        returns when `history` is delivered, or waits for a client that takes it.

        Args:
            topic: as `ServiceServer.publish`.
            history: how many of the messages published before are pushed too, at most; up to 1000 are kept.
            info: what `ServiceServer.present` shows of this subscription, at most 400 bytes in UTF-8.

        Raises:
            ValueError: `info` is too long.
            TopicInvalid: `topic` cannot be a name.
            TopicsFull: the session is subscribed to 100 topics, or the topic is new, and there are too many.
            TryLater: the broker does not answer.
        """

    def unsubscribe(self, topic: str) -> None:
        """End a subscription, if there is one."""

    async def publish(self, topic: str, message: object) -> None:
        """Publish a message, as `ServiceServer.publish`; the session need not be subscribed."""
