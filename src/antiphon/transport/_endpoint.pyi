import socket
from collections.abc import Callable

from antiphon.transport.endpoint import Buffer

class Endpoint:
    held: bool
    received: Callable[[bytearray, int], object]
    def __init__(
        self,
        sock: socket.socket,
        buffer: bytearray,
        received: Callable[[bytearray, int], object],
        ended: Callable[[Exception | None], object],
        rest: Callable[[Buffer, int], object],
    ) -> None: ...
    def __call__(self) -> None: ...
    def write(self, data: Buffer) -> None: ...
    def write_framed(self, header: bytes, payload: str | bytes) -> None: ...
    def send(self, data: Buffer) -> int: ...
