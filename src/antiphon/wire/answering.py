"""From all messages that have come to the frames of their answers, in one step.

Both classes are written twice: here, and in C (`_answering.c`, `_shortcut.c`), which is built where there is a
compiler and is many times as fast. Both leave whatever is out of the ordinary to `frames.py` and to the caller.
"""

from collections.abc import Callable, Coroutine
from contextvars import Context
from hmac import compare_digest
from types import CoroutineType
from typing import Any, NamedTuple, Protocol

from antiphon.wire.frames import COUNTED, HEADER, HEADER_SIZE, LENGTH_SIZE, Payload, encode_message
from antiphon.wire.kinds import COUNT_SIZE, KIB, TOKEN_SIZE, Flag, Kind

BATCH_LIMIT = 64 * KIB
"""Bytes of answers after which the caller looks whether the peer takes them."""

FRESH_LIMIT = 128 * KIB
"""Bytes of answers after which those are settled that took the shortcut; clients acknowledge after half of it."""

_MESSAGE = int(Kind.MESSAGE)
_TEXT = int(Flag.TEXT)
_LAST = int(Flag.LAST)
_UNKNOWN_FLAGS = 0xFF & ~(_TEXT | _LAST)
_SHORTEST = HEADER_SIZE + TOKEN_SIZE
_ACK_HEADER = HEADER.pack(COUNTED + TOKEN_SIZE + COUNT_SIZE, int(Kind.ACK), 0, 0, 0)
_ACK_SIZE = _SHORTEST + COUNT_SIZE
_unpack = HEADER.unpack_from


Left = tuple[int, object, BaseException | None, tuple[Any, object] | None]
"""Id of a message, what the service returned, what it raised; for a coroutine that waits, its task and what it waits
for."""


class Stepping(NamedTuple):
    """How a coroutine takes its first step: as the current task, in context variables of its own."""

    make: Callable[[], Any]
    """Makes a task. Its attributes `coroutine` and `variables` are set before the step. Its methods `returned(value)`
    and `raised(error)` end it after a step that was the last, if the coroutine has `touched` it. The twin
    in C uses a task again that is not touched and that nobody refers to."""
    enter: Callable[[Any, Any], object]
    """Makes a task the current task of `loop`."""
    leave: Callable[[Any, Any], object]
    """Undoes that."""
    loop: object
    variables: Context
    """Each coroutine gets a copy."""


class Taking(Protocol):
    """What a shortcut needs of an answerer."""

    at: int
    count: int
    left: Left | None
    answer_limit: int

    def __call__(self, data: bytes | bytearray, at: int, end: int, /) -> bytes:
        """See `PythonAnswerer`."""


