"""The two calls that a socket is asked for all the time: take what has come, and send.

`Endpoint` is written twice: here, and in C (`_endpoint.c`), which is built where there is a compiler. Everything
else about a socket is its transport's.
"""

import os
import socket
from collections.abc import Callable

Buffer = bytes | bytearray | memoryview
_LATER = (BlockingIOError, InterruptedError)


class PythonEndpoint:
    """Has a socket that does not block read into a buffer that many share, and sends at once.

    Call it when the socket is readable: what has come is handed to `received` as the buffer and how many of its
    bytes hold; they are gone when that returns. The end of what comes, and an `OSError`, go to `ended` (None: the
    peer has sent its last byte), as does what `received` raises. What is written and cannot be sent now goes to
    `rest`, with the number of bytes that were sent. All who share a buffer run on one event loop.
    """

    __slots__ = ("_buffer", "_ended", "_rest", "_sock", "_spoke", "held", "received")

    def __init__(
        self,
        sock: socket.socket,
        buffer: bytearray,
        received: Callable[[bytearray, int], object],
        ended: Callable[[Exception | None], object],
        rest: Callable[[Buffer, int], object],
    ) -> None:
        """Begin; the socket stays open as long as this is used."""
        self._sock = sock
        self._buffer = buffer
        self.received = received
        """Who is handed what has come."""
        self._ended = ended
        self._rest = rest
        self.held = False
        """Whether all that is written goes to `rest`."""
        self._spoke = False
        """Something was written since this was called last: that finds a reset."""

    def __call__(self) -> None:
        """Take what has come.

        A reset that stands behind it is looked for: uvloop calls once where there is one, and never again.
        """
        try:
            size = self._sock.recv_into(self._buffer)
        except _LATER:
            return
        except OSError as error:
            self._ended(error)
            return
        if not size:
            self._ended(None)
            return
        self._spoke = False
        try:
            self.received(self._buffer, size)
            if not self._spoke and (code := self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                raise OSError(code, os.strerror(code))  # noqa: TRY301 - it ends as one of `recv_into` does
        except Exception as error:  # noqa: BLE001 - whatever it was, it ends this connection and no other
            self._ended(error)

    def write(self, data: Buffer) -> None:
        """Send at once."""
        self._spoke = True
        sent = 0
        if not self.held:
            try:
                sent = self.send(data)
            except OSError as error:
                self._ended(error)
                return
            if sent == len(data):
                return
        self._rest(data, sent)

    def write_framed(self, header: bytes, payload: str | bytes) -> None:
        """Do so with a header and the payload behind it (text goes out as UTF-8), which the twin does not copy."""
        self.write(header + (payload.encode() if isinstance(payload, str) else payload))

    def send(self, data: Buffer) -> int:
        """Send as much as the socket takes now; return how many bytes.

        Raises:
            OSError: the connection is no more.
        """
        try:
            return self._sock.send(data)
        except _LATER:
            return 0


__all__ = ["Buffer", "Endpoint", "PythonEndpoint"]

try:
    from antiphon.transport._endpoint import Endpoint
except ImportError:  # no compiler where it was installed
    Endpoint = PythonEndpoint  # type: ignore[assignment,misc]
