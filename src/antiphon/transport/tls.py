"""TLS between a connection and its plain transport, in memory that all connections of an event loop share.

The event loops' own TLS keeps buffers for each connection, and hides how much the peer has not taken. Sockets
belong to the transport below, deadlines to the connection.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

from antiphon.transport.contract import SecureReceiver, ServerTransport
from antiphon.transport.endpoint import Buffer, RecordLayer
from antiphon.transport.handshake import FIRST_BYTES, ClosedEarly
from antiphon.transport.plain import NO_EXTRA
from antiphon.wire.kinds import KIB

RECORD = 16 * KIB
"""Bytes of payload in one record, at most (RFC 8446, 5.1)."""
ANSWERS_LIMIT = 512 * KIB
"""Bytes that may be queued for a peer that makes TLS itself answer (by a key update) and reads nothing; with more,
the connection is cut. The limit is above what a connection queues for a slow peer."""


class SharedBuffers:
    """The buffers that OpenSSL reads and writes: one pair for all connections, empty between calls.

    Bytes of one connection that reached another could not be decrypted there, and would end it.
    """

    __slots__ = ("incoming", "outgoing")

    def __init__(self) -> None:
        """Start empty."""
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """One end of TLS: a protocol to the plain transport below, a `ServerTransport` to the protocol above.

    `connection_made` of the protocol above is called after the handshake, `connection_lost` only if that was
    called.
    """

    can_half_close = False
    """TLS has no half-close: bytes sent after the peer's close_notify are lost."""
    write_framed = None

    __slots__ = ("_above", "_below", "_incoming", "_opening", "_outgoing", "_records", "_tls", "first", "write")

    def __init__(
        self, context: ssl.SSLContext, buffers: SharedBuffers, above: SecureReceiver, *, server_side: bool = True
    ) -> None:
        """Use the certificate and settings of `context`; `above` is the protocol of the decrypted bytes.

        Without `server_side` it is the client's end, which begins the handshake.
        """
        super().__init__(NO_EXTRA)
        self._incoming = buffers.incoming
        self._outgoing = buffers.outgoing
        self._tls = context.wrap_bio(buffers.incoming, buffers.outgoing, server_side=server_side)
        self._above = above
        self._below: ServerTransport = None  # type: ignore[assignment] # set by `connection_made`
        self._records: RecordLayer = None  # type: ignore[assignment] # likewise
        self.write: Callable[[Buffer], None]  # type: ignore[assignment] # likewise; without a call in between
        self._opening: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()
        """The end of the handshake; None when it is done."""
        self.first = b""
        """The first bytes from the client, up to `FIRST_BYTES`, while the handshake is not done."""

    async def opened(self) -> None:
        """Wait until the handshake is done.

        Raises:
            OSError: the handshake has failed (`ssl.SSLError`), or the connection is lost.
        """
        if self._opening is not None:
            await self._opening

    def peer_certificate(self) -> bytes | None:
        """Return the certificate that the peer has shown, as DER. Precondition: the handshake is done."""
        return self._tls.getpeercert(binary_form=True)

    # --- called by the transport below ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake, or wait for the client, which begins it."""
        self._below = cast("ServerTransport", transport)
        tls: Any = getattr(self._tls, "_sslobj", self._tls)  # the wrapper costs a Python call each time
        received, send = self._above.received, self._below.write
        self._records = RecordLayer(tls, self._incoming, self._outgoing, received, self._read_on, send, self._fail)
        self.write = self._records.write
        if not self._tls.server_side:
            self._shake_hands()

    def data_received(self, data: bytes) -> None:
        """Take received bytes."""
        self.received(bytearray(data), len(data))

    def received(self, buffer: bytearray, size: int) -> None:
        """Take the first `size` bytes of `buffer`, which is overwritten."""
        if self._opening is None:
            self._records(buffer, size)
        elif not self._records.closed:
            with memoryview(buffer) as view:
                if len(self.first) < FIRST_BYTES:
                    self.first += bytes(view[: min(size, FIRST_BYTES - len(self.first))])
                self._incoming.write(view[:size])
            self._shake_hands()

    def hand_to(self, received: Callable[[bytearray, int], object]) -> None:
        """Call `received` with decrypted bytes from now on, instead of the protocol."""
        self._records.received = received

    def set_protocol(self, protocol: Any) -> None:
        """Serve another `Receiver` from now on."""
        self._above = protocol
        self._records.received = protocol.received

    def eof_received(self) -> bool:
        """Close the connection: TLS announces its end before the bytes end."""
        self._records.closed = True
        if self._opening is not None and not self._opening.done():
            self._opening.set_exception(ClosedEarly())
        return False

    def pause_writing(self) -> None:
        """Pause the protocol above, if it has been told of the connection."""
        if self._opening is None:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        """Resume the protocol above."""
        self._above.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free what OpenSSL keeps; tell the protocol above, or whoever waits for the handshake."""
        self._records.closed = True
        self._records.tls = None
        del self._tls
        if self._opening is None:
            self._above.connection_lost(exc)
        elif not self._opening.done():
            self._opening.set_exception(exc or ConnectionResetError())

    # --- bytes in -------------------------------------------------------------------------------------------

    def _shake_hands(self) -> None:
        """Take a step of the handshake; after the last one, start the protocol above."""
        assert self._opening is not None
        done = True
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            done = False
        except ssl.SSLError as error:
            self._fail(error)
            return
        finally:
            rest = self._incoming.read()
            self._answer()
        if not done or self._opening.done():
            return
        self._opening.set_result(None)
        self._opening = None
        self.first = b""
        self._below.hand_to(self._records)
        self._above.connection_made(self)
        if rest:
            self.data_received(rest)

    def _read_on(self, buffer: bytearray, decrypted: int, problem: BaseException | None) -> None:
        """Do what a record layer leaves: hand on what is decrypted, then handle an error or the end."""
        parts = []
        ended = False
        try:
            if problem is None:
                while part := self._tls.read(RECORD):
                    parts.append(part)
                ended = True
            elif not isinstance(problem, ssl.SSLWantReadError):
                raise problem
        except ssl.SSLWantReadError:  # half a record
            pass
        except ssl.SSLError as error:
            self._fail(error)
            return
        finally:
            if self._incoming.pending:  # after an error or close_notify
                self._incoming.read()
            self._answer()
        if self._records.closed:
            return
        if parts:
            buffer = bytearray().join([memoryview(buffer)[:decrypted], *parts])
            decrypted = len(buffer)
        if decrypted:
            self._records.received(buffer, decrypted)
        if ended and not self._above.eof_received():
            self.close()

    def _answer(self) -> None:
        """Send bytes of TLS itself, if there are any."""
        if self._outgoing.pending:
            self._below.write(self._outgoing.read())
            queued = self._below.get_write_buffer_size()
            if queued > ANSWERS_LIMIT:
                self.abort()
            elif queued and self._opening is None:
                self._above.peer_lags()

    def _fail(self, error: OSError) -> None:
        """Close after an error, with the alert that OpenSSL has written."""
        self._records.closed = True
        self._below.write(self._outgoing.read())
        self._below.close()
        if self._opening is not None and not self._opening.done():
            self._opening.set_exception(error)

    # --- called by the protocol above -----------------------------------------------------------------------

    def close(self) -> None:
        """Send close_notify, and close after the peer's last byte; if none comes, call `abort`.

        Closing earlier would send a reset, which discards what the peer has not read yet.
        """
        if self._records.closed or self._below.is_closing():
            return
        self._records.closed = True
        ended = True
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            ended = False
        except ssl.SSLError:
            pass
        finally:
            self._below.write(self._outgoing.read())
        if ended:
            self._below.close()
        else:
            self._below.write_eof()
            self._below.resume_reading()

    def abort(self) -> None:
        """Close at once, also during the handshake."""
        if self._opening is not None:
            self._opening.cancel()
        if self._below is not None:
            self._records.closed = True
            self._below.abort()

    def is_closing(self) -> bool:
        """Return whether the transport is closed or closing."""
        return self._records.closed

    def limit_reading(self, size: int) -> None:
        """Read at most `size` encrypted bytes at once; 0 for as many as the buffer takes."""
        self._below.limit_reading(size)

    def pause_reading(self) -> None:
        """Stop reading."""
        if not self._records.closed:
            self._below.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._records.closed:
            self._below.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the limits, in encrypted bytes."""
        self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return how many encrypted bytes are queued."""
        return self._below.get_write_buffer_size()
