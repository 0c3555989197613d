"""Held messages: those received behind one whose coroutine waits. They stay bytes until it is their turn.

`docs/batch.md` holds the rules. `PythonHeldMessages` has a twin in C (`_held.c`), which is built where there is a
compiler.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from antiphon.wire.batch import WAITING, Unanswered
from antiphon.wire.frames import messages_ahead
from antiphon.wire.kinds import TOKEN_SIZE, Allowed

DUE_MOST = 32
"""Connections whose answers are written one behind the other; as in _held.c."""


class Gate(Protocol):
    """The fence of a process, as held messages use it (`server.home.fence`)."""

    state: bytearray

    def check(self) -> bool:
        """Return whether messages may be answered."""


class Holding(NamedTuple):
    """What held messages need beside their answerer and their responder."""

    most: int
    """With so many, nothing more is to be read: the caller holds them."""
    late: list[bytes]
    """Frames that are not written yet. One is appended if there is any; otherwise `later` is asked."""
    later: Callable[[bytes], int]
    """Writes a frame or keeps it in `late`; returns how many of the next ones wait for none behind them: each
    becomes a `late` frame that is `due`."""
    wait: Callable[[Unanswered, float], object]
    """As that of a responder."""
    last: Callable[[int, object], bool]
    """Answers a message behind which none is held, while there are `late` frames; returns what `answer` does."""
    go_on: Callable[[bytes | None], object]
    """Is called with the frames of the answers, if the next message is answered or its coroutine does not only
    wait; with None if nothing may be answered now. It takes what is still held."""
    fence: Gate
    due: list[Any]
    """Those of all connections whose `late` frame is written in one go: each has its `write_late` called."""
    grew: Callable[[], object]
    """Is called when `due` has its first entry, and when it has `DUE_MOST`."""
    write: Callable[[], object]
    """Writes the `late` frames where `write_late` leaves that."""


class PythonHeldMessages:
    """The messages that one connection holds back. `answer` is called with the answer to the one before them."""

    __slots__ = ("_answerer", "_data", "_holding", "_position", "_responder", "alone", "at_once", "messages")

    def __init__(self, answerer: Any, responder: Any, holding: Holding) -> None:
        """Hold none."""
        self._answerer = answerer
        self._responder = responder
        self._holding = holding
        self._data = b""
        self._position = 0
        self.messages = 0
        """How many are held."""
        self.alone = 0
        """How many of the next answers wait for none of this connection."""
        self.at_once = 0
        """How many of those are to be written at once; the others wait for those of other connections."""

    def hold(self, data: bytes, messages: int) -> None:
        """Hold `data`, which is so many whole messages and nothing else."""
        self._data, self._position, self.messages = data, 0, messages

    def hold_rest(self, data: bytes | bytearray, position: int, end: int) -> bool:
        """Hold what stands between two positions, if it is fewer than `most` whole messages and nothing else."""
        most = self._holding.most
        ahead = messages_ahead(data, position, end, most, Allowed(TOKEN_SIZE, self._answerer.message_limit))
        if ahead is None or not 0 < ahead[0] < most or ahead[1] != end:
            return False
        self.hold(bytes(data[position:end]), ahead[0])
        return True

    def take(self) -> bytes:
        """Return what is held, and hold nothing."""
        rest = self._data[self._position :]
        self.hold(b"", 0)
        return rest

    def answer(self, id: int, reply: object) -> bool:
        """Answer a message whose coroutine has waited, and go on with the next; return False as a responder."""
        holding, responder = self._holding, self._responder
        if not self.messages:
            return holding.last(id, reply) if holding.late else responder.answer(id, reply)
        frame = responder.prepare(id, reply)
        if frame is None:
            return False
        if holding.late:
            holding.late.append(frame)
        elif self.alone > 0:
            self.alone -= 1
            self._write_alone(frame)
        else:
            self.alone = holding.later(frame)
        if responder.closed == WAITING:  # else the peer takes no more
            self._answer_next()
        return True

    def write_late(self) -> None:
        """Write the only `late` frame; anything but that, and nothing, is left to `write`."""
        holding = self._holding
        alone = len(holding.late) == 1 and self._responder.closed == WAITING and holding.fence.check()
        if not holding.late:  # the look at the fence may have run other code
            return
        if alone:
            self._responder.send(holding.late.pop(0))
        else:
            holding.write()

    def _write_alone(self, frame: bytes) -> None:
        if self.at_once > 0:
            self.at_once -= 1
            self._responder.send(frame)
            return
        holding = self._holding
        holding.late.append(frame)
        holding.due.append(self)
        if len(holding.due) in {1, DUE_MOST}:
            holding.grew()

    def _answer_next(self) -> None:
        answerer, holding, messages = self._answerer, self._holding, self.messages
        if not messages or not holding.fence.check():
            holding.go_on(None)
            return
        data, position = self._data, self._position
        self.hold(b"", 0)  # a nested call may take what is held: not the message that is being answered
        frames = answerer(data, position, len(data))
        if answerer.position < len(data):
            self.hold(data, messages - answerer.count)
            self._position = answerer.position
        unanswered = answerer.unanswered
        waits_only = unanswered is not None and unanswered[3] is not None and not frames
        if waits_only and self._responder.closed == WAITING:
            answerer.unanswered = None  # no reference to it stays here
            holding.wait(unanswered, answerer.began)
        else:
            del unanswered  # an exception in it refers to the message
            holding.go_on(frames)


__all__ = ["DUE_MOST", "HeldMessages", "Holding", "PythonHeldMessages"]

try:
    from antiphon.wire._batch import HeldMessages
except ImportError:  # built without a compiler
    HeldMessages = PythonHeldMessages  # type: ignore[assignment,misc]