class PythonAnswerer:
    """Gives a client's messages to a service that answers at once, and makes the frames of its answers.

    Call it with bytes as they came, the place of the first frame and the end of what may be looked at; it returns
    the frames of the answers, to be sent in order. It stops, at `at`, before a frame that is no whole message of
    this session as it should be (with the token, compared in constant time; with an id; of a size that is allowed;
    its text UTF-8), nor an ACK where `acknowledge` is given its count; where there are many answers; and behind a
    message that the service did not answer with text or bytes of a size that is allowed: `left` then holds its id,
    what the service gave, and what it raised. With `stepping` a coroutine takes its first step at once, in a task of
    its own, and what it returns is an answer; for one that waits, `left` holds its task and what it waits for.
    """

    __slots__ = (
        "_acknowledge",
        "_handle",
        "_largest",
        "_stepping",
        "_takes",
        "_token",
        "answer_limit",
        "at",
        "count",
        "left",
    )

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
    ) -> None:
        """Answer with `handle`, which takes `str`, `bytes` or (None) whatever was sent; limits are of payload."""
        if len(token) != TOKEN_SIZE:
            raise ValueError(f"a token has {TOKEN_SIZE} bytes")
        self._handle = handle
        self._takes = takes
        self._token = token
        self._largest = COUNTED + TOKEN_SIZE + message_limit
        self.answer_limit = answer_limit
        self._stepping = stepping
        self._acknowledge = acknowledge
        self.at = 0
        """Where in the bytes the first frame stands that is not answered."""
        self.count = 0
        """How many messages the service was given."""
        self.left: Left | None = None
        """The id, what the service gave, raised and waits for, where it was no answer."""

    def __call__(self, data: bytes | bytearray, at: int, end: int) -> bytes:
        """Answer what stands in `data` from `at` to `end`; return the frames."""
        self.at, self.count, self.left = at, 0, None
        answers: list[bytes] = []
        size = 0
        while end - self.at >= _SHORTEST and size < BATCH_LIMIT:
            start = self.at
            length, kind, flags, reserved, id = _unpack(data, start)
            behind = start + LENGTH_SIZE + length
            payload = start + _SHORTEST
            if (
                kind != _MESSAGE
                or flags & _UNKNOWN_FLAGS
                or reserved
                or not id
                or not payload <= behind <= end
                or length > self._largest
                or not compare_digest(bytes(data[start + HEADER_SIZE : payload]), self._token)
            ):
                if self._acknowledged(data, start, end):
                    continue
                break
            message = self._message(bytes(data[payload:behind]), is_text=bool(flags & _TEXT))
            if message is None:
                break
            self.at = behind
            self.count += 1
            answer = self._answer(id, message)
            if answer is None:
                break
            answers.append(answer)
            size += len(answer)
        return answers[0] if len(answers) == 1 else b"".join(answers)

    def _acknowledged(self, data: bytes | bytearray, start: int, end: int) -> bool:
        """Pass on the count of an ACK, if one stands there."""
        behind = start + _ACK_SIZE
        token = start + HEADER_SIZE
        if (
            self._acknowledge is None
            or behind > end
            or data[start:token] != _ACK_HEADER
            or not compare_digest(bytes(data[token : token + TOKEN_SIZE]), self._token)
        ):
            return False
        self._acknowledge(int.from_bytes(data[behind - COUNT_SIZE : behind], "big"))
        self.at = behind
        return True

    def _message(self, payload: bytes, *, is_text: bool) -> Payload | None:
        """Return a message as the service takes it; None where the caller has to look at it."""
        if not is_text:
            return None if self._takes is str else payload
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            return None
        return payload if self._takes is bytes else text

    def _answer(self, id: int, message: Payload) -> bytes | None:
        """Return the frame of the answer, or None where something is left."""
        reply: object = None
        waiting: tuple[Any, object] | None = None
        try:
            reply = self._handle(message)
            if self._stepping is not None and isinstance(reply, CoroutineType):
                reply, waiting = self._first_step(self._stepping, reply)
        except BaseException as error:  # noqa: BLE001 - the caller knows what to do with it
            self.left = id, None, error, None
            return None
        if waiting is None and (type(reply) is str or type(reply) is bytes):
            try:
                frame = encode_message(id, reply, _LAST)
            except UnicodeEncodeError:  # half a surrogate pair: the caller meets it again, and says so
                pass
            else:
                if len(frame) - HEADER_SIZE <= self.answer_limit:
                    return frame
        self.left = id, reply, None, waiting
        return None

    def _first_step(
        self, stepping: Stepping, coroutine: Coroutine[Any, Any, Any]
    ) -> tuple[object, tuple[Any, object] | None]:
        """Take the first step; return its result, or the coroutine with its task and what it waits for."""
        task = stepping.make()
        task.coroutine = coroutine
        task.variables = stepping.variables.copy()
        stepping.enter(stepping.loop, task)
        try:
            waits_for = task.variables.run(coroutine.send, None)
        except StopIteration as done:
            return task.returned(done.value) if task.touched else done.value, None
        except BaseException as error:
            if task.touched:
                task.raised(error)
            raise
        finally:
            stepping.leave(stepping.loop, task)
        return coroutine, (task, waits_for)


Fresh = bytes | tuple[bytes, Payload] | int
"""Frames, or the header and payload of one, and behind them how many messages they answer; 0: one that was counted
before."""

