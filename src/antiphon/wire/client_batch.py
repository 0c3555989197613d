"""Client's batch: the frames of messages, and all answers in received bytes at once.

`docs/batch.md` holds the rules. Both functions exist twice: here, and in C (`_client.c`), which is built where
there is a compiler.
"""

from antiphon.errors import ProtocolError
from antiphon.wire import frames
from antiphon.wire.frames import HEADER_SIZE, Frame, Payload, read_frame
from antiphon.wire.kinds import Allowed, Flag, Kind

Answer = tuple[int, Payload]
"""The id of a message, and its only answer."""

_MESSAGE = int(Kind.MESSAGE)
_LAST = int(Flag.LAST)


def python_encode_message(id: int, message: Payload, token: bytes) -> bytes:
    """Return the frame of a message from the client.

    Raises:
        UnicodeEncodeError: the text holds half a surrogate pair.
    """
    return frames.encode_message(id, message, token=token)


def python_read_answers(data: bytes | bytearray, position: int, end: int, limit: int) -> tuple[list[Answer], int]:
    """Return the answers from `position` on, and where the first frame begins that was not read.

    Nothing is refused: what is no answer of its own, of at most `limit` bytes, is left to the caller.
    """
    allowed = {_MESSAGE: Allowed(0, limit)}
    answers: list[Answer] = []
    while end - position >= HEADER_SIZE:
        try:
            frame, after = read_frame(data, position, end, allowed, b"")
        except ProtocolError:
            break
        if type(frame) is not Frame or frame.kind != _MESSAGE or not frame.id or not frame.flags & _LAST:
            break
        answers.append((frame.id, frame.payload))
        position = after
    return answers, position


__all__ = ["Answer", "encode_message", "python_encode_message", "python_read_answers", "read_answers"]

try:
    from antiphon.wire._batch import encode_message, read_answers
except ImportError:  # built without a compiler
    encode_message = python_encode_message
    read_answers = python_read_answers
