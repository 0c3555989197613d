"""Messages that are alone on their way: asked one after another, they take a shorter path (`wire.exchange`).

While the exchange is open, it keeps what `client.protocol` counts. It is left, and all is counted there, before
anything else happens: another message, other bytes, a heartbeat, the end of the connection.
"""

import asyncio

from antiphon.client.aio.answers import Answers
from antiphon.client.aio.connection import ClientConnection
from antiphon.client.home_process import forks
from antiphon.client.protocol.session import SessionProtocol
from antiphon.wire.exchange import Asking, Exchange, Loop, Wire

PATIENCE = 16
"""Messages asked alone before the exchange is entered again, after any other message: to enter it costs time."""


class SessionAlone(SessionProtocol[ClientConnection, Answers]):
    """A session whose messages may be alone on their way."""

    _exchange: Exchange
    """Of the connection that the session has now."""
    _interrupted = 0
    """Messages to be asked alone before the exchange is entered again."""

    def _exchange_on(self, connection: ClientConnection) -> None:
        """Make the exchange of a connection that the session has now."""
        loop = asyncio.get_running_loop()
        conversation = connection.conversation
        self._exchange = connection.exchange = Exchange(
            Loop(loop, loop.call_soon, asyncio.current_task, asyncio.CancelledError, _raise),
            Wire(
                connection.transport.write,
                connection.transport.is_closing,
                conversation.token,
                connection.limits.message,
                conversation.answer_limit,
                self._ack_every,
                forks,
            ),
            self._settle,
        )

    def _ask_alone(self, message: object) -> Asking | None:
        """Send a message that is alone on its way; None if that is none, or does not pay."""
        if (asking := self._exchange.ask(message)) is not None:
            return asking
        if self._exchange.open or not self._is_alone():
            return None
        if self._interrupted:
            self._interrupted -= 1
            return None
        self._exchange.enter(self._replay.last_id, self._unacknowledged)
        return self._exchange.ask(message)

    def _is_alone(self) -> bool:
        """Whether nothing is under way, and nothing is left of what was."""
        return (
            not (self._over or self._leaving)
            and self._replay.ordinary
            and not self._replay.unanswered
            and self._window.empty
            and self._connection.is_quiet(self)
        )

    def _end_exchange(self) -> None:
        """Leave the exchange for some time: another message is sent."""
        if self._exchange.open:
            self._interrupted = PATIENCE
            self._exchange.leave()

    def _settle(self, answered: int, unacknowledged: int, asking: Asking | None) -> None:
        """Count what was asked in the exchange, which is left."""
        self._replay.exchanged(answered)
        self._unacknowledged = unacknowledged
        if answered:
            self._policy.used = True
            self._connection.has_heard()
        if asking is None:
            return
        self._connection.has_spoken()
        box = Answers(*self._callbacks)  # type: ignore[arg-type] # its message is one of ours
        box.size = asking.size
        self._window.add(asking.size)
        sent = self._replay.send(asking.message, box)
        sent.written = True
        box.sent = sent  # type: ignore[assignment] # as above
        asking.answers = box
        if asking.cancelled:
            box.close()
        else:
            box.on_news = asking.wake


def _raise(error: BaseException) -> None:
    raise error