WAITS = 2
"""Held by nothing but a coroutine that waits."""


class PythonShortcut:
    """The shortest way from what a connection has read to what it writes, where nothing is out of the ordinary.

    Call it with what has come. When all of it is answered and little enough to go out in one piece, the frames are
    written, and put into `fresh`, with their number behind them, for whoever keeps them; now and then `settle` is
    called, to have that emptied. Else `otherwise` is called with the same and the frames of what was answered;
    the answerer knows the rest.
    """

    __slots__ = (
        "_answerer", "_fresh", "_otherwise", "_settle", "_unsettled", "_wait", "_write", "heard", "held", "said",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917 - one of each
        self,
        answerer: Taking,
        fresh: list[Fresh],
        settle: Callable[[], object],
        write: Callable[[bytes], object],
        otherwise: Callable[[bytes | bytearray, int, bytes], object],
        write_framed: Callable[[bytes, Payload], object] | None = None,  # noqa: ARG002 - for the twin
        wait: Callable[[Left], object] | None = None,
    ) -> None:
        """Begin with nothing said.

        With `write_framed` one large answer may be written, and noted, as its header and its payload, so that
        nobody has to copy it. Here that would gain nothing. `wait` is given the only message that has come, if its
        coroutine waits; it goes on with that, and calls `answer` in the end.
        """
        self._answerer = answerer
        self._fresh = fresh
        self._settle = settle
        self._unsettled = 0
        self._write = write
        self._otherwise = otherwise
        self._wait = wait
        self.held = 0
        """Whether everything goes another way: no, yes, or `WAITS`."""
        self.heard = self.said = 0
        """Bytes that came, and bytes that were written."""

    def __call__(self, data: bytes | bytearray, size: int) -> None:
        """Answer the first `size` bytes of `data`."""
        answerer = self._answerer
        self.heard += size
        if self.held:
            self._otherwise(data, size, answerer(data, 0, 0))
            return
        answers = answerer(data, 0, size)
        if answerer.at < size or answerer.left is not None or len(answers) > BATCH_LIMIT:
            if not self._waited_for(size, answers):
                self._otherwise(data, size, answers)
        elif answers:
            self._send(answers, answerer.count)

    def answer(self, id: int, reply: object) -> bool:
        """Answer a message whose coroutine has waited, if nothing has come or was said meanwhile, nor is odd now.

        Return whether it is answered: then the shortcut is free.
        """
        if self.held != WAITS or not (type(reply) is str or type(reply) is bytes):
            return False
        try:
            frame = encode_message(id, reply, _LAST)
        except UnicodeEncodeError:
            return False
        if len(frame) - HEADER_SIZE > self._answerer.answer_limit or len(frame) > BATCH_LIMIT:
            return False
        self.held = False  # before it is written, which may change it
        self._send(frame, 0)
        return True

    def _send(self, answers: bytes, count: int) -> None:
        if not self._fresh:  # whoever has settled what there was
            self._unsettled = 0
        self._fresh += (answers, count)
        self.said += len(answers)
        self._unsettled += len(answers)
        if self._unsettled > FRESH_LIMIT:
            self._settle()
        self._write(answers)

    def _waited_for(self, size: int, answers: bytes) -> bool:
        """Have a coroutine gone on with that waits, if that is all that has come."""
        answerer, left = self._answerer, self._answerer.left
        if self._wait is None or left is None or left[3] is None or self.held or answers or answerer.at < size:
            return False
        self.held = WAITS
        answerer.left = None  # nor is it held here any longer
        self._wait(left)
        return True


__all__ = [
    "BATCH_LIMIT", "FRESH_LIMIT", "WAITS", "Answerer", "Fresh", "Left", "PythonAnswerer", "PythonShortcut",
    "Shortcut", "Stepping", "Taking",
]  # fmt: skip

try:
    from antiphon.wire._answering import Answerer, Shortcut
except ImportError:  # no compiler where it was installed
    Answerer = PythonAnswerer  # type: ignore[assignment,misc]
    Shortcut = PythonShortcut  # type: ignore[assignment,misc]
