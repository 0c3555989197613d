"""The swift way from messages to answers: for a service that sees messages only, many in one step."""

import asyncio
from collections.abc import Callable
from typing import Any, Self, cast

from antiphon.server.context import ServerContext
from antiphon.server.dialogue import Dialogue
from antiphon.server.outbox import Outbox
from antiphon.server.sessions import Session
from antiphon.server.turn import Suspended, Turn, enter, leave
from antiphon.wire.answering import Answerer, Left, PythonShortcut, Shortcut
from antiphon.wire.frames import FrameReader

Otherwise = Callable[[bytes | bytearray, int, bytes], object]
"""Sees to what has come, where the frames of the answers are not all."""


class Swift:
    """Has the messages of one session answered while nothing else is under way and its service answers at once.

    Whoever calls `shortcut` or `pump` sees to it that the dialogue is idle and that the peer takes what is sent.
    """

    __slots__ = ("_answerer", "_dialogue", "_heard", "_outbox", "_said", "shortcut")

    def __init__(
        self, dialogue: Dialogue, answerer: "Answerer | _InTurn", outbox: Outbox, otherwise: Otherwise
    ) -> None:
        """Answer into `outbox` what `answerer` is given; `otherwise` sees to what the shortcut leaves."""
        self._dialogue = dialogue
        self._answerer = answerer
        self._outbox = outbox
        self._said = self._heard = 0
        books = dialogue.continuity
        rest = books.fresh, books.settle, outbox.write, otherwise, outbox.write_framed
        self.shortcut = (
            PythonShortcut(answerer, *rest) if isinstance(answerer, _InTurn) else Shortcut(answerer, *rest)
        )
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
        steps = service.is_async
        acknowledge = dialogue.continuity.acknowledge
        answerer = Answerer(
            service.receive, service.takes, token, limit, limit, steps=steps, acknowledge=acknowledge
        )
        return cls(dialogue, _InTurn(answerer) if steps else answerer, outbox, otherwise)

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
        said, heard = self.shortcut.said - self._said, self.shortcut.heard - self._heard
        self._said += said
        self._heard += heard
        self._outbox.credit(said)
        return heard > 0

    def pump(self, reader: FrameReader) -> bool:
        """Answer what waits in `reader`; return whether there was anything that could be answered."""
        self._send(reader.pass_on(self._answerer))
        return self._answerer.count > 0

    def _send(self, answers: bytes) -> None:
        count, left = self._answerer.count, self._answerer.left
        if not count:
            return
        self._dialogue.answered(count, answers, count - (left is not None))
        if answers:
            self._outbox.put(answers)
        if left is not None:
            id, reply, error, _ = left
            self._dialogue.left(id, reply, error)


class _InTurn:
    """An answerer of coroutines: while they take their first step, a turn is the current task."""

    __slots__ = ("_answerer", "_loop", "at", "count", "left")

    def __init__(self, answerer: Answerer) -> None:
        """See `Answerer`."""
        self._answerer = answerer
        self._loop = asyncio.get_running_loop()
        self.at = self.count = 0
        self.left: Left | None = None

    def __call__(self, data: bytes | bytearray, at: int, end: int) -> bytes:
        """See `Answerer`; what waits is left as something to be awaited."""
        answerer, turn = self._answerer, Turn()
        before = enter(self._loop, turn)
        try:
            answers = answerer(data, at, end)
        finally:
            leave(self._loop, turn, before)
        self.at, self.count, self.left = answerer.at, answerer.count, answerer.left
        if self.left is not None:
            id, reply, error, waits_for = self.left
            if waits_for is not None:
                self.left = id, Suspended(cast("Any", reply), waits_for[0], turn), error, None
        return answers
