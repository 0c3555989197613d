"""The two calls that a socket, and TLS above it, is asked for all the time: take what has come, and send.

`Endpoint` and `Records` are written twice: here, and in C (`_endpoint.c`, `_records.c`), which is built
where there is a compiler. Everything else is their transports'.
"""

import os
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

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


class Tls(Protocol):
    """What is asked of an `ssl.SSLObject`, or of what is inside."""

    def read(self, size: int, buffer: bytearray | memoryview, /) -> int: ...
    def write(self, data: Buffer, /) -> int: ...


class PythonRecords:
    """Has TLS decrypt what has come, in the buffer that holds it, and encrypt what is written.

    Call it with whole records, as an `Endpoint` hands them over: what they say goes to `received` in the same way.
    Where there is more to do (half a record is left, a goodbye, something that TLS itself has to answer, an error)
    `left` is called instead, with the buffer, how many of its bytes hold, and the error. What is written goes to
    `send` in one piece, and an `OSError` of TLS to `failed`.
    """

    __slots__ = ("_failed", "_incoming", "_left", "_outgoing", "_send", "held", "received", "tls")

    def __init__(  # noqa: PLR0917 - one of each
        self,
        tls: Tls,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        received: Callable[[bytearray, int], object],
        left: Callable[[bytearray, int, BaseException | None], object],
        send: Callable[[bytes], object],
        failed: Callable[[OSError], object],
    ) -> None:
        """Use `tls`, which reads from `incoming` and writes to `outgoing`; others may share those."""
        self.tls: Tls | None = tls
        """None where nothing is left to do: all is held."""
        self._incoming = incoming
        self._outgoing = outgoing
        self.received = received
        """Who is handed what was said."""
        self._left = left
        self._send = send
        self._failed = failed
        self.held = False
        """Nothing more is written, and what comes is not looked at."""

    def __call__(self, buffer: bytearray, size: int) -> None:
        """Take the first `size` bytes of `buffer`, which is written over."""
        if self.held:
            return
        assert self.tls is not None
        said = 0
        with memoryview(buffer) as view:
            self._incoming.write(view[:size])
            try:
                while more := self.tls.read(len(view) - said, view[said:]):
                    said += more
                    if said == len(view) or not self._incoming.pending:  # a record is read to its end
                        break
            except BaseException as error:  # noqa: BLE001 - whatever it was, what is behind it must not stay
                self._left(buffer, said, error)
                return
        if not more or said == len(buffer) or self._outgoing.pending:
            self._left(buffer, said, None)
        else:
            self.received(buffer, said)

    def write(self, data: Buffer) -> None:
        """Encrypt `data`, and send it at once."""
        if self.held or not data:
            return
        assert self.tls is not None
        try:
            written = self.tls.write(data)
            while written < len(data):  # it takes a record at a time
                written += self.tls.write(memoryview(data)[written:])
        except OSError as error:
            self._failed(error)
        except BaseException:
            self._outgoing.read()  # others share it
            raise
        else:
            self._send(self._outgoing.read())


__all__ = ["Buffer", "Endpoint", "PythonEndpoint", "PythonRecords", "Records", "Tls"]

try:
    from antiphon.transport._endpoint import Endpoint, Records
except ImportError:  # no compiler where it was installed
    Endpoint = PythonEndpoint  # type: ignore[assignment,misc]
    Records = PythonRecords  # type: ignore[assignment,misc]
