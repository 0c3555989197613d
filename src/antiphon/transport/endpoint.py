"""The calls that happen for every message: read and send on a socket, decrypt and encrypt above it.

`SocketEndpoint` and `RecordLayer` exist twice: here, and in C (`_endpoint.c`, `_records.c`), which is built where
there is a compiler. Everything else is done by the transports, `plain.py` and `tls.py`.
"""

import os
import socket
import ssl
import time
from collections.abc import Callable
from typing import Protocol

Buffer = bytes | bytearray | memoryview
FENCE_SIZE = 16
"""Bytes of two doubles."""
FROZEN_SECONDS = 2.0
"""Seconds that a process may not have run before its fence must be asked."""
_TRY_LATER = (BlockingIOError, InterruptedError)


class PythonSocketEndpoint:
    """Reads from a non-blocking socket into a buffer that connections share, and sends at once.

    Call it when the socket is readable: it calls `received` with the buffer and the number of bytes in it, which
    are overwritten after that. It calls `ended` with None after the peer's last byte, and with an `OSError` or an
    exception of `received`. Bytes that cannot be sent now go to `unsent`, with the number of bytes that were sent.
    All endpoints with one buffer run on one event loop.
    """

    __slots__ = (
        "_buffer", "_ended", "_fence", "_fenced", "_sock", "_unsent", "_wrote", "queueing", "read_limit",
        "received",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917 - one of each
        self,
        sock: socket.socket,
        buffer: bytearray,
        received: Callable[[bytearray, int], object],
        ended: Callable[[Exception | None], object],
        unsent: Callable[[Buffer, int], object],
        fence: bytearray | None = None,
        fenced: Callable[[], bool] | None = None,
    ) -> None:
        """Use `sock`, which the caller keeps open while the endpoint is used.

        `fence` holds two doubles (`server.home.fence.Fence.state`). After a time in which the process has not run,
        `fenced` is called before anything is read; nothing is if it returns True.
        """
        self._sock = sock
        if (fence is None) != (fenced is None) or (fence is not None and len(fence) < FENCE_SIZE):
            raise TypeError("a fence is a bytearray of two doubles, and comes with a function")
        self._fence = None if fence is None else memoryview(fence).cast("d")
        self._fenced = fenced
        self._buffer = buffer
        self.received = received
        """Function that takes received bytes."""
        self._ended = ended
        self._unsent = unsent
        self.queueing = False
        """Whether everything written goes to `unsent`."""
        self.read_limit = 0
        """Bytes that are read at once, at most the buffer; 0 for the whole buffer."""
        self._wrote = False
        """Whether anything was written since the last read: writing finds a reset."""

    def __call__(self) -> None:
        """Read what the socket holds.

        A reset behind the bytes is looked for: uvloop reports one only once.
        """
        if self._is_fenced():
            return
        try:
            size = self._sock.recv_into(self._buffer, min(self.read_limit, len(self._buffer)))
        except _TRY_LATER:
            return
        except OSError as error:
            self._ended(error)
            return
        if not size:
            self._ended(None)
            return
        self._wrote = False
        try:
            self.received(self._buffer, size)
            if not self._wrote and (code := self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                raise OSError(code, os.strerror(code))  # noqa: TRY301 - reported as one of `recv_into` is
        except Exception as error:  # noqa: BLE001 - it ends this connection and no other
            self._ended(error)

    def _is_fenced(self) -> bool:
        """Return whether nothing may be read because the process has not run for a while."""
        if self._fence is None or not self._fence[0]:
            return False
        now = time.monotonic()
        if now - self._fence[0] <= FROZEN_SECONDS and not self._fence[1]:
            self._fence[0] = now
            return False
        return self._fenced is not None and self._fenced()

    def write(self, data: Buffer) -> None:
        """Send bytes at once."""
        self._wrote = True
        sent = 0
        if not self.queueing:
            try:
                sent = self.send(data)
            except OSError as error:
                self._ended(error)
                return
            if sent == len(data):
                return
        self._unsent(data, sent)

    def write_framed(self, header: bytes, payload: str | bytes) -> None:
        """Write a header and its payload (text as UTF-8), which the twin in C does not copy."""
        self.write(header + (payload.encode() if isinstance(payload, str) else payload))

    def send(self, data: Buffer) -> int:
        """Send as much as the socket takes now; return how many bytes.

        Raises:
            OSError: the connection is lost.
        """
        try:
            return self._sock.send(data)
        except _TRY_LATER:
            return 0


class Tls(Protocol):
    """What a record layer uses of an `ssl.SSLObject`, or of the C object inside it."""

    def read(self, size: int, buffer: bytearray | memoryview, /) -> int: ...
    def write(self, data: Buffer, /) -> int: ...


class PythonRecordLayer:
    """Decrypts received TLS records in their own buffer, and encrypts what is written.

    Call it as a `SocketEndpoint` calls `received`; it calls its own `received` with the same buffer and the number
    of decrypted bytes. If anything else is to be done (half a record is left, TLS is closed, TLS itself has bytes
    to send, an error), it calls `leave` instead: buffer, number of decrypted bytes, error. Encrypted bytes go to
    `send` in one piece, an `OSError` of TLS in writing to `failed`.
    """

    __slots__ = ("_failed", "_incoming", "_leave", "_outgoing", "_send", "closed", "received", "tls")

    def __init__(  # noqa: PLR0917 - one of each
        self,
        tls: Tls,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        received: Callable[[bytearray, int], object],
        leave: Callable[[bytearray, int, BaseException | None], object],
        send: Callable[[bytes], object],
        failed: Callable[[OSError], object],
    ) -> None:
        """Use `tls`, which reads from `incoming` and writes to `outgoing`; connections may share both."""
        self.tls: Tls | None = tls
        """None once the connection is lost; then `closed` is set."""
        self._incoming = incoming
        self._outgoing = outgoing
        self.received = received
        """Function that takes decrypted bytes."""
        self._leave = leave
        self._send = send
        self._failed = failed
        self.closed = False
        """Whether nothing more is written, and received bytes are ignored."""

    def __call__(self, buffer: bytearray, size: int) -> None:
        """Decrypt the first `size` bytes of `buffer`, in place."""
        if self.closed:
            return
        assert self.tls is not None
        decrypted = 0
        with memoryview(buffer) as view:
            self._incoming.write(view[:size])
            try:
                while more := self.tls.read(len(view) - decrypted, view[decrypted:]):
                    decrypted += more
                    if decrypted == len(view) or not self._incoming.pending:  # TLS reads a record to its end
                        break
            except BaseException as error:  # noqa: BLE001 - whatever it is, the bytes after it must not stay
                self._leave(buffer, decrypted, error)
                return
        if not more or decrypted == len(buffer) or self._outgoing.pending:
            self._leave(buffer, decrypted, None)
        else:
            self.received(buffer, decrypted)

    def write(self, data: Buffer) -> None:
        """Encrypt bytes and send them at once."""
        if self.closed or not data:
            return
        assert self.tls is not None
        try:
            written = self.tls.write(data)
            while written < len(data):  # it takes a record at a time
                written += self.tls.write(memoryview(data)[written:])
        except OSError as error:
            self._failed(error)
        except BaseException:
            self._outgoing.read()  # other connections share the buffer
            raise
        else:
            self._send(self._outgoing.read())


__all__ = ["Buffer", "PythonRecordLayer", "PythonSocketEndpoint", "RecordLayer", "SocketEndpoint", "Tls"]

try:
    from antiphon.transport._endpoint import RecordLayer, SocketEndpoint
except ImportError:  # built without a compiler
    RecordLayer = PythonRecordLayer  # type: ignore[assignment,misc]
    SocketEndpoint = PythonSocketEndpoint  # type: ignore[assignment,misc]
