"""The swift way from messages to answers: for a service that sees messages only, many in one step."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any, Self, cast

from antiphon.server.context import ServerContext
from antiphon.server.dialogue import Dialogue
from antiphon.server.intake import Receive
from antiphon.server.outbox import Outbox
from antiphon.server.sessions import Session
from antiphon.server.turn import Turn
from antiphon.wire.answering import Answerer, Shortcut
from antiphon.wire.frames import FrameReader

Otherwise = Callable[[bytes | bytearray, int, bytes], object]
"""Sees to what has come, where the frames of the answers are not all."""


class Swift:
    """Has the messages of one session answered while nothing else is under way and its service answers at once.

    Whoever calls `shortcut` or `pump` sees to it that the dialogue is idle and that the peer takes what is sent.
    """

    __slots__ = (
        "_answerer", "_aside", "_dialogue", "_heard", "_otherwise", "_outbox", "_said", "_shortcut", "_turn",
        "_variables", "shortcut",
    )  # fmt: skip

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
        self._otherwise = otherwise
        self._variables = variables
        self._turn: Turn | None = None
        """That of the message that was left, where it waits for something."""
        self._aside: bytes | None = None
        self._said = self._heard = 0
        books = dialogue.continuity
        leave = otherwise if variables is None else self._set_aside
        self._shortcut = Shortcut(answerer, books.fresh, books.settle, outbox.write, leave, outbox.write_framed)
        self.shortcut: Receive = self._shortcut if variables is None else self._take
        """What to call with what has come, and how many bytes of it, while nothing waits to be sent."""

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

    @property
    def is_free(self) -> bool:
        """Whether the shortcut may be taken, as far as the session goes: it counts nothing by itself."""
        return self._dialogue.counted

    def take(self, answers: bytes) -> int:
        """Send what the shortcut has answered before something else came; return where that begins."""
        self._send(answers)
        return self._answerer.at

    def credit(self) -> bool:
        """Have the outbox know what took the shortcut since the last time; return whether anything did."""
        said, heard = self._shortcut.said - self._said, self._shortcut.heard - self._heard
        self._said += said
        self._heard += heard
        self._outbox.credit(said)
        return heard > 0

    def pump(self, reader: FrameReader) -> bool:
        """Answer what waits in `reader`; return whether there was anything that could be answered."""
        answer = self._answerer if self._variables is None else self._answer
        self._send(reader.pass_on(answer, self._answerer))
        return self._answerer.count > 0

    def _send(self, answers: bytes) -> None:
        count, left = self._answerer.count, self._answerer.left
        if not count:
            return
        self._dialogue.answered(count, answers, count - (left is not None))
        if answers:
            self._outbox.put(answers)
        if left is not None:
            turn, self._turn = self._turn, None
            if turn is not None:
                self._dialogue.wait_for(left[0], turn)
            else:
                id, reply, error, _ = left
                self._dialogue.left(id, reply, error)

    # --- coroutines -----------------------------------------------------------------------------------------

    def _take(self, data: bytes | bytearray, size: int) -> None:
        self._in_turn(self._shortcut, data, size)
        answers, self._aside = self._aside, None
        if answers is not None:
            self._otherwise(data, size, answers)

    def _set_aside(self, _data: bytes | bytearray, _size: int, answers: bytes) -> None:
        """Wait with what the shortcut leaves, for it is nothing that the turn should do."""
        self._aside = answers

    def _answer(self, data: bytes | bytearray, at: int, end: int) -> bytes:
        return cast("bytes", self._in_turn(self._answerer, data, at, end))

    def _in_turn(self, answer: Callable[..., Any], *given: object) -> Any:
        """Answer; while coroutines take their first step, a turn is the current task."""
        assert self._variables is not None
        turn = Turn(loop=asyncio.get_running_loop())
        answered = turn.during(self._variables, answer, *given)
        left = self._answerer.left
        if left is not None and left[3] is not None:
            turn.go_on(cast("Any", left[1]), left[3][0])
            self._turn = turn
        return answered
