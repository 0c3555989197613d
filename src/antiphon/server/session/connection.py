"""Contract between a channel and the connection that holds its session."""

from typing import Protocol

from antiphon.errors import AntiphonError
from antiphon.language import Translate
from antiphon.server.peer import Peer


class ChannelConnection(Protocol):
    """The connection that holds a session."""

    peer: Peer

    @property
    def translate(self) -> Translate:
        """Translation into the language of the client."""

    @property
    def blocked(self) -> bool:
        """Whether the client does not take what is sent to it."""

    def send(self, data: bytes) -> None:
        """Send a frame, together with what else is sent in this step."""

    def proceed(self) -> None:
        """Flush, and handle what was received meanwhile."""

    def proceed_soon(self) -> None:
        """Call `proceed` after the step under way; a peer that lets too much wait is cut."""

    def flush_soon(self) -> None:
        """Call `proceed` after the step under way; whoever calls has seen that the peer takes what is sent."""

    def end(self, text: str) -> None:
        """End the session because the service asks for it; while a step is under way, it must ask again."""

    def fail(self, error: AntiphonError) -> None:
        """End the connection with an error."""
