"""Fast path: from the received bytes of a whole batch of messages to the frames of their answers.

`docs/batch.md` holds the rules of a batch. Both classes exist twice: here, and in C (`_answerer.c`,
`_responder.c`), which is built where there is a compiler and is many times as fast. Whatever is out of the
ordinary is left to the caller.
"""

from collections.abc import Callable
from contextvars import Context
from types import CoroutineType
from typing import Any, NamedTuple, Protocol

from antiphon.errors import ProtocolError
from antiphon.wire.frames import HEADER_SIZE, Answering, Frame, Payload, encode_message, read_frame
from antiphon.wire.kinds import COUNT_SIZE, KIB, TOKEN_SIZE, Flag, Kind, Phase, Side, limits
from antiphon.wire.times import Times, add_time

BATCH_LIMIT = 64 * KIB
"""Bytes of answers in one piece: then the caller checks whether the peer takes them."""
UNSETTLED_LIMIT = 128 * KIB
"""Bytes of memory for answers after which `settle` is called. Clients acknowledge after half of it, so it is
seldom reached."""
PIECE_OVERHEAD = 64
"""Bytes of memory that a piece in the list takes beside its frames: the object's header, and two places."""
WAITING = 2
"""Value of `BatchResponder.closed` while it is closed by a coroutine that waits, and by nothing else."""

Unanswered = tuple[int, object, BaseException | None, tuple[Any, object] | None]
"""A message without an answer: its id, what the handler returned, what it raised. For a coroutine that waits, the
last item is its task and what it waits for; else None."""
Unsettled = bytes | tuple[bytes, Payload] | int
"""Frames of answers, or header and payload of one, and after each the number of messages that it answers. The
number is 0 for an answer whose message was counted when its coroutine began to wait."""

LOOK_EVERY = 32
"""Frames between two looks at the clock, at most. The first looks come after 1, 2 and 8 frames: nobody knows yet
how long a message takes."""

_MESSAGE = int(Kind.MESSAGE)
_ACK = int(Kind.ACK)
_TEXT = int(Flag.TEXT)
_LAST = int(Flag.LAST)
_LEFT = object()
"""Stands for a message that is left to the caller."""


class Stepping(NamedTuple):
    """How a coroutine takes its first step: as the current task, in a copy of the context variables."""

    make: Callable[[], Any]
    """Makes a task. Its attributes `coroutine` and `variables` are set before the step. A step that is the last
    one calls its method `returned(value)`, which returns the result, or `raised(error)`."""
    enter: Callable[[Any, Any], object]
    """Makes a task the current task of `loop`."""
    leave: Callable[[Any, Any], object]
    """Ends that."""
    loop: object
    variables: Context
    """Each coroutine gets a copy."""


class Batch(Answering, Protocol):
    """What a responder uses of an answerer."""

    began: float
    count: int
    unanswered: Unanswered | None

    def frame(self, id: int, reply: object) -> bytes | None:
        """Return the frame of the only answer to a message; None if `reply` cannot be sent as it is."""


class Held(Protocol):
    """What a responder uses of `HeldMessages`."""

    def hold_rest(self, data: bytes | bytearray, position: int, end: int) -> bool:
        """Hold what stands between two positions, if it is whole messages and nothing else."""


