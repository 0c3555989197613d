"""The contract of a service: a function from a message to its answers, or an object that has session hooks too."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any, Protocol

from antiphon.language import Translate
from antiphon.topics import Subscriber

Answer = str | bytes | None
"""Text, bytes, or None for "no answer"."""

Reply = Answer | Awaitable[Answer] | AsyncIterator[str | bytes]
"""An answer at once, one answer later, or any number of answers, each sent when it comes."""

Handler = Callable[..., Reply] | object
"""A function that takes a message and returns its `Reply`, or an object whose method `received` does.

The first parameter is the message. Annotated `str`, it is text, and messages of bytes are refused (`text-only`);
annotated `bytes`, it is bytes, with text encoded as UTF-8; without annotation, it is what the client sent. A
parameter named `session` receives the `Session`.

An object may have two hooks, plain or `async`: the server calls `opened(session)` before the first message of a
session and `closed(session)` after the last. It calls both again, with a new `Session`, when a client resumes a
session that was closed because no connection held it or because a server stopped.

Two more hooks are plain functions for what is published to the topics of a session. `published(topic, message,
session)` returns what is pushed in place of the message, or None for nothing. `missed(topic, session)` is called
when messages of a topic are lost for a session, and returns what is pushed to say so, or None.

The messages of one session are handled one at a time and in order. Sessions are handled concurrently in one event
loop, so a plain function must return quickly. If the handler raises, the server logs the exception, the client
gets the error `service-failed`, and the session goes on. A coroutine or async generator is cancelled when the
client cancels the message, and when the next answer takes longer than `--service-seconds`.
"""


class ServiceServer(Protocol):
    """The server, as a service uses it (`Session.server`). With workers it stands for all of them."""

    async def publish(self, topic: str, message: str | bytes) -> None:
        """Publish a message to all sessions that are subscribed to a topic, each of which is pushed it.

        All of them get the messages of a topic in the same order. It returns when the broker has the message.

        Args:
            topic: its name, at most 200 bytes in UTF-8, without characters that cannot be printed.
            message: text or bytes, at most `--message-limit` bytes.

        Raises:
            TopicInvalid: `topic` cannot be a name.
            ValueError: `message` is larger.
            TopicsFull: the topic is new, and there are too many (10,000).
            TryLater: the broker does not answer; nobody knows whether it has taken the message.
        """

    async def send_to(self, account: int, message: str | bytes) -> None:
        """Push a message to all sessions of an account.

        Args:
            account: the number, as `Session.account`.
            message: as `Session.send`.

        Raises:
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


class Session(Protocol):
    """The session of one person, as a service uses it; it outlives a broken connection."""

    account: int
    """Number of the account, never reused for another, whatever happens to names. Below 0 where there is no
    account (`--access identify` and `anyone`); such a number does not identify a person."""
    name: str
    """Name to display; empty where clients give none (`--access anyone`)."""
    address: str
    """Address of the connection, or of the last one."""
    since: datetime
    """Time when the session was opened."""
    state: Any
    """For the service's own use; None at first."""
    translate: Translate
    """Translates a sentence into the person's language, if Antiphon's catalogue has it."""
    server: ServiceServer
    """The server of the session."""

    @property
    def server_stops(self) -> bool:
        """Whether the server, or this worker, stops: a session closed then can go on elsewhere."""

    def send(self, message: str | bytes) -> None:
        """Push a message that answers none; it never waits, so await `ready` before sending much.

        If the client does not read what is sent, its connection is cut when 256 KiB wait. In a session that is
        over, this does nothing.

        Args:
            message: text or bytes, at most `--message-limit` bytes.

        Raises:
            ValueError: `message` is larger.
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

    async def publish(self, topic: str, message: str | bytes) -> None:
        """Publish a message, as `ServiceServer.publish`; the session need not be subscribed."""
