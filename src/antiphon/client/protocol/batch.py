"""Messages of a batch: each takes its answers itself, so that a session keeps one object for each and no more."""

from abc import ABC, abstractmethod

from antiphon.client.protocol.unanswered import Sent
from antiphon.errors import AntiphonError
from antiphon.wire.frames import Payload


class BatchMessage(Sent["BatchMessage"], ABC):
    """A message of ASCII text and the receiver of its answers, in one object.

    If its only answer comes by itself, as nearly all do, the session hands over both with others (`on_answers`)
    and calls none of its methods.
    """

    stream = False
    """As of an `Inbox`."""

    def __init__(self, message: str) -> None:
        """Hold `message`; the session sets the id and the number when it is sent."""
        self.message: str = message

    @property
    def asker(self) -> "BatchMessage":  # type: ignore[override] # an attribute would make a reference cycle
        """The receiver of the answers."""
        return self

    @property
    def size(self) -> int:
        """The message's size in bytes."""
        return len(self.message)

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether no further answer is wanted."""

    @abstractmethod
    def put(self, payload: Payload) -> None:
        """Take an answer. It may be the last one; then `end` follows."""

    @abstractmethod
    def end(self, error: AntiphonError | None = None) -> None:
        """Take note that nothing more comes, because of `error` if there is one."""
