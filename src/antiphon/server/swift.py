"""The swift way from messages to answers: for a service that sees messages only, many in one step."""

from typing import Self

from antiphon.server.context import ServerContext
from antiphon.server.dialogue import Dialogue
from antiphon.server.outbox import Outbox
from antiphon.server.sessions import Session
from antiphon.wire.answering import Answerer
from antiphon.wire.frames import FrameReader


class Swift:
    """Has the messages of one session answered while nothing else is under way and its service answers at once.

    Whoever calls `read` or `pump` sees to it that the dialogue is idle and that the peer takes what is sent.
    """

    __slots__ = ("_answerer", "_dialogue", "_outbox")

    def __init__(self, dialogue: Dialogue, answerer: Answerer, outbox: Outbox) -> None:
        """Answer into `outbox` what `answerer` is given."""
        self._dialogue = dialogue
        self._answerer = answerer
        self._outbox = outbox

    @classmethod
    def of(
        cls, context: ServerContext, session: Session, dialogue: Dialogue, token: bytes, outbox: Outbox
    ) -> Self | None:
        """Return the swift way of a session; None where each message must be looked at by itself."""
        service, limit = context.service, context.settings.message_limit
        if context.log.debug_on or session.must_change or not service.sees_messages_only:
            return None
        return cls(dialogue, Answerer(service.receive, service.takes, token, limit, limit), outbox)

    def read(self, data: bytes) -> bytes | None:
        """Answer what has come; return the rest, which needs another way, or None where all is answered."""
        answerer = self._answerer
        self._send(answerer, answerer(data, 0))
        if answerer.at == len(data) and answerer.left is None:
            return None
        return data[answerer.at :]

    def pump(self, reader: FrameReader) -> bool:
        """Answer what waits in `reader`; return whether there was anything that could be answered."""
        answerer = self._answerer
        self._send(answerer, reader.pass_on(answerer))
        return answerer.count > 0

    def _send(self, answerer: Answerer, answers: bytes) -> None:
        count, left = answerer.count, answerer.left
        if not count:
            return
        self._dialogue.answered(count, answers, count - (left is not None))
        if answers:
            self._outbox.put(answers)
        if left is not None:
            self._dialogue.left(*left)