class PythonBatchAnswerer:
    """Splits received bytes into messages, calls the handler for each, and makes the frames of the answers.

    Call it with bytes, the position of the first frame and the end of what may be read. It returns the frames of
    the answers; send them in order. Then `position`, `count` and `unanswered` say what is left to the caller.
    """

    __slots__ = (
        "_acknowledge", "_allowed", "_answer_limit", "_clock", "_decode", "_encode", "_handle", "_stepping",
        "_takes", "_timed", "_times", "_token", "began", "count", "message_limit", "position", "seconds",
        "turn_seconds",
        "unanswered",
    )  # fmt: skip

    def __init__(
        self,
        handle: Callable[[Any], object],
        takes: type | None,
        token: bytes,
        message_limit: int,
        answer_limit: int,
        *,
        stepping: Stepping | None = None,
        acknowledge: Callable[[int], object] | None = None,
        clock: Callable[[], float] | None = None,
        decode: Callable[[Any], object] | None = None,
        encode: Callable[[object, bytearray], None] | None = None,
        times: Times | None = None,
    ) -> None:
        """Answer with `handle`, which takes `str`, `bytes` or (None) whatever was sent.

        Both limits are bytes of payload. Without `stepping`, coroutines are left to the caller; without
        `acknowledge`, ACKs are, and those for which it returns False; without `clock` (seconds), a call may take
        as long as it takes. `decode` makes of a message what `handle` is given, and `encode` writes an
        answer that is neither text nor bytes as JSON into a bytearray. With a clock, the time of each message that
        is answered is added to `times`; those between two looks at the clock count as their mean.
        """
        if len(token) != TOKEN_SIZE:
            raise ValueError(f"a token has {TOKEN_SIZE} bytes")
        self._handle = handle
        self._takes = takes
        self._token = token
        self._allowed = limits(Side.CLIENT, Phase.SESSION, message_limit)
        self.message_limit = message_limit
        self._answer_limit = answer_limit
        self._decode = decode
        self._encode = encode
        self._stepping = stepping
        self._acknowledge = acknowledge
        self._clock = clock
        self._times = times if clock is not None else None
        self._timed = 0
        """Of `count`, how many are in `times`."""
        self.began = 0.0
        """When the last look at the clock was, if there are `times`: there the time of `unanswered` begins."""
        self.seconds = 0.0
        """What it has added to the seconds of `times`, of all calls."""
        self.turn_seconds = 0.0
        """Seconds by `clock` after the first frame in which further frames are read."""
        self.position = 0
        """Where the first frame begins that was not read."""
        self.count = 0
        """How many messages the handler was given."""
        self.unanswered: Unanswered | None = None
        """The last message, if it is not answered."""

    def __call__(self, data: bytes | bytearray, position: int, end: int) -> bytes:
        """Answer the frames of `data` from `position` to `end`; return the frames of the answers."""
        self.position, self.count, self.unanswered, self._timed = position, 0, None, 0
        if self._times is not None and self._clock is not None and end - position >= HEADER_SIZE:
            self.began = self._clock()
        answers: list[bytes] = []
        size = frames = 0
        look, ends = 1, 0.0
        while end - self.position >= HEADER_SIZE and size < BATCH_LIMIT:
            if frames == look and self._clock is not None:
                now = self._clock()
                self._add_time(now)
                if look == 1:
                    ends = now + self.turn_seconds
                elif now >= ends:
                    break
                look += 1 if look == 1 else min(3 * look, LOOK_EVERY)
            frames += 1
            try:
                frame, after = read_frame(data, self.position, end, self._allowed, self._token)
            except ProtocolError:
                break
            if type(frame) is not Frame:
                break
            if self._took_ack(frame):
                self.position = after
                continue
            message = self._message(frame)
            if message is _LEFT:
                break
            self.position = after
            self.count += 1
            answer = self._answer(frame.id, message)
            if answer is None:
                break
            answers.append(answer)
            size += len(answer)
        if self._times is not None and self._clock is not None and self._untimed:
            self._add_time(self._clock())
        return answers[0] if len(answers) == 1 else b"".join(answers)

    @property
    def _untimed(self) -> int:
        """How many messages are answered and not yet in `times`."""
        return self.count - self._timed - (self.unanswered is not None)

    def _add_time(self, now: float) -> None:
        """Note the time of the messages that are answered since the last look at the clock."""
        if self._times is not None:
            if (untimed := self._untimed) > 0:
                add_time(self._times, now - self.began, untimed)
                self.seconds += now - self.began
                self._timed += untimed
            self.began = now

    def _took_ack(self, frame: Frame) -> bool:
        """Pass on the count of an ACK; return False for anything else, and for an ACK that is left."""
        if self._acknowledge is None or frame.kind != _ACK or frame.id or len(frame.payload) != COUNT_SIZE:
            return False
        assert isinstance(frame.payload, bytes)
        return self._acknowledge(int.from_bytes(frame.payload, "big")) is not False

    def _message(self, frame: Frame) -> object:
        """Return a message as the handler takes it; `_LEFT` if the frame is left to the caller."""
        payload = frame.payload
        if frame.kind != _MESSAGE or not frame.id or (self._takes is str and not frame.flags & _TEXT):
            return _LEFT
        if self._takes is bytes and isinstance(payload, str):
            payload = payload.encode()
        if self._decode is None:
            return payload
        try:
            return self._decode(payload)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - the caller meets it again
            return _LEFT

    def _answer(self, id: int, message: object) -> bytes | None:
        """Return the frame of the answer; None if there is none: then `unanswered` is set."""
        reply: object = None
        waiting: tuple[Any, object] | None = None
        try:
            reply = self._handle(message)
            if self._stepping is not None and isinstance(reply, CoroutineType):
                reply, waiting = self._first_step(self._stepping, reply)
        except BaseException as error:  # noqa: BLE001 - the caller handles it
            self.unanswered = id, None, error, None
            return None
        frame = self.frame(id, reply) if waiting is None else None
        if frame is None:
            self.unanswered = id, reply, None, waiting
        return frame

    def frame(self, id: int, reply: object) -> bytes | None:
        """Return the frame of the only answer to a message; None if `reply` cannot be sent as it is."""
        if self._encode is not None and _is_value(reply):
            try:
                self._encode(reply, json := bytearray())
                reply = json.decode()
            except Exception:  # noqa: BLE001 - the caller meets it again
                return None
        if type(reply) is not str and type(reply) is not bytes:
            return None
        try:
            frame = encode_message(id, reply, _LAST)
        except UnicodeEncodeError:  # half a surrogate pair: the caller meets it again, and reports it
            return None
        return frame if len(frame) - HEADER_SIZE <= self._answer_limit else None

    def _first_step(
        self, stepping: Stepping, coroutine: "CoroutineType[Any, Any, Any]"
    ) -> tuple[object, tuple[Any, object] | None]:
        """Take the first step; return its result, or the coroutine with its task and what it waits for."""
        task = stepping.make()
        task.coroutine = coroutine
        task.variables = stepping.variables.copy()
        try:
            stepping.enter(stepping.loop, task)
            try:
                waits_for = task.variables.run(coroutine.send, None)
            finally:
                stepping.leave(stepping.loop, task)
        except StopIteration as done:
            value = done.value
        except BaseException as error:
            task.raised(error)
            del task  # it refers to the error, whose traceback refers to this frame
            raise
        else:
            return coroutine, (task, waits_for)
        return task.returned(value), None


