"""Session for asyncio that sends messages in batches, and hands over the answers of one read together.

For a program that measures: what a session costs is paid once for a batch, and little for each message in it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from antiphon.client.aio.answers import Answers
from antiphon.client.aio.connection import ClientConnection
from antiphon.client.aio.reconnect import AsyncReconnector
from antiphon.client.aio.session import ClientSession
from antiphon.client.protocol.batch import BatchMessage
from antiphon.client.protocol.inbox import Inbox
from antiphon.errors import MessageTooLarge
from antiphon.wire.bodies import Welcome
from antiphon.wire.client_batch import Answer, encode_message
from antiphon.wire.frames import HEADER_SIZE, Payload

Taken = list[tuple[Any, Payload]]
"""Messages that were given to `prepare`, each with its only answer."""


class BatchSession(ClientSession):
    """An open session with further ways: `prepare` and `write` for messages, `on_answers` for their answers."""

    def __init__(self, connection: ClientConnection, welcome: Welcome, reconnector: AsyncReconnector) -> None:
        """Use connections as `ClientSession` does."""
        self.on_answers: Callable[[Taken], object] = _ignore
        """Called with all answers of one read that are each the only one to their message. All other answers, and
        all that becomes of messages without one, are told to the message: `put`, `end`."""
        self._batches_only = True
        """Whether every message was given to `prepare`."""
        super().__init__(connection, welcome, reconnector)

    def room(self, size: int) -> int:
        """Return how many messages of `size` bytes may be sent now; if none, look again after an answer."""
        return self._room.room(size) if self._connection.takes_more else 0

    def prepare(self, messages: Sequence[BatchMessage], size: int) -> bytes:
        """Take messages, each ASCII text of `size` bytes; return their frames, which `write` sends at once.

        Precondition: there is `room` for them. While the connection is lost there are no frames: they are sent on
        the next one.

        Raises:
            MessageTooLarge: none was taken.
            AntiphonError: the session is over; none was taken.
        """
        connection = self._connection
        connection.home.check()
        if size > self._limits.message:
            raise MessageTooLarge(size=size, limit=self._limits.message)
        self._check_open()
        self._room.add(size * len(messages), len(messages))
        self._replay.send_all(messages)  # type: ignore[arg-type] # askers that are no `Answers`
        if not connection.open:
            return b""
        token, frames = connection.conversation.token, []
        for each in messages:
            each.written = True
            frames.append(encode_message(each.id, each.message, token))
        return b"".join(frames)

    def write(self, frames: bytes) -> None:
        """Send what `prepare` has just returned."""
        if frames:
            self._connection.send(frames, alone=True)

    def take_back(self, message: BatchMessage) -> None:
        """Send CANCEL for a message if it is not answered yet: no further answer is wanted."""
        if self._replay.holds(message):  # type: ignore[arg-type] # as above
            self._take_back(message)  # type: ignore[arg-type]

    def _ask_alone(self, message: object) -> None:
        """Leave each message to `_say`: an exchange knows nothing of batches."""

    def _say(self, message: Payload, size: int, *, spoiled: bool = False, alone: bool = False) -> Answers:
        self._batches_only = False
        return super()._say(message, size, spoiled=spoiled, alone=alone)

    def answers(self, answers: list[Answer]) -> None:
        """Take answers that are each the only one to their message, in order."""
        if not (self._batches_only and self._replay.ordinary):
            for id, payload in answers:
                self.message(id, payload, last=True)
            return
        self._policy.used = True
        taken: Taken = []
        try:
            self._replay.answered_all(answers, taken)
        finally:
            sent_bytes = received_bytes = 0
            for message, payload in taken:
                sent_bytes += len(message.message)
                ascii_only = isinstance(payload, bytes) or payload.isascii()
                received_bytes += len(payload) if ascii_only else 4 * len(payload)
            self._window.remove(sent_bytes, len(taken))
            self._unacknowledged += received_bytes + HEADER_SIZE * len(taken)
            if taken:
                self.on_answers(taken)
            self._acknowledge()
        if not self._replay.unanswered:
            self._all_answered()

    def _put(self, box: Inbox | BatchMessage, payload: Payload, size: int) -> None:
        if isinstance(box, Inbox):
            super()._put(box, payload, size)
        elif not box.ended:
            box.put(payload)


def _ignore(_: Taken) -> None:
    """Drop answers: the default callback."""
