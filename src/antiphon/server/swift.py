"""The swift way from messages to answers: for a service that sees messages only, many in one step."""

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable
from contextvars import Context
from typing import Any, Self, cast

from antiphon.server.context import ServerContext
from antiphon.server.dialogue import Dialogue
from antiphon.server.outbox import Outbox
from antiphon.server.sessions import Session
from antiphon.server.turn import Turn
from antiphon.transport.contract import ServerTransport
from antiphon.wire.answering import Answerer, Left, Shortcut, Stepping
from antiphon.wire.frames import FrameReader

Receive = Callable[[bytes | bytearray, int], object]
"""Takes the first bytes of a buffer, which holds others afterwards."""
Otherwise = Callable[[bytes | bytearray, int, bytes], object]
"""Sees to what has come, where the frames of the answers are not all."""


class Swift:
    """Has the messages of one session answered while nothing else is under way and its service answers at once.

    Whoever calls `shortcut` or `pump` sees to it that the dialogue is idle and that the peer takes what is sent.
    """

    __slots__ = ("_answerer", "_dialogue", "_heard", "_outbox", "_said", "_turn", "_variables", "shortcut")

    def __init__(
        self,
        dialogue: Dialogue,
        answerer: Answerer,
        outbox: Outbox,
        otherwise: Otherwise,
        variables: Context | None,
    ) -> None:
        """Answer into `outbox` what `answerer` is given; with `variables`, by coroutines that have a copy.

        `otherwise` sees to what the shortcut leaves.
        """
        self._dialogue = dialogue
        self._answerer = answerer
        self._outbox = outbox
        self._variables = variables
        self._turn: Turn = None  # type: ignore[assignment] # there is one before anything waits
        """The current task of the coroutines that `pump` has answered with last."""
        self._said = self._heard = 0
        stepping = None
        if variables is not None:
            loop = asyncio.get_running_loop()
            stepping = Stepping(Turn, _enter_task, _leave_task, loop, variables, self._wait)
        books = dialogue.continuity
        self.shortcut = Shortcut(
            answerer, books.fresh, books.settle, outbox.write, otherwise, outbox.write_framed, stepping
        )
        """What to call with what has come, and how many bytes of it; free while nothing waits to be sent."""
        self.shortcut.held = True
        if stepping is not None:
            dialogue.shortcut = self.shortcut.answer

    @classmethod
    def of(  # noqa: PLR0917 - one of each
        cls,
        context: ServerContext,
        session: Session,
        dialogue: Dialogue,
        token: bytes,
        outbox: Outbox,
        otherwise: Otherwise,
    ) -> Self | None:
        """Return the swift way of a session; None where each message must be looked at by itself."""
        service, limit = context.service, context.settings.message_limit
        if context.log.debug_on or session.must_change or not service.sees_messages_only:
            return None
        steps, acknowledge = service.is_async, dialogue.continuity.acknowledge
        answerer = Answerer(
            service.receive, service.takes, token, limit, limit, steps=steps, acknowledge=acknowledge
        )
        return cls(dialogue, answerer, outbox, otherwise, context.variables if steps else None)

    def installed(self, transport: ServerTransport) -> Receive:
        """Return the shortcut, to which the transport hands bytes from now on, with no step between."""
        transport.hand_to(self.shortcut)
        return self.shortcut

    @property
    def is_free(self) -> bool:
        """Whether the shortcut may be taken, as far as the session goes: it counts nothing by itself."""
        return self._dialogue.counted

    def take(self, answers: bytes) -> int:
        """Send what the shortcut has answered before something else came; return where that begins."""
        self._send(answers, self.shortcut.turn)
        return self._answerer.at

    def credit(self) -> bool:
        """Have the outbox know what took the shortcut since the last time; return whether anything did."""
        said, heard = self.shortcut.said - self._said, self.shortcut.heard - self._heard
        self._said += said
        self._heard += heard
        self._outbox.credit(said)
        return heard > 0

    def pump(self, reader: FrameReader) -> bool:
        """Answer what waits in `reader`; return whether there was anything that could be answered."""
        answer = self._answerer if self._variables is None else self._answer
        self._send(reader.pass_on(answer, self._answerer), self._turn)
        self._turn = None  # type: ignore[assignment] # likewise
        return self._answerer.count > 0

    def _send(self, answers: bytes, turn: Turn) -> None:
        count, left = self._answerer.count, self._answerer.left
        if not count:
            return
        self._answerer.left = None  # what was raised holds the message, until the next one comes
        self._dialogue.answered(count, answers, count - (left is not None))
        if answers:
            self._outbox.put(answers)
        if left is not None:
            id, reply, error, waits_for = left
            if waits_for is None:
                self._dialogue.left(id, reply, error)
            else:
                turn.go_on(cast("Any", reply), waits_for[0])
                self._dialogue.wait_for(id, turn)

    # --- coroutines -----------------------------------------------------------------------------------------

    def _wait(self, turn: Turn, left: Left) -> None:
        """Go on with a coroutine that waits, where nothing else has come."""
        id, coroutine, _, waits_for = left
        dialogue = self._dialogue
        dialogue.continuity.came()
        turn.go_on(coroutine, waits_for[0])  # type: ignore[arg-type,index] # it waits for something
        dialogue.wait_for(id, turn)

    def _answer(self, data: bytes | bytearray, at: int, end: int) -> bytes:
        """Answer what has waited; while coroutines take their first step, a turn is the current task."""
        assert self._variables is not None
        self._turn = Turn(loop=asyncio.get_running_loop())
        return self._turn.during(self._variables, self._answerer, data, at, end)
