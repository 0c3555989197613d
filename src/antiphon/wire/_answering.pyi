from collections.abc import Callable
from typing import Any

from antiphon.wire.answering import Fresh, Stepping
from antiphon.wire.frames import Payload

class Answerer:
    at: int
    count: int
    left: tuple[int, object, BaseException | None, tuple[object] | None] | None
    def __init__(
        self,
        handle: Callable[[Any], object],
        takes: type | None,
        token: bytes,
        message_limit: int,
        answer_limit: int,
        *,
        steps: bool = False,
        acknowledge: Callable[[int], object] | None = None,
    ) -> None: ...
    def __call__(self, data: bytes | bytearray, at: int, end: int) -> bytes: ...

class Shortcut:
    heard: int
    held: int
    said: int
    turn: Any
    def __init__(
        self,
        answerer: Answerer,
        fresh: list[Fresh],
        settle: Callable[[], object],
        write: Callable[[bytes], object],
        otherwise: Callable[[bytes | bytearray, int, bytes], object],
        write_framed: Callable[[bytes, Payload], object] | None = None,
        stepping: Stepping | None = None,
    ) -> None: ...
    def __call__(self, data: bytes | bytearray, size: int) -> None: ...
    def answer(self, id: int, reply: object) -> bool: ...
