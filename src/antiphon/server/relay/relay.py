"""Relay: a client's connection of this process whose session has its home in another one.

The relay owns the socket, and passes bytes between it and the link to the home. Heartbeats, silence and deadlines
are the home's; what the relay keeps is bounded by the link's windows.
"""

from typing import Any

from antiphon.server.relay.link import Part, RelayLink
from antiphon.transport.contract import ServerTransport
from antiphon.wire.kinds import KIB

READ_LIMIT = 64 * KIB
"""Bytes of the client's that are read at once."""


class Relay:
    """The near end of a link (`LinkEnd`), and the `Receiver` of the client's transport."""

    __slots__ = ("_closed", "_connections", "_link", "_paused", "_transport", "_unreported", "home")

    def __init__(self, link: RelayLink, home: str, transport: ServerTransport, connections: set[Any]) -> None:
        """Take `transport` and `link` over: from now on they are two ends of one pipe.

        Args:
            link: the link, on which the home has admitted the client.
            home: id of the home's process.
            transport: the client's.
            connections: the open connections of this process; the relay is one of them until it is closed.
        """
        self._link = link
        self.home = home
        """Id of the process at the other end."""
        self._transport = transport
        self._connections = connections
        self._paused = False
        """The client does not take what is sent to it."""
        self._unreported = 0
        """Bytes written to the client's transport while it is paused."""
        self._closed = False
        connections.add(self)
        transport.set_write_buffer_limits(high=0)  # so that `resume_writing` says that the client has taken all
        transport.limit_reading(READ_LIMIT)
        transport.set_protocol(self)
        link.serve(self)

    # --- called by the client's transport (`Receiver`) ----------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Do nothing: it was made before."""

    def received(self, buffer: bytearray, size: int) -> None:
        """Pass bytes on; stop reading while the home does not take them."""
        self._link.send(memoryview(buffer)[:size])
        if self._link.queued:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Pass the end on; return whether the client can still be sent something."""
        self._link.say_behind(Part.EOF)
        return self._transport.can_half_close

    def peer_lags(self) -> None:
        """Do nothing: the home keeps the deadlines."""

    def pause_writing(self) -> None:
        """Note that the client does not take everything."""
        self._paused = True

    def resume_writing(self) -> None:
        """Report that the client has taken everything."""
        self._paused = False
        self._link.took(self._unreported)
        self._unreported = 0

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Close the link: so the home learns of it."""
        self._closed = True
        self._connections.discard(self)
        self._link.close()

    # --- called by the link (`LinkEnd`) -------------------------------------------------------------------------

    def data(self, data: bytearray) -> None:
        """Pass bytes on."""
        if self._closed:
            return
        self._transport.write(data)
        if self._paused:
            self._unreported += len(data)
        else:
            self._link.took(len(data))

    def credited(self) -> None:
        """Read on."""
        if not (self._link.queued or self._closed):
            self._transport.resume_reading()

    def said(self, part: Part, payload: bytes) -> None:  # noqa: ARG002 - no such part has one
        """End the connection as the home says."""
        if part is Part.CLOSE:
            self._transport.close()
        elif part is Part.EOF and self._transport.can_half_close:
            self._transport.write_eof()

    def lost(self) -> None:
        """Close the client's connection: its session can be resumed."""
        if not self._closed:
            self._transport.abort()

    # --- called by the server (`connection.host.Open`) ----------------------------------------------------------

    admitted = True
    rests_until = 0.0

    def count_bytes(self) -> None:
        """Count nothing: the home counts them."""

    def tick(self, now: float) -> None:  # noqa: ARG002 - the home keeps the deadlines
        """Report what the client has taken."""
        if self._unreported:
            waiting = self._transport.get_write_buffer_size()
            taken = max(0, self._unreported - waiting)
            self._unreported -= taken
            self._link.took(taken)
        self._link.report()

    def drain(self) -> None:
        """Have the home ask the client to say goodbye."""
        self._link.say(Part.DRAIN)

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
