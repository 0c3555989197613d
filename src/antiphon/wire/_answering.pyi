from collections.abc import Callable
from typing import Any

from antiphon.wire.answering import Fresh, Left, Stepping
from antiphon.wire.frames import Payload

class Answerer:
    at: int
    count: int
    left: Left | None
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
    ) -> None: ...
    def __call__(self, data: bytes | bytearray, at: int, end: int) -> bytes: ...

class Shortcut:
    heard: int
    held: int
    said: int
    def __init__(
        self,
        answerer: Answerer,
        fresh: list[Fresh],
        settle: Callable[[], object],
        write: Callable[[bytes], object],
        otherwise: Callable[[bytes | bytearray, int, bytes], object],
        write_framed: Callable[[bytes, Payload], object] | None = None,
        wait: Callable[[Left], object] | None = None,
    ) -> None: ...
    def __call__(self, data: bytes | bytearray, size: int) -> None: ...
    def answer(self, id: int, reply: object) -> bool: ...
