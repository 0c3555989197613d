"""Relay transport: the home's end of a relayed connection, as a `ServerTransport` over a link."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from antiphon.server.relay.link import Part, RelayLink
from antiphon.transport.contract import Receiver
from antiphon.transport.endpoint import Buffer
from antiphon.transport.plain import NO_EXTRA, WRITE_LIMIT

__all__ = ["RelayTransport"]


class RelayTransport(asyncio.Transport):
    """The client's connection, whose socket another process owns. It is the end of its link (`LinkEnd`)."""

    write_framed = None
    __slots__ = (
        "_closing", "_drain", "_eof", "_high", "_link", "_loop", "_paused", "_protocol", "_read", "_reading",
        "_receive", "can_half_close",
    )  # fmt: skip

    def __init__(
        self, link: RelayLink, protocol: Receiver, drain: Callable[[], None], *, can_half_close: bool
    ) -> None:
        """Take the link over and call `protocol.connection_made`.

        Args:
            link: the link, on which the far end has opened.
            protocol: the connection.
            drain: called when the relaying process stops.
            can_half_close: whether the client's connection can be closed in one direction.
        """
        extra: Mapping[str, Any] = NO_EXTRA
        super().__init__(extra)
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._protocol: Receiver | None = protocol
        self._receive: Callable[[bytearray, int], object] = protocol.received
        self._drain = drain
        self.can_half_close = can_half_close
        self._high = WRITE_LIMIT
        self._paused = False
        """The protocol was told to pause writing."""
        self._reading = True
        self._read = bytearray()
        """Bytes that came while the protocol did not read: at most the link's window."""
        self._eof = False
        """The client has sent its last byte; told to the protocol behind what was read."""
        self._closing = False
        protocol.connection_made(self)
        link.serve(self)

    # --- called by the link (`LinkEnd`) -------------------------------------------------------------------------

    def data(self, data: bytearray) -> None:
        """Hand bytes to the protocol, or keep them while it does not read."""
        if self._closing:
            self._link.took(len(data))
        elif self._reading and not self._read:
            self._receive(data, len(data))
            self._link.took(len(data))
        else:
            self._read += data

    def said(self, part: Part, payload: bytes) -> None:  # noqa: ARG002 - no such part has one
        """Take the end of the client's bytes, or the goodbye of the relaying process."""
        if part is Part.EOF:
            self._eof = True
            self._end_reading()
        elif part is Part.DRAIN:
            self._drain()

    def credited(self) -> None:
        """Resume the protocol once enough is taken."""
        if self._paused and self._link.queued <= self._high // 4:
            self._paused = False
            if self._protocol is not None:
                self._protocol.resume_writing()

    def lost(self) -> None:
        """Tell the protocol that its connection is gone."""
        protocol, self._protocol = self._protocol, None
        self._closing = True
        if protocol is not None:
            protocol.connection_lost(None)

    def _end_reading(self) -> None:
        if self._eof and not self._read and self._protocol is not None and not self._closing:
            self._eof = False
            if not self._protocol.eof_received():
                self.close()

    # --- called by the protocol (`ServerTransport`) -------------------------------------------------------------

    def set_protocol(self, protocol: Any) -> None:
        """Serve another receiver from now on."""
        self._protocol = protocol
        self._receive = protocol.received

    def hand_to(self, received: Callable[[bytearray, int], object]) -> None:
        """Call `received` with received bytes from now on, instead of the protocol."""
        self._receive = received

    def limit_reading(self, size: int) -> None:
        """Do nothing: the relaying process reads, and the window bounds it."""

    def pause_reading(self) -> None:
        """Keep what comes from now on."""
        self._reading = False

    def resume_reading(self) -> None:
        """Hand on what was kept, but not from within this call."""
        if not self._reading:
            self._reading = True
            if self._read or self._eof:
                self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if self._reading and self._read and not self._closing:
            data, self._read = self._read, bytearray()
            self._receive(data, len(data))
            self._link.took(len(data))
        self._end_reading()

    def write(self, data: Buffer) -> None:
        """Send bytes; what the client does not take waits here."""
        if self._closing:
            return
        self._link.send(data)
        if self._link.queued > self._high and not self._paused:
            self._paused = True
            if self._protocol is not None:
                self._protocol.pause_writing()

    def write_eof(self) -> None:
        """Close the sending direction after what was written."""
        self._link.say_behind(Part.EOF)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the client has not taken."""
        return self._link.untaken

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:  # noqa: ARG002 - a quarter
        """Set above how many bytes beyond the link's window the protocol is paused."""
        self._high = WRITE_LIMIT if high is None else high

    def is_closing(self) -> bool:
        """Return whether `close` or `abort` was called, or the link is lost."""
        return self._closing

    def close(self) -> None:
        """Have the relaying process close the client's connection after what was written."""
        if not self._closing:
            self._closing = True
            self._read.clear()
            self._link.say_behind(Part.CLOSE)

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self._link.abort()
