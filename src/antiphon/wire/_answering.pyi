from collections.abc import Callable
from typing import Any

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
    ) -> None: ...
    def __call__(self, data: bytes | bytearray, at: int, end: int) -> bytes: ...

class Shortcut:
    said: int
    def __init__(
        self,
        answerer: Answerer,
        fresh: list[bytes | int],
        settle: Callable[[], object],
        write: Callable[[bytes], object],
        otherwise: Callable[[bytes | bytearray, int, bytes], object],
    ) -> None: ...
    def __call__(self, data: bytes | bytearray, size: int) -> None: ...
