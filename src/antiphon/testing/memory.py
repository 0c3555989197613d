"""A connection without a socket: two transports that hand each other bytes, one step of the event loop later."""

import asyncio
from collections.abc import Callable

from antiphon.wire.kinds import KIB

PIECE = 64 * KIB
"""Bytes that are handed over in one step, at the most."""
HIGH_WATER = 64 * KIB
"""Bytes that may wait for the other side before a protocol is told to pause, unless it says how many."""


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
        """What was written, and the other side has not read."""
        self._ended = False
        """Nothing more is written."""
        self._end_told = False
        self._closing = False
        self._gone = False
        self.reading = True
        self._high = HIGH_WATER
        self._full = False
        self._due = False
        """A step is to come."""

    @classmethod
    def join(cls, one: asyncio.Protocol, other: asyncio.Protocol) -> None:
        """Connect two protocols of this event loop; `one` is told first, as who accepts a connection is."""
        ends = cls(one), cls(other)
        ends[0].other, ends[1].other = ends[1], ends[0]
        for end in ends:
            end.protocol.connection_made(end)

    # --- called by this side's protocol ---------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Have the other side read `data`."""
        if self._ended:
            return
        self._unread += data
        self.step_soon()
        if len(self._unread) > self._high and not self._full:
            self._full = True
            self.protocol.pause_writing()

    def can_write_eof(self) -> bool:
        """Return that it can, as plain TCP can."""
        return True

    def write_eof(self) -> None:
        """Tell the other side, behind what was written, that nothing more comes."""
        self._ended = True
        self.step_soon()

    def close(self) -> None:
        """Read no more, and be gone once the other side has read everything."""
        self._closing = True
        self.write_eof()
        self.other.step_soon()

    def abort(self) -> None:
        """Be gone at once; what the other side has not read is lost."""
        self._unread.clear()
        self.close()
        self._lose()

    def hand_to(self, received: Callable[[bytearray, int], object]) -> None:
        """Hand bytes to `received` from now on, and not to the protocol."""
        self.received = lambda data: received(bytearray(data), len(data))

    def is_closing(self) -> bool:
        """Return whether the end has begun."""
        return self._closing

    def is_reading(self) -> bool:
        """Return whether this side takes what comes."""
        return self.reading and not self._closing

    def pause_reading(self) -> None:
        """Leave what comes with the other side."""
        self.reading = False

    def resume_reading(self) -> None:
        """Take what comes."""
        self.reading = True
        self.other.step_soon()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:  # noqa: ARG002 - half
        """Pause the protocol when more than `high` bytes wait; it goes on when half of them are read."""
        self._high = HIGH_WATER if high is None else high

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the other side has not read."""
        return len(self._unread)

    # --- steps of the event loop ----------------------------------------------------------------------------

    def step_soon(self) -> None:
        """Hand over what there is, but not from within this call."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self._step)

    def _step(self) -> None:
        """Hand over one piece, or behind the last one the end; be gone when there is nothing left to hand over."""
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
            except Exception as error:  # noqa: BLE001 - whatever it is, the event loop tells of it
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
