"""Client's exchange: messages that are asked one after another, each answered before the next one is sent.

`docs/batch.md` holds the rules. `PythonExchange` and `PythonAsking` have twins in C (`_exchange.c`), which are
built where there is a compiler.
"""

from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Any, NamedTuple

from antiphon.wire.client_batch import python_encode_message, python_read_answers
from antiphon.wire.conversation import LAST_ID
from antiphon.wire.frames import HEADER_SIZE, Payload


class Loop(NamedTuple):
    """What an exchange needs of its event loop."""

    loop: Any
    call_soon: Callable[..., object]
    current_task: Callable[[Any], object]
    """Returns the task of the loop that runs now, or None."""
    cancelled: type[BaseException]
    """The exception of a task that is cancelled."""
    raises: Callable[[BaseException], object]
    """Raises an exception; called by the loop."""


class Wire(NamedTuple):
    """What an exchange needs of its connection."""

    write: Callable[[bytes], object]
    is_closing: Callable[[], bool]
    """Whether the transport takes nothing any more."""
    token: bytes
    message_limit: int
    """Bytes of a message, at the most."""
    answer_limit: int
    """Bytes of an answer, at the most."""
    unacknowledged_limit: int
    """Bytes of answers' frames with which an ACK is due: it is left to the caller."""
    forks: list[None]
    """Grows in a process that is forked: that one sends nothing."""


ASKED, ANSWERED, CANCELLED = 0, 1, 2


