"""Connections from a balancer: the client that each header of the PROXY protocol names, between accept and limits.

A header is read by the process that accepts, before anything else is known of the connection: admission limits and
all that follows then see the client. While a header is missing, its connection costs a socket and a timer.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

from antiphon.observe.log import ServerLog
from antiphon.server.listen.accept import Take
from antiphon.server.listen.proxy_header import READ_SIZE, HeaderRefused, ProxyHeader
from antiphon.server.peer import Peer
from antiphon.settings import Network, ServerSettings, networks

SILENT = "sent nothing"
SLOW = "took too long"
CLOSED = "connection closed"
TOO_MANY = "too many at once"
REASONS = ("no header", "broken header", "header too long", "not TCP", SILENT, SLOW, CLOSED, TOO_MANY)
"""All reasons for which a connection from a balancer is refused (docs/monitoring.md)."""


@contextlib.contextmanager
def naming_clients(settings: ServerSettings, take: Take, log: ServerLog) -> Iterator[Take]:
    """Yield what takes accepted sockets: `take`, behind the headers of `--proxy-from` if it is given.

    At the end of the block connections without their whole header are closed.
    """
    if settings.proxy_from is None:
        yield take
        return
    desk = HeaderDesk(
        networks(settings.proxy_from),
        take,
        log,
        seconds=settings.handshake_seconds,
        most=settings.entry_most,
        server_first=settings.plain,
    )
    try:
        yield desk.take
    finally:
        desk.close()


class _Waiting:
    """A connection from a balancer whose header is not read."""

    __slots__ = ("accepted_at", "address", "header", "sock", "timer")

    def __init__(self, sock: socket.socket, address: tuple[Any, ...], accepted_at: float) -> None:
        self.sock = sock
        self.address = address
        self.accepted_at = accepted_at
        self.header = ProxyHeader()
        self.timer: asyncio.TimerHandle


class HeaderDesk:
    """Reads the header of each connection from a balancer, and not one byte more."""

    def __init__(
        self,
        balancers: tuple[Network, ...],
        take: Take,
        log: ServerLog,
        *,
        seconds: float,
        most: int,
        server_first: bool,
    ) -> None:
        """Wait for the first connection.

        Args:
            balancers: the networks whose connections begin with a header; others go on at once.
            take: takes each socket with the address of its client.
            log: where refused connections are written.
            seconds: time for a header.
            most: most connections that wait for theirs.
            server_first: whether the server speaks first, as over plain TCP. If not, a connection that names no
                client goes on at its first byte: the check of a balancer never sends one.
        """
        self._balancers = balancers
        self._take = take
        self._log = log
        self._seconds = seconds
        self._most = most
        self._server_first = server_first
        self._waiting: set[_Waiting] = set()

    def take(self, client: socket.socket, address: tuple[Any, ...], accepted_at: float) -> None:
        """Take an accepted socket: see `Take`."""
        if not self._is_balancer(address):
            self._take(client, address, accepted_at)
            return
        if len(self._waiting) >= self._most:
            client.close()
            self._refused(address, TOO_MANY)
            return
        loop = asyncio.get_running_loop()
        waiting = _Waiting(client, address, accepted_at)
        try:
            client.setblocking(False)  # noqa: FBT003 - the socket module's signature
            loop.add_reader(client, self._read, waiting)
        except OSError:  # the client is gone, or the system watches no more sockets
            client.close()
            return
        waiting.timer = loop.call_at(accepted_at + self._seconds, self._late, waiting)
        self._waiting.add(waiting)

    def close(self) -> None:
        """Close what waits."""
        for waiting in list(self._waiting):
            self._end(waiting)

    def _is_balancer(self, address: tuple[Any, ...]) -> bool:
        host = ipaddress.ip_address(str(address[0]).partition("%")[0])
        return any(host in network for network in self._balancers)

    def _read(self, waiting: _Waiting) -> None:
        """Take what has come of a header. What follows it stays in the socket, for TLS."""
        try:
            data = waiting.sock.recv(READ_SIZE, socket.MSG_PEEK)
            if data and not waiting.header.complete:
                waiting.sock.recv(waiting.header.take(data))
                if not waiting.header.complete:
                    return
                if waiting.header.client is None:
                    data = waiting.sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            if waiting.header.complete and self._server_first:
                self._begin(waiting)
        except HeaderRefused as refused:
            self._end(waiting, refused.fault)
        except OSError:
            self._closed(waiting)
        else:
            self._begin(waiting) if data else self._closed(waiting)

    def _closed(self, waiting: _Waiting) -> None:
        """End a connection that the balancer has closed: a check, unless it was in the midst of a header."""
        is_check = waiting.header.empty or waiting.header.complete
        self._end(waiting, None if is_check else CLOSED)

    def _late(self, waiting: _Waiting) -> None:
        self._end(waiting, SILENT if waiting.header.empty or waiting.header.complete else SLOW)

    def _begin(self, waiting: _Waiting) -> None:
        self._forget(waiting)
        try:
            self._take(waiting.sock, waiting.header.client or waiting.address, waiting.accepted_at)
        except Exception:  # noqa: BLE001 - a fault with one client must not keep others out
            self._log.exception("fault")

    def _end(self, waiting: _Waiting, why: str | None = None) -> None:
        self._forget(waiting)
        waiting.sock.close()
        if why is not None:
            self._refused(waiting.address, why)

    def _forget(self, waiting: _Waiting) -> None:
        self._waiting.discard(waiting)
        waiting.timer.cancel()
        asyncio.get_running_loop().remove_reader(waiting.sock)

    def _refused(self, address: tuple[Any, ...], why: str) -> None:
        self._log.warning("proxy-refused", address=Peer.at(address, None).address, why=why)
