"""A blind echo server on uvloop: what comes in goes out, unread.

It is what Antiphon is measured beside: no frames, no sessions, no token, and so close to the most that Python
can do on one core. `blind.py [CERTIFICATE KEY]` says its port as one line of JSON and serves, with a certificate
over TLS, until it is terminated.
"""

import asyncio
import json
import ssl
import sys
from typing import cast

import uvloop


class Blind(asyncio.Protocol):
    """Gives back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own over TLS is no subclass

    def data_received(self, data: bytes) -> None:
        """Give it back."""
        self._transport.write(data)


def tls(certificate: str, key: str) -> ssl.SSLContext:
    """Return the same TLS that Antiphon serves."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.load_cert_chain(certificate, key)
    return context


async def main(*certificate_and_key: str) -> None:
    """Serve."""
    context = tls(*certificate_and_key) if certificate_and_key else None
    server = await asyncio.get_running_loop().create_server(Blind, "127.0.0.1", 0, ssl=context)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
