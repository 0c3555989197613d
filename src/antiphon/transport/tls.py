"""TLS between a connection and its plain transport, in memory that all connections of an event loop share.

The event loops' own TLS keeps buffers for each connection, and hides how much the peer has not taken. Sockets and
deadlines are left to others.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

from antiphon.transport.contract import Receiver, ServerTransport
from antiphon.transport.endpoint import Buffer, Records
from antiphon.transport.plain import NO_EXTRA
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

    The one above is told of a connection when the handshake is done, and of its end only if it was told. It is a
    `ServerTransport`.
    """

    can_half_close = False
    """Half-close does not exist in TLS: what is sent after the peer's goodbye is lost."""
    write_framed = None

    __slots__ = ("_above", "_below", "_incoming", "_opening", "_outgoing", "_records", "_tls", "write")

    def __init__(self, context: ssl.SSLContext, buffers: SharedBuffers, above: Receiver) -> None:
        """Speak TLS as `context` says, and carry what `above` says."""
        super().__init__(NO_EXTRA)
        self._incoming = buffers.incoming
        self._outgoing = buffers.outgoing
        self._tls = context.wrap_bio(buffers.incoming, buffers.outgoing, server_side=True)
        self._above = above
        self._below: ServerTransport = None  # type: ignore[assignment] # set before anything comes
        self._records: Records = None  # type: ignore[assignment] # likewise
        self.write: Callable[[Buffer], None]  # type: ignore[assignment] # likewise; no step between
        self._opening: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()
        """The end of the handshake; None when it is done."""

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
        self._below = cast("ServerTransport", transport)
        tls: Any = getattr(self._tls, "_sslobj", self._tls)  # all that is around it is a step in Python more
        received, send = self._above.received, self._below.write
        self._records = Records(tls, self._incoming, self._outgoing, received, self._read_on, send, self._fail)
        self.write = self._records.write

    def data_received(self, data: bytes) -> None:
        """Hand on what the peer says."""
        self.received(bytearray(data), len(data))

    def received(self, buffer: bytearray, size: int) -> None:
        """Do so with the first `size` bytes of a buffer, which is written over."""
        if self._opening is None:
            self._records(buffer, size)
        elif not self._records.held:
            self._incoming.write(memoryview(buffer)[:size])
            self._go_on()

    def hand_to(self, received: Callable[[bytearray, int], object]) -> None:
        """Hand what is said from now on to somebody else than the protocol."""
        self._records.received = received

    def eof_received(self) -> bool:
        """Let the end of the bytes be the end of the connection: TLS says goodbye before it."""
        self._records.held = True
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
        self._records.held = True
        self._records.tls = None
        del self._tls
        if self._opening is None:
            self._above.connection_lost(exc)
        elif not self._opening.done():
            self._opening.set_exception(exc or ConnectionResetError())

    # --- bytes in -------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Take a step of the handshake; when it is done and somebody still waits for it, begin."""
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
            behind = self._incoming.read()
            self._answer()
        if not done or self._opening.done():
            return
        self._opening.set_result(None)
        self._opening = None
        self._below.hand_to(self._records)
        self._above.connection_made(self)
        if behind:
            self.data_received(behind)

    def _read_on(self, buffer: bytearray, said: int, problem: BaseException | None) -> None:
        """Hand on the first bytes of `buffer` and what TLS has behind them, and see to what else there is."""
        parts = []
        ended = False
        try:
            if problem is None:
                while part := self._tls.read(RECORD):
                    parts.append(part)
                ended = True
            elif not isinstance(problem, ssl.SSLWantReadError):
                raise problem
        except ssl.SSLWantReadError:  # the rest of a record is to come
            pass
        except ssl.SSLError as error:
            self._fail(error)
            return
        finally:
            if self._incoming.pending:  # behind an error or a goodbye
                self._incoming.read()
            self._answer()
        if self._records.held:
            return
        if parts:
            buffer = bytearray().join([memoryview(buffer)[:said], *parts])
            said = len(buffer)
        if said:
            self._records.received(buffer, said)
        if ended and not self._above.eof_received():
            self.close()

    def _answer(self) -> None:
        """Send what TLS itself has to say, if anything."""
        if self._outgoing.pending:
            self._below.write(self._outgoing.read())
            if self._below.get_write_buffer_size() > ANSWERS_LIMIT:
                self.abort()

    def _fail(self, error: OSError) -> None:
        """End what cannot go on, with the alert that OpenSSL has written."""
        self._records.held = True
        self._below.write(self._outgoing.read())
        self._below.close()
        if self._opening is not None and not self._opening.done():
            self._opening.set_exception(error)

    # --- called by the protocol above -----------------------------------------------------------------------

    def close(self) -> None:
        """Say goodbye, and close behind the peer's last byte; where none comes, that is left to `abort`.

        To close before would send a reset, which takes from the peer what it has not read yet.
        """
        if self._records.held or self._below.is_closing():
            return
        self._records.held = True
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
        """Close at once; also while the handshake goes on."""
        if self._opening is not None:
            self._opening.cancel()
        if self._below is not None:
            self._records.held = True
            self._below.abort()

    def is_closing(self) -> bool:
        """Return whether the end has begun."""
        return self._records.held

    def pause_reading(self) -> None:
        """Leave what comes with the peer."""
        if not self._records.held:
            self._below.pause_reading()

    def resume_reading(self) -> None:
        """Take what comes."""
        if not self._records.held:
            self._below.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Pause the protocol above when more than `high` encrypted bytes wait."""
        self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return how many encrypted bytes the peer has not taken."""
        return self._below.get_write_buffer_size()
