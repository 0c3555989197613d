"""`MemoryTransport`: a connection without a socket, whose two ends pass bytes through the event loop."""

import asyncio
from collections.abc import Callable
from typing import Any

from antiphon.wire.kinds import KIB

PIECE = 64 * KIB
"""Most bytes passed in one step."""
HIGH_WATER = 64 * KIB
"""Default of bytes that may wait for the other side before a protocol is told to pause."""


class MemoryTransport(asyncio.Transport):
    """One end of a connection; `join` makes both.

    It keeps what a TCP transport of asyncio keeps: order, half-close, `pause_writing` while the other side does
    not read, and `connection_lost` once, never from within a call of the protocol's own. It is a
    `ServerTransport`.
    """

    can_half_close = True
    write_framed = None

    def __init__(self, protocol: asyncio.Protocol) -> None:
        """Carry what `protocol` writes."""
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self.protocol = protocol
        self.received: Callable[[bytes], object] = protocol.data_received
        """What takes the bytes that the other side has written."""
        self.other: MemoryTransport
        self._unread = bytearray()
        """Bytes written that the other side has not read."""
        self._ended = False
        """Whether this side has ended its output (half-close)."""
        self._end_told = False
        self._closing = False
        self._gone = False
        self.reading = True
        self._high = HIGH_WATER
        self._full = False
        self._due = False
        """Whether `_step` is scheduled."""

    @classmethod
    def join(cls, one: asyncio.Protocol, other: asyncio.Protocol) -> None:
        """Connect two protocols in this event loop; `one`, the accepting side, gets `connection_made` first."""
        ends = cls(one), cls(other)
        ends[0].other, ends[1].other = ends[1], ends[0]
        for end in ends:
            end.protocol.connection_made(end)

    # --- called by this side's protocol ---------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data` to the other side."""
        if self._ended:
            return
        self._unread += data
        self.step_soon()
        if len(self._unread) > self._high and not self._full:
            self._full = True
            self.protocol.pause_writing()

    def can_write_eof(self) -> bool:
        """Return True, as for plain TCP."""
        return True

    def write_eof(self) -> None:
        """End the output: the other side gets `eof_received` after the bytes written."""
        self._ended = True
        self.step_soon()

    def close(self) -> None:
        """Stop reading, and end the connection when the other side has read everything."""
        self._closing = True
        self.write_eof()
        self.other.step_soon()

    def abort(self) -> None:
        """End the connection at once; bytes that the other side has not read are lost."""
        self._unread.clear()
        self.close()
        self._lose()

    def limit_reading(self, size: int) -> None:
        """Do nothing: both ends are in one program."""

    def set_protocol(self, protocol: Any) -> None:
        """Serve another protocol from now on."""
        self.protocol = protocol
        self.received = lambda data: protocol.received(bytearray(data), len(data))

    def hand_to(self, received: Callable[[bytearray, int], object]) -> None:
        """Hand bytes to `received` from now on, and not to the protocol."""
        self.received = lambda data: received(bytearray(data), len(data))

    def is_closing(self) -> bool:
        """Return whether `close` or `abort` was called."""
        return self._closing

    def is_reading(self) -> bool:
        """Return whether this side reads."""
        return self.reading and not self._closing

    def pause_reading(self) -> None:
        """Stop reading; bytes wait on the other side."""
        self.reading = False

    def resume_reading(self) -> None:
        """Read again."""
        self.reading = True
        self.other.step_soon()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:  # noqa: ARG002 - half
        """Pause the protocol when more than `high` bytes wait; resume it when at most half of them are left."""
        self._high = HIGH_WATER if high is None else high

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the other side has not read."""
        return len(self._unread)

    # --- steps of the event loop ----------------------------------------------------------------------------

    def step_soon(self) -> None:
        """Schedule a step; nothing is passed from within this call."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self._step)

    def _step(self) -> None:
        """Pass one piece, or the end of the output after the last one; then end a connection that is closing."""
        self._due = False
        other = self.other
        if other.is_closing():
            self._unread.clear()
            self._end_told = self._ended
        elif not other.reading:
            return
        elif self._unread:
            data = bytes(self._unread[:PIECE])
            del self._unread[:PIECE]
            try:
                other.received(data)
            except Exception as error:  # noqa: BLE001 - reported to the event loop's handler, as asyncio does
                told = {"message": "data_received failed", "exception": error, "protocol": other.protocol}
                self._loop.call_exception_handler(told)
                other.abort()
        elif self._ended and not self._end_told:
            self._end_told = True
            if not other.protocol.eof_received():
                other.close()
        if self._full and len(self._unread) <= self._high // 2:
            self._full = False
            self.protocol.resume_writing()
        if self._unread or self._end_told != self._ended:
            self.step_soon()
        elif self._closing:
            self._lose()

    def _lose(self) -> None:
        if not self._gone:
            self._gone = True
            self._loop.call_soon(self.protocol.connection_lost, None)
