import socket
import ssl
from collections.abc import Callable

from antiphon.transport.endpoint import Buffer, Tls

class SocketEndpoint:
    queueing: bool
    read_limit: int
    received: Callable[[bytearray, int], object]
    def __init__(
        self,
        sock: socket.socket,
        buffer: bytearray,
        received: Callable[[bytearray, int], object],
        ended: Callable[[Exception | None], object],
        unsent: Callable[[Buffer, int], object],
        fence: bytearray = ...,
        fenced: Callable[[], bool] = ...,
    ) -> None: ...
    def __call__(self) -> None: ...
    def write(self, data: Buffer) -> None: ...
    def write_framed(self, header: bytes, payload: str | bytes) -> None: ...
    def send(self, data: Buffer) -> int: ...

class RecordLayer:
    closed: bool
    received: Callable[[bytearray, int], object]
    tls: Tls | None
    def __init__(
        self,
        tls: Tls,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        received: Callable[[bytearray, int], object],
        leave: Callable[[bytearray, int, BaseException | None], object],
        send: Callable[[bytes], object],
        failed: Callable[[OSError], object],
    ) -> None: ...
    def __call__(self, buffer: bytearray, size: int) -> None: ...
    def write(self, data: Buffer) -> None: ...
