"""Reception: admission limits before TLS takes memory, then a connection for each accepted socket."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Protocol

from antiphon.data.certificate import Certificate
from antiphon.observe.log import ServerLog
from antiphon.server.home.fence import fence
from antiphon.server.listen.limits import Places
from antiphon.server.peer import Peer
from antiphon.server.tasks import BackgroundTasks
from antiphon.transport.contract import SecureReceiver
from antiphon.transport.handshake import why_failed
from antiphon.transport.plain import READ_SIZE, PlainTransport
from antiphon.transport.tls import SharedBuffers, TlsTransport


class Accepted(SecureReceiver, Protocol):
    """A connection, as the reception sees it."""

    @property
    def made(self) -> bool:
        """Whether it has a transport: from then on it gives its place in the admission limits back itself."""


Connect = Callable[[Peer, float], Accepted]
"""Makes the connection of a peer that was accepted at a moment of loop time."""


class Reception:
    """Begins the connections of one server."""

    def __init__(
        self,
        certificate: Certificate | None,
        *,
        limits: Places,
        connect: Connect,
        tasks: BackgroundTasks,
        log: ServerLog,
        handshake_seconds: float,
    ) -> None:
        """Begin without a connection.

        Args:
            certificate: for TLS; None serves plain TCP.
            limits: which connections are admitted.
            connect: makes the connection of an admitted peer.
            tasks: where TLS handshakes run.
            log: where a handshake that failed is written.
            handshake_seconds: time for a TLS handshake.
        """
        self.certificate = certificate
        """That of connections from now on."""
        self._limits = limits
        self._connect = connect
        self._tasks = tasks
        self._log = log
        self._handshake_seconds = handshake_seconds
        self._tls_buffers = SharedBuffers()
        self._read_buffer = bytearray(READ_SIZE)

    def begin(self, client: socket.socket, socket_address: tuple[Any, ...], accepted_at: float) -> None:
        """Begin the connection of an accepted socket, if it is admitted; close the socket if not.

        Args:
            client: the socket.
            socket_address: the address of its peer.
            accepted_at: loop time at which it was accepted.
        """
        certificate = self.certificate
        peer = Peer.at(socket_address, certificate.binding if certificate else None)
        if not self._limits.admit(peer.host):
            client.close()
            return
        try:
            client.setblocking(False)  # noqa: FBT003 - the socket module's signature
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self._connect(peer, accepted_at)
        except Exception as error:
            client.close()
            self._limits.release(peer.host)
            if isinstance(error, OSError):  # the client is gone
                return
            raise
        if certificate is None:
            PlainTransport(client, connection, self._read_buffer, fence)
        else:
            self._tasks.start(self._shake_hands(client, certificate, connection, peer))

    async def _shake_hands(
        self, client: socket.socket, certificate: Certificate, connection: Accepted, peer: Peer
    ) -> None:
        """Connect an accepted socket over TLS; abort a handshake that fails or takes too long."""
        tls: TlsTransport | None = None
        try:
            async with asyncio.timeout(self._handshake_seconds):
                tls = TlsTransport(certificate.context, self._tls_buffers, connection)
                PlainTransport(client, tls, self._read_buffer, fence)
                await tls.opened()
        except OSError as error:  # ssl.SSLError and TimeoutError are among them
            if not connection.made:  # the timeout may come in the very step that makes the connection
                self._log.warning(
                    "tls-failed", address=peer.address, why=why_failed(error, tls.first if tls else b"")
                )
        finally:
            if not connection.made:
                self._limits.release(peer.host)
                if tls is None:  # there was no memory for it
                    client.close()
                else:
                    tls.abort()