class PythonBatchResponder:
    """Takes received bytes, has an answerer answer them, and writes the frames of the answers.

    Call it with a buffer and the number of bytes received. If a rule keeps the batch from being answered here
    alone, it calls `leave` with both and the frames made so far; the answerer knows the rest.
    """

    __slots__ = (
        "_answerer", "_leave", "_settle", "_unsettled", "_wait", "_write", "closed", "held", "received_bytes",
        "sent_bytes", "unsettled_bytes", "unsettled_limit",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917 - one of each
        self,
        answerer: Batch,
        unsettled: list[Unsettled],
        settle: Callable[[], object],
        write: Callable[[bytes], object],
        leave: Callable[[bytes | bytearray, int, bytes], object],
        write_framed: Callable[[bytes, Payload], object] | None = None,  # noqa: ARG002 - used by the twin in C
        wait: Callable[[Unanswered, float], object] | None = None,
    ) -> None:
        """Start open.

        Written frames are appended to `unsettled`, each with the number of messages that it answers; `settle` is
        called to empty that list. With `write_framed`, one large answer is written without copying its payload
        (the twin in C does so). `wait` takes a message whose coroutine waits, and when it began; call `answer` in
        the end.
        """
        self._answerer = answerer
        self._unsettled = unsettled
        self._settle = settle
        self.unsettled_bytes = 0
        """Bytes of memory that the list took after the last answer."""
        self.unsettled_limit = UNSETTLED_LIMIT
        """What it may take before `settle` is called."""
        self._write = write
        self._leave = leave
        self._wait = wait
        self.closed = 0
        """0: open; 1: everything is left to the caller; `WAITING`: likewise, until `answer` succeeds."""
        self.received_bytes = self.sent_bytes = 0
        """Bytes received and bytes written so far."""
        self.held: Held | None = None
        """Takes what is received behind a message whose coroutine waits, if it is messages only (`held.py`)."""

    def __call__(self, data: bytes | bytearray, size: int) -> None:
        """Answer the first `size` bytes of `data`."""
        answerer = self._answerer
        self.received_bytes += size
        if self.closed:
            self._leave(data, size, answerer(data, 0, 0))
            return
        frames = answerer(data, 0, size)
        if answerer.position < size or answerer.unanswered is not None or len(frames) > BATCH_LIMIT:
            if not self._handed_over(data, size, frames):
                self._leave(data, size, frames)
        elif frames:
            self._send(frames, answerer.count)

    def answer(self, id: int, reply: object) -> bool:
        """Answer a message whose coroutine has waited, and open; return False if that is left to the caller."""
        frame = self._waited_for(id, reply)
        if frame is None:
            return False
        self.closed = 0  # before the write, which may close it again
        self._send(frame, 0)
        return True

    def prepare(self, id: int, reply: object) -> bytes | None:
        """Return the frame of such an answer, noted but not written; None if that is left to the caller."""
        frame = self._waited_for(id, reply)
        if frame is not None:
            self._note(frame, 0)
            self.sent_bytes -= len(frame)  # the caller sends it
        return frame

    def send(self, frame: bytes) -> None:
        """Write a frame that `prepare` has returned."""
        self.sent_bytes += len(frame)
        self._write(frame)

    def _waited_for(self, id: int, reply: object) -> bytes | None:
        frame = self._answerer.frame(id, reply) if self.closed == WAITING else None
        return None if frame is None or len(frame) > BATCH_LIMIT else frame

    def _send(self, frames: bytes, count: int) -> None:
        self._note(frames, count)
        self._write(frames)

    def _note(self, frames: bytes, count: int) -> None:
        if not self._unsettled:  # the owner of the list has emptied it
            self.unsettled_bytes = 0
        self._unsettled += (frames, count)
        self.sent_bytes += len(frames)
        self.unsettled_bytes += len(frames) + PIECE_OVERHEAD
        if self.unsettled_bytes > self.unsettled_limit:
            self._settle()

    def _handed_over(self, data: bytes | bytearray, size: int, frames: bytes) -> bool:
        """Hand over a message whose coroutine waits, if nothing else is in the batch but what can be held."""
        answerer, unanswered = self._answerer, self._answerer.unanswered
        if unanswered is None or unanswered[3] is None or frames or self._wait is None or self.closed:
            return False
        behind = answerer.position < size
        if behind and (self.held is None or not self.held.hold_rest(data, answerer.position, size)):
            return False
        self.closed = WAITING
        answerer.unanswered = None  # no reference to it stays here
        self._wait(unanswered, answerer.began)
        return True


def _is_value(reply: object) -> bool:
    """Return whether a reply is a value, to be sent as JSON: no payload, and nothing to await or iterate."""
    if reply is None or isinstance(reply, str | bytes | bytearray | memoryview):
        return False
    return not any(hasattr(type(reply), name) for name in ("__await__", "__aiter__", "__anext__"))


__all__ = [
    "BATCH_LIMIT", "UNSETTLED_LIMIT", "WAITING", "Batch", "BatchAnswerer", "BatchResponder", "PythonBatchAnswerer",
    "PythonBatchResponder", "Stepping", "Unanswered", "Unsettled",
]  # fmt: skip

try:
    from antiphon.wire._batch import BatchAnswerer, BatchResponder
except ImportError:  # built without a compiler
    BatchAnswerer = PythonBatchAnswerer  # type: ignore[assignment,misc]
    BatchResponder = PythonBatchResponder  # type: ignore[assignment,misc]
