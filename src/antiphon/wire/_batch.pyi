from collections.abc import Callable
from typing import Any

from antiphon.wire.batch import Stepping, Unanswered, Unsettled
from antiphon.wire.frames import Payload
from antiphon.wire.held import Holding
from antiphon.wire.times import Times

class BatchAnswerer:
    began: float
    count: int
    position: int
    seconds: float
    turn_seconds: float
    unanswered: Unanswered | None
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
    ) -> None: ...
    def __call__(self, data: bytes | bytearray, position: int, end: int) -> bytes: ...

class BatchResponder:
    closed: int
    held: HeldMessages | None
    received_bytes: int
    sent_bytes: int
    unsettled_bytes: int
    unsettled_limit: int
    def __init__(
        self,
        answerer: BatchAnswerer,
        unsettled: list[Unsettled],
        settle: Callable[[], object],
        write: Callable[[bytes], object],
        leave: Callable[[bytes | bytearray, int, bytes], object],
        write_framed: Callable[[bytes, Payload], object] | None = None,
        wait: Callable[[Unanswered, float], object] | None = None,
    ) -> None: ...
    def __call__(self, data: bytes | bytearray, size: int) -> None: ...
    def answer(self, id: int, reply: object) -> bool: ...
    def prepare(self, id: int, reply: object) -> bytes | None: ...
    def send(self, frame: bytes) -> None: ...

class HeldMessages:
    alone: int
    at_once: int
    messages: int
    def __init__(self, answerer: BatchAnswerer, responder: BatchResponder, holding: Holding) -> None: ...
    def hold(self, data: bytes, messages: int) -> None: ...
    def hold_rest(self, data: bytes | bytearray, position: int, end: int) -> bool: ...
    def write_late(self) -> None: ...
    def take(self) -> bytes: ...
    def answer(self, id: int, reply: object) -> bool: ...

def encode_message(id: int, message: Payload, token: bytes, /) -> bytes: ...
def read_answers(
    data: bytes | bytearray, position: int, end: int, limit: int, /
) -> tuple[list[tuple[int, Payload]], int]: ...