class PythonAsking:
    """One message on its way. A task awaits it as it awaits a future: once, and at once.

    The result is the answer; or None, if the exchange was left before it came: then `answers` gets it.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_cancellation",
        "_context",
        "_exchange",
        "_resume",
        "_state",
        "answer",
        "answers",
        "id",
        "message",
        "size",
    )

    def __init__(self, exchange: "PythonExchange", id: int, message: Payload, size: int) -> None:
        """Start without an answer."""
        self._asyncio_future_blocking = False
        self._exchange = exchange
        self._resume: Callable[[Any], object] | None = None
        self._context: Context | None = None
        self._state = ASKED
        self._cancellation: tuple[object, ...] = ()
        self.id = id
        self.message = message
        self.size = size
        """Bytes of the message."""
        self.answer: Payload | None = None
        self.answers: Any = None
        """What gets the answer after the exchange was left; None before."""

    def wake(self) -> None:
        """Resume the task soon: there is news in `answers`."""
        if self._state == ASKED:
            self._state = ANSWERED
            self._resume_soon()

    # --- what a task does with a future ---------------------------------------------------------------------

    def __await__(self) -> Any:
        """Wait for the answer."""
        return self

    def __iter__(self) -> Iterator["PythonAsking"]:
        """Return itself: it is what it yields."""
        return self

    def __next__(self) -> "PythonAsking":
        """Yield itself to the task, and at the second time return the answer."""
        if self._state == ASKED:
            self._check_not_awaited()
            self._asyncio_future_blocking = True
            return self
        self.result()
        raise StopIteration(self.answer)

    def get_loop(self) -> Any:
        """Return the event loop."""
        return self._exchange.loop.loop

    def done(self) -> bool:
        """Return whether the task is resumed."""
        return self._state != ASKED

    def result(self) -> Payload | None:
        """Return the answer. Raises what `cancelled` of the loop is, if the task was cancelled."""
        if self._state == CANCELLED:
            raise self._exchange.loop.cancelled(*self._cancellation)
        return self.answer

    def add_done_callback(self, resume: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Call `resume` in `context` when there is an answer."""
        self._check_not_awaited()
        self._resume, self._context = resume, context
        if self._state != ASKED:
            self._resume_soon()

    def _check_not_awaited(self) -> None:
        if self._resume is not None:
            raise RuntimeError("a message is awaited twice")

    def cancel(self, msg: object = None) -> bool:
        """Resume the task soon with a cancellation; return False if it is resumed already."""
        if self._state != ASKED:
            return False
        self._state = CANCELLED
        self._cancellation = () if msg is None else (msg,)
        self._resume_soon()
        return True

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits any more."""
        return self._state == CANCELLED

    def _resume_soon(self) -> None:
        resume, context = self._resume, self._context
        self._resume = self._context = None  # they refer to the task, which refers to this message
        if resume is not None:
            self._exchange.loop.call_soon(resume, self, context=context)

    def answered(self, answer: Payload) -> None:
        """Resume the task at once with the answer, outside of other tasks; soon if that cannot be."""
        self.answer = answer
        self._state = ANSWERED
        loop = self._exchange.loop
        resume, context = self._resume, self._context
        if resume is None:
            return
        if context is None or loop.current_task(loop.loop) is not None:
            self._resume_soon()
            return
        try:
            context.run(self._step, resume)
        except RuntimeError:  # the context is entered already; what the step has raised does not come here
            self._resume_soon()

    def _step(self, resume: Callable[[Any], object]) -> None:
        self._resume = self._context = None
        try:
            resume(self)
        except BaseException as error:  # noqa: BLE001 - as from a callback of the loop; it must not end the connection
            loop = self._exchange.loop
            loop.call_soon(loop.raises, error)


class PythonExchange:
    """The exchange of one connection. It is `open` while nothing else is under way; see `docs/batch.md`."""

    __slots__ = ("_answered", "_forks", "_id", "_pending", "_settle", "_unacknowledged", "_wire", "loop", "open")

    def __init__(self, loop: Loop, wire: Wire, settle: Callable[[int, int, Any], object]) -> None:
        """Start closed.

        `settle` is called when the exchange is left: with the number of messages that were answered, the bytes of
        frames that are not acknowledged, and the message that is on its way or None.
        """
        self.loop = loop
        self._wire = wire
        self._settle = settle
        self._forks = len(wire.forks)
        self._id = 0
        self._answered = self._unacknowledged = 0
        self._pending: PythonAsking | None = None
        self.open = False

    def enter(self, last_id: int, unacknowledged: int) -> None:
        """Open it; the last message had this id, and so many bytes are not acknowledged.

        Precondition: it is closed.
        """
        self._id = last_id
        self._unacknowledged = unacknowledged
        self.open = True

    def leave(self) -> None:
        """Close it; nothing happens if it is closed."""
        if self.open:
            self.open = False
            answered, unacknowledged, pending = self._answered, self._unacknowledged, self._pending
            self._answered = self._unacknowledged = 0
            self._pending = None
            self._settle(answered, unacknowledged, pending)

    def ask(self, message: object) -> PythonAsking | None:
        """Send a message and return it, to be awaited; None, with nothing sent, if that is left to the caller."""
        wire = self._wire
        if not self.open or self._pending is not None or len(wire.forks) != self._forks or wire.is_closing():
            return None
        if type(message) is not str and type(message) is not bytes:
            return None
        id = self._id % LAST_ID + 1
        try:
            frame = python_encode_message(id, message, wire.token)
        except UnicodeEncodeError:
            return None
        size = len(frame) - HEADER_SIZE - len(wire.token)
        if size > wire.message_limit:
            return None
        self._id = id
        asking = self._pending = PythonAsking(self, id, message, size)
        try:
            wire.write(frame)
        except BaseException:
            asking.cancel()
            self.leave()
            raise
        return asking

    def take(self, data: bytes) -> bool:
        """Take received bytes, if they are the answer to the message on its way, and resume its task.

        Otherwise leave the exchange, and return False: the bytes are left to the caller.
        """
        if not self.open:
            return False
        asking, wire = self._pending, self._wire
        if asking is not None and not asking.done() and type(data) is bytes:
            unacknowledged = self._unacknowledged + len(data)
            if unacknowledged < wire.unacknowledged_limit:
                answers, end = python_read_answers(data, 0, len(data), wire.answer_limit)
                if end == len(data) and len(answers) == 1 and answers[0][0] == asking.id:
                    self._unacknowledged = unacknowledged
                    self._answered += 1
                    self._pending = None
                    asking.answered(answers[0][1])
                    return True
        self.leave()
        return False


__all__ = ["Asking", "Exchange", "Loop", "PythonAsking", "PythonExchange", "Wire"]

try:
    from antiphon.wire._batch import Asking, Exchange
except ImportError:  # built without a compiler
    Asking = PythonAsking  # type: ignore[assignment,misc]
    Exchange = PythonExchange  # type: ignore[assignment,misc]
