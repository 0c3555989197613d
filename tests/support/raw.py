"""A client with a blocking socket that does only what a test tells it to.

For attacks and for bytes that no honest client would send. `RawClient.sign_in` is an honest sign-in.
"""

import select
import socket
import ssl
import struct
from typing import Self

from antiphon.address import Address
from antiphon.identity.certificates import binding_of
from support.wire_client import Closed, WireClient

PATIENCE_SECONDS = 60.0
"""Longest wait for what a server sends, on a busy machine."""


def tls_context() -> ssl.SSLContext:
    """Return a client context that checks no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def dial(address: Address, timeout: float = PATIENCE_SECONDS, source: str = "") -> socket.socket:
    """Return a TCP connection to `address`, from the local address `source` if it is given."""
    host = {"localhost": "127.0.0.1"}.get(address.host, address.host)
    return socket.create_connection((host, address.port), timeout, (source, 0) if source else None)


_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class RawClient(WireClient):
    """One connection over a socket."""

    def __init__(
        self, address: Address, timeout: float = PATIENCE_SECONDS, source: str = "", *, first: bytes = b""
    ) -> None:
        """Connect, over TLS if the address says so, without reading anything; send `first` before TLS."""
        super().__init__()
        self.sock: socket.socket = dial(address, timeout, source)
        self.sock.sendall(first)
        self._begin(tls=address.scheme == "tls")

    @classmethod
    def over(cls, sock: socket.socket) -> Self:
        """Return a client over TLS on a connected socket."""
        client = cls.__new__(cls)
        WireClient.__init__(client)
        client.sock = sock
        client._begin(tls=True)
        return client

    def _begin(self, *, tls: bool) -> None:
        if tls:
            wrapped = tls_context().wrap_socket(self.sock)
            self.binding = binding_of(wrapped.getpeercert(binary_form=True) or b"")
            self.sock = wrapped
        self._unsent = memoryview(b"")

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def post(self, data: bytes) -> None:
        """Queue bytes that `next` sends while it waits; TLS requires that one thread does both."""
        self._unsent = memoryview(bytes(self._unsent) + data)

    def read(self) -> bytes:
        """See `WireClient`."""
        try:
            data = self._exchange() if self._unsent else self.sock.recv(65536)
        except (ConnectionError, ssl.SSLError) as error:
            raise Closed from error
        if not data:
            raise Closed
        return data

    def half_close(self) -> None:
        """See `WireClient`."""
        self.sock.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """See `WireClient`."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """See `WireClient`."""
        self.sock.close()

    def _exchange(self) -> bytes:
        """Send the queued bytes until data comes; if sending fails, drop them and read the server's reason."""
        timeout = self.sock.gettimeout()
        self.sock.setblocking(False)
        try:
            while self._unsent:
                try:
                    self._unsent = self._unsent[self.sock.send(self._unsent) :]
                except _NOT_NOW:
                    pass
                except OSError:
                    self._unsent = memoryview(b"")
                try:
                    return self.sock.recv(65536)
                except _NOT_NOW:
                    ready = select.select([self.sock], [self.sock] if self._unsent else [], [], timeout)
                    if not any(ready):
                        raise TimeoutError from None
        finally:
            self.sock.settimeout(timeout)
        return self.sock.recv(65536)
