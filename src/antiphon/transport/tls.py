"""TLS between a connection and its plain transport, in memory that all connections of an event loop share.

The event loops' own TLS keeps buffers for each connection, and hides how much the peer has not taken. Sockets and
deadlines are left to others.
"""

import asyncio
import ssl

from antiphon.wire.kinds import KIB

RECORD = 16 * KIB
"""The most that one record holds (RFC 8446, 5.1)."""
ANSWERS_LIMIT = 512 * KIB
"""Bytes that may wait for a peer that has TLS itself answer (to a key update): who asks on and reads nothing is
cut. It is more than a connection lets wait for a peer that is slow."""


class SharedBuffers:
    """What OpenSSL reads from and writes to: one pair for all connections, empty whenever a call has returned.

    What should get into another connection could not be decrypted there, and would end it.
    """

    __slots__ = ("incoming", "outgoing")

    def __init__(self) -> None:
        """Begin empty."""
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """The server's end of TLS: a protocol to the plain transport below, a transport to the protocol above.

    The one above is told of a connection when the handshake is done, and of its end only if it was told.
    """

    __slots__ = ("_above", "_below", "_closing", "_ended", "_incoming", "_opening", "_outgoing", "_tls")

    def __init__(self, context: ssl.SSLContext, buffers: SharedBuffers, above: asyncio.Protocol) -> None:
        """Speak TLS as `context` says, and carry what `above` says."""
        super().__init__()
        self._incoming = buffers.incoming
        self._outgoing = buffers.outgoing
        self._tls = context.wrap_bio(buffers.incoming, buffers.outgoing, server_side=True)
        self._above = above
        self._below: asyncio.Transport = None  # type: ignore[assignment] # set before anything comes
        self._opening: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()
        """The end of the handshake; None when it is done."""
        self._closing = False
        """Nothing more is sent, and what comes is not looked at."""
        self._ended = False
        """The peer has said goodbye."""

    async def opened(self) -> None:
        """Wait until the handshake is done.

        Raises:
            OSError: it has failed (`ssl.SSLError`), or the peer has gone.
        """
        if self._opening is not None:
            await self._opening

    # --- called by the transport below ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client, which speaks first."""
        self._below = transport  # type: ignore[assignment] # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Hand on what the peer says."""
        self.received(data, len(data))

    def received(self, buffer: bytes | bytearray, size: int) -> None:
        """Do so with the first `size` bytes of a buffer."""
        if self._closing:
            return
        incoming, most = self._incoming, min(size, RECORD)  # to make room for more than can come takes time
        said: bytes | None = None
        incoming.write(memoryview(buffer)[:size])
        try:
            if self._opening is None or self._shake_hands():
                said = self._tls.read(most)
                if not 0 < len(said) < most or incoming.pending:  # more or less than one whole record
                    said = self._read_on(said)
        except ssl.SSLWantReadError:  # the rest of a record is to come
            said = b""
        except ssl.SSLError as error:
            self._fail(error)
        finally:
            if incoming.pending:  # behind an error or a goodbye
                incoming.read()
        if self._outgoing.pending:
            self._answer()
        if said is None or self._closing:
            return
        if self._opening is not None:
            self._opening.set_result(None)
            self._opening = None
            self._above.connection_made(self)
        if said:
            self._above.data_received(said)
        if self._ended and not self._above.eof_received():
            self.close()

    def eof_received(self) -> bool:
        """Let the end of the bytes be the end of the connection: TLS says goodbye before it."""
        self._closing = True
        return False

    def pause_writing(self) -> None:
        """Hand it on; the one above cannot stop before it was told to begin."""
        if self._opening is None:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        """Hand it on."""
        self._above.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of what OpenSSL keeps; tell who waits for the handshake, or the protocol above."""
        self._closing = True
        del self._tls
        if self._opening is None:
            self._above.connection_lost(exc)
        elif not self._opening.done():
            self._opening.set_exception(exc or ConnectionResetError())

    # --- bytes in -------------------------------------------------------------------------------------------

    def _shake_hands(self) -> bool:
        """Take a step of the handshake; return whether it is done, and somebody still waits for it."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return self._opening is not None and not self._opening.done()

    def _read_on(self, said: bytes) -> bytes:
        """Return `said` and what the buffer says behind it; note where that is a goodbye."""
        parts = [said]
        try:
            while parts[-1]:
                parts.append(self._tls.read(RECORD))
                if len(parts[-1]) < RECORD and not self._incoming.pending:
                    break
        except ssl.SSLWantReadError:
            pass
        self._ended = not parts[-1]
        return b"".join(parts)

    def _answer(self) -> None:
        """Send what TLS itself has to say."""
        self._below.write(self._outgoing.read())
        if self._below.get_write_buffer_size() > ANSWERS_LIMIT:
            self.abort()

    def _fail(self, error: ssl.SSLError) -> None:
        """End what cannot go on, with the alert that OpenSSL has written."""
        self._closing = True
        self._below.write(self._outgoing.read())
        self._below.close()
        if self._opening is not None and not self._opening.done():
            self._opening.set_exception(error)

    # --- called by the protocol above -----------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt `data`, and have it sent in one piece."""
        gone = self._below.is_closing()  # to write would be an error on uvloop
        if self._closing or gone or not data:
            return
        try:
            written = self._tls.write(data)
            while written < len(data):  # it takes a record at a time
                written += self._tls.write(memoryview(data)[written:])
        except ssl.SSLError as error:
            self._fail(error)
        else:
            self._below.write(self._outgoing.read())

    def close(self) -> None:
        """Say goodbye, and close behind the peer's last byte; where none comes, that is left to `abort`.

        To close before would send a reset, which takes from the peer what it has not read yet.
        """
        if self._closing or self._below.is_closing():
            return
        self._closing = True
        ended = True
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            ended = False
        except ssl.SSLError:
            pass
        self._below.write(self._outgoing.read())
        if ended:
            self._below.close()
        else:
            self._below.write_eof()
            self._below.resume_reading()

    def abort(self) -> None:
        """Close at once; also while the handshake goes on."""
        self._closing = True
        if self._opening is not None:
            self._opening.cancel()
        if self._below is not None:
            self._below.abort()

    def is_closing(self) -> bool:
        """Return whether the end has begun."""
        return self._closing

    def pause_reading(self) -> None:
        """Leave what comes with the peer."""
        if not self._closing:
            self._below.pause_reading()

    def resume_reading(self) -> None:
        """Take what comes."""
        if not self._closing:
            self._below.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Pause the protocol above when more than `high` encrypted bytes wait."""
        self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return how many encrypted bytes the peer has not taken."""
        return self._below.get_write_buffer_size()
