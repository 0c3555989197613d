"""The swift way from messages to answers: for a service that sees messages only, many in one step."""

from typing import Self

from antiphon.server.context import ServerContext
from antiphon.server.dialogue import Dialogue
from antiphon.server.outbox import Outbox
from antiphon.server.sessions import Session
from antiphon.wire.exchange import Exchange
from antiphon.wire.frames import FrameReader


class Swift:
    """Has the messages of one session answered while nothing else is under way and its service answers at once.

    Whoever calls `read` or `pump` sees to it that the dialogue is idle and that the peer takes what is sent.
    """

    __slots__ = ("_dialogue", "_exchange", "_outbox")

    def __init__(self, dialogue: Dialogue, exchange: Exchange, outbox: Outbox) -> None:
        """Answer into `outbox` what `exchange` is given."""
        self._dialogue = dialogue
        self._exchange = exchange
        self._outbox = outbox

    @classmethod
    def of(
        cls, context: ServerContext, session: Session, dialogue: Dialogue, token: bytes, outbox: Outbox
    ) -> Self | None:
        """Return the swift way of a session; None where each message must be looked at by itself."""
        service, limit = context.service, context.settings.message_limit
        if context.log.debug_on or session.must_change or not service.sees_messages_only:
            return None
        return cls(dialogue, Exchange(service.receive, service.takes, token, limit, limit), outbox)

    def read(self, data: bytes) -> bytes | None:
        """Answer what has come; return the rest, which needs another way, or None where all is answered."""
        exchange = self._exchange
        self._send(exchange, exchange(data, 0))
        if exchange.at == len(data) and exchange.left is None:
            return None
        return data[exchange.at :]

    def pump(self, reader: FrameReader) -> bool:
        """Answer what waits in `reader`; return whether there was anything that could be answered."""
        exchange = self._exchange
        self._send(exchange, reader.pass_on(exchange))
        return exchange.count > 0

    def _send(self, exchange: Exchange, answers: bytes) -> None:
        left = exchange.left
        self._dialogue.exchanged(exchange.count, answers, exchange.count - (left is not None))
        if answers:
            self._outbox.put(answers)
        if left is not None:
            self._dialogue.left(*left)
