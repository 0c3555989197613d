"""The accept loop: caps before TLS takes any memory, then a connection of its own for each client.

The loop is our own because asyncio's takes 50 to 300 KiB for TLS before any of our code runs, and stops at the
first handshake that is awaited in it.
"""

import asyncio
import errno
import socket
from typing import Any

from antiphon.data.certificate import Certificate
from antiphon.server.connection import Connection
from antiphon.server.context import ServerContext
from antiphon.transport.plain import READ_SIZE, PlainTransport
from antiphon.transport.tls import SharedBuffers, TlsTransport

RETRY_SECONDS = 0.2
"""Pause before the next accept when the machine has no descriptor or memory left (promise 25)."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """Accepts on one listening socket until it is cancelled."""

    def __init__(self, context: ServerContext, listener: socket.socket, certificate: Certificate | None) -> None:
        """Accept from `listener`; with a certificate over TLS, without one plain."""
        self._context = context
        self._listener = listener
        self._certificate = certificate
        self._buffers = SharedBuffers()
        self._exhausted: asyncio.Future[OSError]
        """What accepting ended with, once the machine had nothing left for it."""
        self._told = False
        """The log knows of it."""
        self._buffer = bytearray(READ_SIZE)

    async def run(self) -> None:
        """Accept for ever; cancel the task to stop."""
        loop = asyncio.get_running_loop()
        while True:
            exhausted = self._exhausted = loop.create_future()
            try:
                loop.add_reader(self._listener, self._accept)
                error = await exhausted
            except OSError as unwatched:  # the system watches no more sockets
                error = unwatched
            finally:
                loop.remove_reader(self._listener)
            if not self._told:
                self._context.log.error("accept-exhausted", problem=error.strerror)
                self._told = True
            # Those inside are served: not to accept for a moment beats spinning on what cannot be accepted.
            await asyncio.sleep(RETRY_SECONDS)

    def _accept(self) -> None:
        """Accept one; the loop calls again where there are more, behind whoever else has something to say."""
        try:
            client, peer = self._listener.accept()
            self._told = False
            self._begin(client, peer, asyncio.get_running_loop().time())
        except OSError as error:
            # Else it is a client that was gone before it was accepted.
            if error.errno in _EXHAUSTED and not self._exhausted.done():
                self._exhausted.set_result(error)
        except Exception:  # whatever it was, others want to come in
            self._context.log.exception("fault")

    def _begin(self, client: socket.socket, peer: tuple[Any, ...], accepted_at: float) -> None:
        source = peer[0].partition("%")[0]
        address = f"[{source}]:{peer[1]}" if ":" in source else f"{source}:{peer[1]}"
        if not self._context.caps.admit(source):
            client.close()
            self._context.dropped += 1  # the log is told how many, not of each: a flood must not fill the disk
            return
        try:
            client.setblocking(False)  # noqa: FBT003 - the socket module's signature
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            client.close()
            self._context.caps.release(source)
            return
        certificate = self._certificate
        binding = certificate.binding if certificate else None
        connection = Connection(self._context, address, source, binding, accepted_at)
        if certificate is None:
            PlainTransport(client, connection, self._buffer)
        else:
            self._context.start(self._shake_hands(client, certificate, connection))

    async def _shake_hands(self, client: socket.socket, certificate: Certificate, connection: Connection) -> None:
        """Put a connection on an accepted socket over TLS; a handshake that is not done in time is given up."""
        context = self._context
        tls: TlsTransport | None = None
        try:
            async with asyncio.timeout(context.settings.handshake_seconds):
                tls = TlsTransport(certificate.context, self._buffers, connection)
                PlainTransport(client, tls, self._buffer)
                await tls.opened()
        except OSError as error:  # ssl.SSLError and TimeoutError are among them
            if not connection.made:  # its time may be over in the very step that makes it
                context.log.warning("tls-failed", address=connection.address, why=type(error).__name__)
        finally:
            if not connection.made:
                context.caps.release(connection.source)
                if tls is None:  # there was no memory for it
                    client.close()
                else:
                    tls.abort()
