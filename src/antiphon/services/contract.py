"""What a service is: a function from a message to its answers, or an object that sees sessions come and go too."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any, Protocol

from antiphon.language import Translate

Answer = str | bytes | None
"""Text, bytes, or None for "no answer"."""

Reply = Answer | Awaitable[Answer] | AsyncIterator[str | bytes]
"""An answer at once, an answer later, or any number of them, sent as they come."""

Handler = Callable[..., Reply] | object
"""Takes a message and gives its `Reply`, or is an object whose method `received` does.

The message is the first parameter: annotated `str`, the service is given text only, and other messages are
refused; annotated `bytes`, it is given the UTF-8 of text; else what was sent. A parameter named `session` is
given the `Session`. Such an object may have `opened(session)` and `closed(session)`, plain or `async`: one comes
before the first message of a session, the other after the last. They come again, with a new `Session`, where a
session is taken up that was closed because no connection held it, or because a server stopped.

The messages of one session come one at a time and in order; sessions go on side by side, so a plain function must
return at once. What it raises reaches the log, and the asker as the generic error `service-failed`; the session
goes on. It is cancelled when the asker takes the message back, and when the next answer takes too long.
"""


class Session(Protocol):
    """One person's session, as a service sees it; it outlives a connection that breaks."""

    account: int
    """the number of the account, never another's, whatever happens to names; below 0 where there is no account
    (`--access identify` and `anyone`), and then it is no person's"""
    name: str
    """the name, for display; empty where nobody was asked for one (`--access anyone`)"""
    address: str
    """of the connection, or of the last one"""
    since: datetime
    """when the session was opened"""
    state: Any
    """the service's own, None at first"""
    translate: Translate
    """turns a sentence into the person's language, where Antiphon's own catalogue has it"""

    def send(self, message: str | bytes) -> None:
        """Push a message that answers nothing; it never waits, so await `ready` before sending much.

        A session whose client does not take what is sent is cut when 256 KiB wait. In a session that is over,
        nothing happens.

        Args:
            message: of at most `--message-limit` bytes.

        Raises:
            ValueError: it is larger.
        """

    async def ready(self) -> None:
        """Wait until the client has taken enough for more to be sent."""

    def close(self, reason: str = "") -> None:
        """End the session.

        Args:
            reason: a sentence for the person, told as it stands.
        """
