"""Echo servers in Python to compare Antiphon with, each written as its documentation recommends.

`echo_servers.py NAME [CERTIFICATE KEY]` prints its port as a line of JSON and serves until it is terminated, over
TLS if it has a certificate. `blind` returns the bytes unread and is close to the most that Python can do on one
core; `blind-asyncio` is the same on asyncio's own event loop.
"""

import asyncio
import json
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import cast

import uvloop
from handlers import TIMER_SECONDS

Serve = Callable[[ssl.SSLContext | None], Awaitable[None]]
HOST = "127.0.0.1"
LENGTH = 4
"""Size in bytes of the length in front of a message."""


class Blind(asyncio.Protocol):
    """Returns the bytes that it receives."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own over TLS is no subclass

    def data_received(self, data: bytes) -> None:
        """Write the bytes back."""
        self._transport.write(data)


async def blind(tls: ssl.SSLContext | None) -> None:
    """Serve the blind echo."""
    server = await asyncio.get_running_loop().create_server(Blind, HOST, 0, ssl=tls)
    say(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def streams(answer: Callable[[bytes], Awaitable[bytes]]) -> Serve:
    """Return a server of `answer` on asyncio streams, for messages with a length in front."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(LENGTH)
                body = await reader.readexactly(int.from_bytes(head, "big"))
                writer.write(head + await answer(body))
                await writer.drain()
        except (
            asyncio.IncompleteReadError,
            ConnectionError,
            RuntimeError,
        ):  # uvloop raises RuntimeError when the peer has closed
            writer.close()

    async def serve(tls: ssl.SSLContext | None) -> None:
        server = await asyncio.start_server(converse, HOST, 0, ssl=tls)
        say(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    return serve


async def at_once(body: bytes) -> bytes:
    """Answer at once."""
    return body


async def timer(body: bytes) -> bytes:
    """Answer after a timer, as `handlers.timer` does."""
    await asyncio.sleep(TIMER_SECONDS)
    return body


async def queue(body: bytes) -> bytes:
    """Answer from a queue, as `handlers.queue` does."""
    waiting: asyncio.Queue[bytes] = asyncio.Queue()
    asyncio.get_running_loop().call_soon(waiting.put_nowait, body)
    return await waiting.get()


async def websockets(tls: ssl.SSLContext | None) -> None:
    """Serve WebSocket messages, without compression."""
    from websockets.asyncio.server import ServerConnection, serve  # noqa: PLC0415 - the other servers do not need it
    from websockets.exceptions import ConnectionClosedError  # noqa: PLC0415 - likewise

    async def converse(connection: ServerConnection) -> None:
        try:
            async for message in connection:
                await connection.send(message)
        except ConnectionClosedError:  # the load generator closes without a closing handshake
            pass

    async with serve(converse, HOST, 0, ssl=tls, compression=None) as server:
        say(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


def twisted() -> None:
    """Serve Int32StringReceiver on Twisted's own event loop."""
    from twisted.internet import reactor as chosen  # noqa: PLC0415 - the other servers do not need it
    from twisted.internet.epollreactor import EPollReactor  # noqa: PLC0415 - likewise
    from twisted.internet.protocol import Factory  # noqa: PLC0415 - likewise
    from twisted.protocols.basic import Int32StringReceiver  # noqa: PLC0415 - likewise

    class Echo(Int32StringReceiver):
        def stringReceived(self, string: bytes) -> None:  # noqa: N802 - Twisted's name
            self.sendString(string)  # type: ignore[no-untyped-call]

    reactor = cast("EPollReactor", chosen)
    listening = reactor.listenTCP(0, Factory.forProtocol(Echo), interface=HOST)  # type: ignore[no-untyped-call]
    say(listening.getHost().port)
    reactor.run()


def say(port: int) -> None:
    """Print the port for the parent process."""
    print(json.dumps({"port": port}), flush=True)


def context(certificate: str, key: str) -> ssl.SSLContext:
    """Return a TLS context with the same settings as Antiphon's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.load_cert_chain(certificate, key)
    return context


ON_UVLOOP: dict[str, Serve] = {
    "blind": blind,
    "streams": streams(at_once),
    "streams-timer": streams(timer),
    "streams-queue": streams(queue),
    "websockets": websockets,
}


async def main(serve: Serve, *certificate_and_key: str) -> None:
    """Serve until the process is terminated."""
    await serve(context(*certificate_and_key) if certificate_and_key else None)


if __name__ == "__main__":
    _, name, *files = sys.argv
    if name == "twisted":
        twisted()
    elif name == "blind-asyncio":
        asyncio.run(main(blind, *files))
    else:
        uvloop.run(main(ON_UVLOOP[name], *files))
