"""A TCP socket as a transport of asyncio that sends at once and reads into a buffer shared with others.

The event loops' own transports put off each write to the end of a round of the loop and make an object of each
read; this one costs a message two system calls and little else. It promises what asyncio's documents say of them.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextvars import copy_context
from types import MappingProxyType
from typing import Any

from antiphon.transport.contract import Receiver
from antiphon.transport.endpoint import Buffer, Endpoint

READ_SIZE = 256 * 1024
"""Bytes of a buffer to share: what is taken of one connection before the next one has its turn."""
WRITE_LIMIT = 64 * 1024
"""Bytes that may wait before the protocol is asked to pause, if it does not say otherwise."""
NO_EXTRA: Mapping[str, Any] = MappingProxyType({})
"""What asyncio keeps for each transport otherwise: a dictionary of its own."""


_NOTHING = bytearray()
"""What waits where nothing does; never filled."""


def _nobody(buffer: bytearray, size: int) -> None:
    """Take nothing: who took it is gone."""


class PlainTransport(asyncio.Transport):
    """One connected socket, which it owns from here on; a `ServerTransport`."""

    can_half_close = True
    __slots__ = (
        "_closing", "_endpoint", "_eof", "_half_closed", "_high", "_loop", "_low", "_paused", "_protocol",
        "_reading", "_sock", "_unsent", "_variables", "write",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, protocol: Receiver, buffer: bytearray) -> None:
        """Tell `protocol` that it is connected, and read; `sock` must not block."""
        super().__init__(NO_EXTRA)
        self._loop = asyncio.get_running_loop()
        self._variables = copy_context()
        """In which the protocol is told everything; another session's handler may have us watch the socket."""
        self._sock = sock
        self._protocol = protocol
        self._endpoint = Endpoint(sock, buffer, protocol.received, self._ended, self._rest)
        self.write: Callable[[Buffer], None] = self._endpoint.write  # type: ignore[assignment] # no step between
        self._unsent = _NOTHING
        self._closing = False
        self._half_closed = False
        """`write_eof` was said."""
        self._eof = False
        """Nothing more comes."""
        self._reading = False
        self._paused = False
        """The protocol was asked to pause."""
        self.set_write_buffer_limits()
        protocol.connection_made(self)
        try:
            self.resume_reading()
        except OSError as error:  # the system watches no more sockets
            self._fail(error)

    # --- reading --------------------------------------------------------------------------------------------

    def hand_to(self, received: Callable[[bytearray, int], object]) -> None:
        """Hand what comes from now on to somebody else than the protocol."""
        self._endpoint.received = received

    def is_reading(self) -> bool:
        """Return whether what comes is taken."""
        return self._reading

    def pause_reading(self) -> None:
        """Leave what comes in the socket."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._sock)

    def resume_reading(self) -> None:
        """Take what comes."""
        if not (self._reading or self._eof or self._closing):
            self._reading = True
            self._variables.run(self._loop.add_reader, self._sock, self._endpoint)

    def _ended(self, error: Exception | None) -> None:
        """Hear that nothing more comes."""
        self.pause_reading()
        self._eof = True
        if error is not None:
            if not isinstance(error, OSError):  # the protocol's own fault
                self._loop.call_exception_handler(
                    {"message": "received failed", "exception": error, "transport": self}
                )
            self._fail(error)
        elif not self._protocol.eof_received():
            self.close()

    # --- writing --------------------------------------------------------------------------------------------

    def _rest(self, data: Buffer, sent: int) -> None:
        """Send what the socket has not taken as soon as it takes it."""
        if self._closing or self._half_closed:
            return
        if not self._unsent:
            self._unsent = bytearray()
            self._endpoint.held = True
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
                self._endpoint.held = False
        if self._paused and len(self._unsent) <= self._low:
            self._paused = False
            self._protocol.resume_writing()

    @property
    def write_framed(self) -> Callable[[bytes, str | bytes], None]:
        """What writes a header and the payload behind it."""
        return self._endpoint.write_framed

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the socket has not taken."""
        return len(self._unsent)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return at how many bytes the protocol may resume, and above how many it is asked to pause."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set both."""
        self._high = WRITE_LIMIT if high is None else high
        self._low = self._high // 4 if low is None else low

    def can_write_eof(self) -> bool:
        """Return that TCP can be closed in one direction."""
        return True

    def write_eof(self) -> None:
        """Close our direction behind what was written."""
        if not (self._closing or self._half_closed):
            self._half_closed = self._endpoint.held = True
            if not self._unsent:
                self._shut()

    def _shut(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._fail(error)

    # --- the end --------------------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Return whether it is closed, or will be."""
        return self._closing

    def close(self) -> None:
        """Close behind what was written."""
        if not self._closing:
            self.pause_reading()
            self._closing = self._endpoint.held = True
            if not self._unsent:
                self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        """Close at once; what waits is lost."""
        self._fail(None)

    def _fail(self, error: Exception | None) -> None:
        """Close at once, because of `error`."""
        self.pause_reading()
        if self._closing and not self._unsent:  # it is being lost already
            return
        self._closing = self._endpoint.held = True
        if self._unsent:
            self._unsent = _NOTHING
            self._loop.remove_writer(self._sock)
        self._loop.call_soon(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._sock.close()
            del self._protocol  # which holds us
            self._endpoint.received = _nobody

    # --- who is there ---------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the `socket`; nothing else is known here."""
        return self._sock if name == "socket" else default

    def get_protocol(self) -> Any:
        """Return who is told."""
        return self._protocol
