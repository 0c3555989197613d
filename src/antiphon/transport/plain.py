"""Plain TCP: a transport of asyncio that sends at once and reads into a shared buffer.

The event loops' own transports defer each write to the end of a round of the loop and make an object for each
read. This one costs a message two system calls and little else. It keeps what asyncio documents about transports.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextvars import copy_context
from types import MappingProxyType
from typing import Any

from antiphon.transport.contract import Fence, Receiver
from antiphon.transport.endpoint import Buffer, SocketEndpoint

READ_SIZE = 256 * 1024
"""Bytes of a shared buffer: the most that one read takes, unless `limit_reading` says less."""
WRITE_LIMIT = 64 * 1024
"""Unsent bytes above which the protocol is paused, by default."""
NO_EXTRA: Mapping[str, Any] = MappingProxyType({})
"""Shared by all transports; asyncio would keep a dictionary for each."""
_NOTHING = bytearray()
"""Stands for an empty queue; never filled."""


def _ignore(buffer: bytearray, size: int) -> None:
    """Ignore received bytes: the protocol is gone."""


class PlainTransport(asyncio.Transport):
    """A `ServerTransport` on one connected socket, which it owns."""

    can_half_close = True
    __slots__ = (
        "_closing", "_endpoint", "_eof", "_fence", "_half_closed", "_high", "_loop", "_low", "_paused",
        "_protocol", "_reading", "_sock", "_unsent", "_variables", "write",
    )  # fmt: skip

    def __init__(
        self, sock: socket.socket, protocol: Receiver, buffer: bytearray, fence: Fence | None = None
    ) -> None:
        """Call `protocol.connection_made` and start to read. Precondition: `sock` does not block.

        Nothing is read while `fence` is closed.
        """
        super().__init__(NO_EXTRA)
        self._loop = asyncio.get_running_loop()
        self._variables = copy_context()
        """Context in which the protocol is called: a handler of another session may resume reading or writing."""
        self._sock = sock
        self._protocol = protocol
        self._fence = fence
        if fence is None:
            self._endpoint = SocketEndpoint(sock, buffer, protocol.received, self._ended, self._queue)
        else:
            self._endpoint = SocketEndpoint(
                sock, buffer, protocol.received, self._ended, self._queue, fence.state, self._fenced
            )
        self.write: Callable[[Buffer], None] = self._endpoint.write  # type: ignore[assignment] # without a call in between
        self._unsent = _NOTHING
        self._closing = False
        self._half_closed = False
        """`write_eof` was called."""
        self._eof = False
        """The peer has sent its last byte."""
        self._reading = False
        self._paused = False
        """The protocol was told to pause writing."""
        self.set_write_buffer_limits()
        protocol.connection_made(self)
        try:
            self.resume_reading()
        except OSError as error:  # the system cannot watch the socket
            self._fail(error)

    # --- reading --------------------------------------------------------------------------------------------

    def hand_to(self, received: Callable[[bytearray, int], object]) -> None:
        """Call `received` with received bytes from now on, instead of the protocol."""
        self._endpoint.received = received

    def limit_reading(self, size: int) -> None:
        """Read at most `size` bytes at once from now on; 0 for as many as the buffer takes."""
        self._endpoint.read_limit = size

    def is_reading(self) -> bool:
        """Return whether the socket is read."""
        return self._reading

    def pause_reading(self) -> None:
        """Stop reading; bytes stay in the socket."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._sock)

    def resume_reading(self) -> None:
        """Read again."""
        if not (self._reading or self._eof or self._closing):
            self._reading = True
            self._variables.run(self._loop.add_reader, self._sock, self._endpoint)

    def set_protocol(self, protocol: Any) -> None:
        """Serve another `Receiver` from now on."""
        self._protocol = protocol
        self._endpoint.received = protocol.received

    def _fenced(self) -> bool:
        """Stop reading while the fence is closed; return whether it is."""
        assert self._fence is not None
        if self._fence.check():
            return False
        self._loop.remove_reader(self._sock)
        self._fence.wait(self._passed)
        return True

    def _passed(self) -> None:
        if self._reading:
            self._variables.run(self._loop.add_reader, self._sock, self._endpoint)

    def _ended(self, error: Exception | None) -> None:
        """Handle the end of the stream (None) or an error of it."""
        self.pause_reading()
        self._eof = True
        if error is not None:
            if not isinstance(error, OSError):  # raised by the protocol
                self._loop.call_exception_handler(
                    {"message": "received failed", "exception": error, "transport": self}
                )
            self._fail(error)
        elif not self._protocol.eof_received():
            self.close()

    # --- writing --------------------------------------------------------------------------------------------

    def _queue(self, data: Buffer, sent: int) -> None:
        """Queue what the socket has not taken, and send it as soon as the socket takes it."""
        if self._closing or self._half_closed:
            return
        if not self._unsent:
            self._unsent = bytearray()
            self._endpoint.queueing = True
            self._variables.run(self._loop.add_writer, self._sock, self._writable)
        self._unsent += memoryview(data)[sent:]
        if len(self._unsent) > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def _writable(self) -> None:
        try:
            del self._unsent[: self._endpoint.send(self._unsent)]
        except OSError as error:
            self._fail(error)
            return
        if not self._unsent:
            self._unsent = _NOTHING
            self._loop.remove_writer(self._sock)
            if self._closing:
                self._loop.call_soon(self._lose, None)
            elif self._half_closed:
                self._shut()
            else:
                self._endpoint.queueing = False
        if self._paused and len(self._unsent) <= self._low:
            self._paused = False
            self._protocol.resume_writing()

    @property
    def write_framed(self) -> Callable[[bytes, str | bytes], None]:
        """Function that writes a header and its payload."""
        return self._endpoint.write_framed

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are queued."""
        return len(self._unsent)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return up to how many queued bytes the protocol resumes, and above how many it pauses."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set both limits, in bytes."""
        self._high = WRITE_LIMIT if high is None else high
        self._low = self._high // 4 if low is None else low

    def can_write_eof(self) -> bool:
        """Return True: TCP can be closed in one direction."""
        return True

    def write_eof(self) -> None:
        """Close the sending direction after what was written."""
        if not (self._closing or self._half_closed):
            self._half_closed = self._endpoint.queueing = True
            if not self._unsent:
                self._shut()

    def _shut(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._fail(error)

    # --- the end --------------------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Return whether the transport is closed or closing."""
        return self._closing

    def close(self) -> None:
        """Close after what was written is sent."""
        if not self._closing:
            self.pause_reading()
            self._closing = self._endpoint.queueing = True
            if not self._unsent:
                self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        """Close at once; queued bytes are lost."""
        self._fail(None)

    def _fail(self, error: Exception | None) -> None:
        """Close at once, because of `error`."""
        self.pause_reading()
        if self._closing and not self._unsent:  # `_lose` is called already
            return
        self._closing = self._endpoint.queueing = True
        if self._unsent:
            self._unsent = _NOTHING
            self._loop.remove_writer(self._sock)
        self._loop.call_soon(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._sock.close()
            del self._protocol  # it refers to this transport
            self._endpoint.received = _ignore

    # --- information ----------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the `socket`; there is nothing else."""
        return self._sock if name == "socket" else default

    def get_protocol(self) -> Any:
        """Return the protocol."""
        return self._protocol
