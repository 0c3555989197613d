"""Accept loop: admission limits before TLS takes memory, then a connection for each client.

The loop is our own because asyncio's takes 50 to 300 KiB for TLS before any of our code runs, and stops at the
first handshake that is awaited in it.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any, Protocol

from antiphon.data.certificate import Certificate
from antiphon.observe.log import ServerLog
from antiphon.server.home.fence import fence
from antiphon.server.listen.limits import AdmissionLimits
from antiphon.server.peer import Peer
from antiphon.server.tasks import BackgroundTasks
from antiphon.transport.contract import Receiver
from antiphon.transport.handshake import why_failed
from antiphon.transport.plain import READ_SIZE, PlainTransport
from antiphon.transport.tls import SharedBuffers, TlsTransport

RETRY_SECONDS = 0.2
"""Pause before the next accept when the machine has no descriptor or memory left (promise 25)."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Accepted(Receiver, Protocol):
    """A connection, as the acceptor sees it."""

    @property
    def made(self) -> bool:
        """Whether it has a transport: from then on it gives its place in the admission limits back itself."""


Connect = Callable[[Peer, float], Accepted]
"""Makes the connection of a peer that was accepted at a moment of loop time."""


class Acceptor:
    """Accepts on one listening socket until its task is cancelled."""

    def __init__(
        self,
        listener: socket.socket,
        certificate: Certificate | None,
        *,
        limits: AdmissionLimits,
        connect: Connect,
        tasks: BackgroundTasks,
        log: ServerLog,
        handshake_seconds: float,
    ) -> None:
        """Accept from `listener`, which must not block.

        Args:
            listener: the socket, bound and listening.
            certificate: for TLS; None accepts plain TCP.
            limits: which connections are admitted.
            connect: makes the connection of an admitted peer.
            tasks: where TLS handshakes run.
            log: where a handshake that failed and a machine that has nothing left are written.
            handshake_seconds: time for a TLS handshake.
        """
        self._listener = listener
        self._certificate = certificate
        self._limits = limits
        self._connect = connect
        self._tasks = tasks
        self._log = log
        self._handshake_seconds = handshake_seconds
        self._tls_buffers = SharedBuffers()
        self._read_buffer = bytearray(READ_SIZE)
        self._exhausted: asyncio.Future[OSError]
        """Set to the error when the machine has no descriptor or memory left."""
        self._logged = False
        """Whether the log knows of that error."""

    async def run(self) -> None:
        """Accept until cancelled."""
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
            if not self._logged:
                self._log.error("accept-exhausted", problem=error.strerror)
                self._logged = True
            # Open connections are served: a pause beats spinning on a socket that cannot be accepted.
            await asyncio.sleep(RETRY_SECONDS)

    def _accept(self) -> None:
        """Accept one socket; the loop calls again for the next one, after other connections had their turn."""
        try:
            client, socket_address = self._listener.accept()
            self._logged = False
            self._begin(client, socket_address, asyncio.get_running_loop().time())
        except OSError as error:
            # Any other error is of a client that closed before it was accepted.
            if error.errno in _EXHAUSTED and not self._exhausted.done():
                self._exhausted.set_result(error)
        except Exception:  # noqa: BLE001 - a fault with one client must not keep others out
            self._log.exception("fault")

    def _begin(self, client: socket.socket, socket_address: tuple[Any, ...], accepted_at: float) -> None:
        certificate = self._certificate
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
