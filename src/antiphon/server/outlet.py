"""What a dialogue needs of the connection that holds its session."""

from typing import Protocol

from antiphon.errors import AntiphonError
from antiphon.language import Translate
from antiphon.server.peer import Peer


class Outlet(Protocol):
    """The connection that holds the session."""

    peer: Peer

    @property
    def translate(self) -> Translate:
        """What turns sentences into the language of the one at the other end."""

    @property
    def blocked(self) -> bool:
        """Whether the client does not take what is sent to it."""

    def send(self, data: bytes) -> None:
        """Have a frame sent with what else is sent in this step."""

    def proceed(self) -> None:
        """Send what waits, and look at what has come."""

    def proceed_soon(self) -> None:
        """Do so after the step under way."""

    def end(self, text: str) -> None:
        """End the session, because the service says so, unless something is under way; then say it again."""

    def fail(self, error: AntiphonError) -> None:
        """End the connection with an error."""
