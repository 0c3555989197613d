"""HTTP listener of the status page: uvicorn behind an accept loop of our own.

uvicorn has no time limit for a request's head, and begins TLS for everybody who connects. Here a connection has
limits before it has asked anything (promises 8 and 9), and each one gets the certificate of that moment.
"""

import asyncio
import socket
from collections.abc import Callable

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from antiphon.data.certificate import Certificate
from antiphon.server.listen.limits import Source, source_of

CONNECTIONS_MOST = 64
"""Connections that are answered at once; further ones get 503."""
ACCEPTED_MOST = 128
"""Connections at once, those in a TLS handshake included; further ones are closed."""
PER_SOURCE = 32
"""Connections at once from one source that is not this machine: nobody takes all places."""
HANDSHAKE_SECONDS = 5.0
REQUEST_SECONDS = 10.0
"""Time for the head of a request, from the accept or from the last answer; bytes do not extend it."""
HERE = frozenset({source_of("127.0.0.1"), source_of("::1")})
PAUSE_SECONDS = 0.2
"""Pause after an error of accept: most are that no descriptors are left."""


class HttpListener(uvicorn.Server):
    """uvicorn's server, with connections that are accepted here."""

    def __init__(self, config: uvicorn.Config, certificate: Callable[[], Certificate | None]) -> None:
        """Serve by `config`; `certificate` returns that for the next connection, None for plain HTTP."""
        super().__init__(config)
        self._certificate = certificate
        self._accepting: list[asyncio.Task[None]] = []
        self._shaking: dict[asyncio.Task[None], Source] = {}
        """Connections before their first byte of HTTP, with where they come from."""
        self._waiting_since: dict[H11Protocol, float] = {}

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        await self.lifespan.startup()
        self.servers = []
        loop = asyncio.get_running_loop()
        self._accepting = [loop.create_task(self._accept(each)) for each in sockets or ()]
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, and end what is under way."""
        tasks = [*self._accepting, *self._shaking]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Cut, once a second, who has not sent a whole head in time."""
        if counter % 10 == 0:
            self._cut(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(listener)
            except OSError:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if not self._has_room(source_of(address[0])):
                sock.close()
                continue
            task = loop.create_task(self._connect(sock))
            self._shaking[task] = source_of(address[0])
            task.add_done_callback(self._shaking.pop)

    def _has_room(self, source: Source) -> bool:
        """Return whether one more connection may come from a source."""
        served = (each.client for each in self.server_state.connections if isinstance(each, H11Protocol))
        sources = [*self._shaking.values(), *(source_of(client[0]) for client in served if client)]
        return len(sources) < ACCEPTED_MOST and (source in HERE or sources.count(source) < PER_SOURCE)

    async def _connect(self, sock: socket.socket) -> None:
        certificate = self._certificate()
        try:
            if certificate is None:
                await asyncio.get_running_loop().connect_accepted_socket(self._protocol, sock)
            else:
                await asyncio.get_running_loop().connect_accepted_socket(
                    self._protocol, sock, ssl=certificate.context, ssl_handshake_timeout=HANDSHAKE_SECONDS
                )
        except OSError:  # of TLS too: the browser does not trust the certificate, or it is no browser
            sock.close()

    def _protocol(self) -> H11Protocol:
        return H11Protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def _cut(self, now: float) -> None:
        waiting = {
            each: self._waiting_since.get(each, now)
            for each in self.server_state.connections
            if isinstance(each, H11Protocol) and (each.cycle is None or each.cycle.response_complete)
        }
        for each, since in waiting.items():
            if now - since > REQUEST_SECONDS:
                each.transport.abort()
        self._waiting_since = waiting
