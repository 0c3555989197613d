"""Node listener: where other nodes reach this process, and how they are let in.

A connection that has not proved has a place among a few, and a few seconds, before TLS takes any memory for it.
"""

import asyncio
import errno
import os
import random
import socket
import ssl
from dataclasses import dataclass
from typing import Any

from antiphon.address import written_place
from antiphon.errors import RelayPortsTaken
from antiphon.observe.log import ServerLog
from antiphon.observe.repeats import Repeats
from antiphon.server.forking import give_up_socket
from antiphon.server.listen.accept import Acceptor
from antiphon.server.listen.limits import AdmissionLimits
from antiphon.server.nodes.certificate import NodeCertificate
from antiphon.server.nodes.ends import Begin, KeysOf, ListenerEnd, NotProved
from antiphon.server.peer import Peer
from antiphon.transport.contract import Fence
from antiphon.transport.plain import PlainTransport
from antiphon.transport.tls import SharedBuffers, TlsTransport

PROOF_SECONDS = 3.0
"""Time for TLS and the proof, from the accept on."""
UNPROVED_BEGIN, UNPROVED_RATE, UNPROVED_MOST = 256, 30, 512
"""Connections without a proof: from the first figure on some are dropped at random, from the last on all."""
UNPROVED_SOURCE = 128
"""Most of them from one source: a node with 8 processes, each with `dialer.AT_ONCE`."""
BUFFER_SIZE = 64 * 1024
KEEP_SECONDS = 2
"""Pause between two questions to a far machine that says nothing; after three without an answer it is gone."""
_KEEP = {
    "TCP_KEEPIDLE": KEEP_SECONDS,
    "TCP_KEEPALIVE": KEEP_SECONDS,
    "TCP_KEEPINTVL": KEEP_SECONDS,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 4 * KEEP_SECONDS * 1000,
}
_ANYWHERE = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - only where the name is a router's


@dataclass(frozen=True)
class NodePlace:
    """Where this process takes relays of other nodes."""

    sock: socket.socket
    address: str
    """host and port as other nodes reach it"""
    certificate: NodeCertificate


def listen(host: str, first: int, last: int) -> tuple[socket.socket, str]:
    """Return a socket that listens on the first free port from `first` to `last`, and its address for other nodes.

    It listens at the addresses of `host` that this machine has; if it has none of them, because a router
    translates them, at all addresses.

    Raises:
        RelayPortsTaken: no port is free, or this user may take none.
    """
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # a name that only the others can resolve
        found = []
    places = [(family, address[0]) for family, _, _, _, address in found]
    families = dict.fromkeys(family for family, _ in places) or [socket.AF_INET]
    for some in (places, [(family, _ANYWHERE[family]) for family in families]):
        is_here = False
        for family, address in some:
            for port in range(first, last + 1):
                try:
                    return _listening(family, str(address), port), written_place(host, port)
                except OSError as error:
                    if error.errno == errno.EADDRNOTAVAIL:
                        break
                    is_here = True
        if is_here:
            break
    raise RelayPortsTaken(host=host, ports=f"{first}-{last}" if last > first else first)


def _listening(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)  # noqa: FBT003 - the socket module's signature
        sock.bind((address, port))
        sock.listen(socket.SOMAXCONN)
    except OSError:
        sock.close()
        raise
    return sock


def keep(sock: socket.socket) -> None:
    """Have the system send at once, and ask a far machine that says nothing whether it is still there."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP.items():
        if hasattr(socket, name):  # each system has some of them
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class NodeListener:
    """Lets processes of other nodes in, from `start` to `close`."""

    def __init__(
        self,
        place: NodePlace,
        id: str,
        keys: KeysOf,
        begin: Begin,
        *,
        fence: Fence,
        log: ServerLog,
        repeats: Repeats,
    ) -> None:
        """Listen at `place` for the process `id`.

        Args:
            place: the socket, listening, and its certificate.
            id: this process.
            keys: returns the keys that prove.
            begin: begins a link on a proved channel.
            fence: of this process.
            log: where a machine that has nothing left is written.
            repeats: where refusals are written.
        """
        self._place = place
        self._id = id
        self._keys = keys
        self._begin = begin
        self._fence = fence
        self._log = log
        self._repeats = repeats
        self._limits = AdmissionLimits(
            UNPROVED_BEGIN, UNPROVED_RATE, UNPROVED_MOST, UNPROVED_SOURCE, random.random
        )
        self._tls_buffers = SharedBuffers()
        self._buffer = bytearray(BUFFER_SIZE)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Accept from now on."""
        self._start(Acceptor(self._place.sock, self._take, self._log).run())

    async def close(self) -> None:
        """Accept no more, and close the connections that have not proved."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def unproved(self) -> int:
        """Connections that have not proved."""
        return self._limits.count

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _take(self, client: socket.socket, address: tuple[Any, ...], accepted_at: float) -> None:
        peer = Peer.at(address, None)
        if not self._limits.admit(peer.host):
            client.close()
            self._refused(peer, "too-many")
            return
        self._start(self._prove(client, peer, accepted_at))

    async def _prove(self, client: socket.socket, peer: Peer, accepted_at: float) -> None:
        """Have an accepted connection prove; abort it if it does not."""
        end = ListenerEnd(self._id, self._keys, self._place.certificate.digest, os.urandom, self._begin)
        tls: TlsTransport | None = None
        try:
            client.setblocking(False)  # noqa: FBT003 - the socket module's signature
            keep(client)
            give_up_socket(client)
            async with asyncio.timeout_at(accepted_at + PROOF_SECONDS):
                tls = TlsTransport(self._place.certificate.context, self._tls_buffers, end)
                PlainTransport(client, tls, self._buffer, self._fence)
                try:
                    await tls.opened()
                except ssl.SSLError:
                    raise NotProved("no-tls") from None
                await asyncio.shield(end.done)
        except NotProved as error:
            self._refused(peer, error.why)
        except TimeoutError:
            self._refused(peer, "late")
        except OSError:  # the far end is gone
            self._refused(peer, "closed")
        finally:
            self._limits.release(peer.host)
            if tls is None:
                client.close()
            elif not _is_proved(end):
                tls.abort()

    def _refused(self, peer: Peer, why: str) -> None:
        self._repeats.warning("relay-refused", (peer.host, why), address=peer.address, why=why)


def _is_proved(end: ListenerEnd) -> bool:
    return end.done.done() and not end.done.cancelled() and end.done.exception() is None
