"""Node dialer: connects to a process of another node, and has both prove."""

import asyncio
import os
import socket
import weakref

from antiphon.address import listening_place
from antiphon.observe.repeats import Repeats
from antiphon.server.forking import give_up_socket
from antiphon.server.nodes.certificate import dialing_context
from antiphon.server.nodes.ends import DialerEnd, KeysOf, NotProved
from antiphon.server.nodes.listener import BUFFER_SIZE, keep
from antiphon.store.contracts import ProcessRecord
from antiphon.transport.contract import Fence, Receiver
from antiphon.transport.plain import PlainTransport
from antiphon.transport.tls import SharedBuffers, TlsTransport

AT_ONCE = 16
"""Connections to one process that have not proved: more would be dropped there."""

REACH_SECONDS = 3.0
"""Time for a connection to a machine that is there."""


class NodeDialer:
    """Connects this process to those of other nodes."""

    def __init__(self, id: str, keys: KeysOf, fence: Fence, repeats: Repeats) -> None:
        """Connect the process `id`, which proves with `keys`; failures are written to `repeats`."""
        self._repeats = repeats
        self._id = id
        self._keys = keys
        self._fence = fence
        self._context = dialing_context()
        self._tls_buffers = SharedBuffers()
        self._buffer = bytearray(BUFFER_SIZE)
        self._at_once: weakref.WeakValueDictionary[str, asyncio.Semaphore] = weakref.WeakValueDictionary()

    async def connect(self, home: ProcessRecord, receiver: Receiver) -> None:
        """Connect to `home`; once both have proved, `receiver` serves the connection. The caller limits the time.

        Raises:
            NotProved: what is there is not that process, or has not the key ring.
            OSError: nobody can be reached there, or the connection is lost.
        """
        at_once = self._at_once.get(home.id) or asyncio.Semaphore(AT_ONCE)
        self._at_once[home.id] = at_once
        async with at_once:
            near = await _connected(home.node_address)
            give_up_socket(near)
            digest = bytes.fromhex(home.certificate)
            end = DialerEnd(self._id, home.id, self._keys, digest, receiver, random=os.urandom)
            tls = TlsTransport(self._context, self._tls_buffers, end, server_side=False)
            PlainTransport(near, tls, self._buffer, self._fence)
            try:
                await tls.opened()
                await asyncio.shield(end.done)
            except BaseException:
                tls.abort()
                raise

    def failed(self, home: ProcessRecord, why: str) -> None:
        """Log why a process could not be reached."""
        self._repeats.warning("relay-failed", (home.id, why), home=home.id, why=why)


async def is_reached(address: str) -> bool:
    """Return whether somebody listens at a host and port."""
    try:
        async with asyncio.timeout(REACH_SECONDS):
            (await _connected(address)).close()
    except OSError:
        return False
    return True


async def _connected(address: str) -> socket.socket:
    """Return a socket that is connected to one of the addresses of a host and port.

    Raises:
        OSError: none can be reached.
    """
    place = listening_place(address)
    if place is None:
        raise NotProved("no-address")
    loop = asyncio.get_running_loop()
    failed: OSError = ConnectionRefusedError()
    for family, _, _, _, found in await loop.getaddrinfo(*place, type=socket.SOCK_STREAM):
        near = socket.socket(family, socket.SOCK_STREAM)
        try:
            near.setblocking(False)  # noqa: FBT003 - the socket module's signature
            await loop.sock_connect(near, found)
            keep(near)
        except OSError as error:
            near.close()
            failed = error
        except BaseException:
            near.close()
            raise
        else:
            return near
    raise failed
