"""Relay listener: takes the links of other processes to the sessions whose home is here."""

import asyncio
import contextlib
import math
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from antiphon.errors import AntiphonError
from antiphon.files import reported
from antiphon.server.connection.host import ConnectionHost
from antiphon.server.forking import give_up_socket
from antiphon.server.home.fence import fence
from antiphon.server.home.process import HomeProcess
from antiphon.server.nodes.listener import NodeListener
from antiphon.server.nodes.node import Node
from antiphon.server.peer import Peer
from antiphon.server.relay import address
from antiphon.server.relay.connection import RelayedConnection
from antiphon.server.relay.link import RELAY_VERSION, Part, RelayLink
from antiphon.server.relay.opening import Opening, decode_opening, refusal_of
from antiphon.server.relay.transport import RelayTransport
from antiphon.server.session.manager import SessionManager
from antiphon.transport.contract import Fence, Receiver
from antiphon.transport.plain import PlainTransport

OPEN_SECONDS = 3.0
"""Time in which a link must say what it is for."""
RETRY_SECONDS = 0.2
"""Pause before the next accept when the machine has nothing left."""
BUFFER_SIZE = 64 * 1024

HandOn = Callable[[bytes], Coroutine[Any, Any, None]]
"""Gives up the session of a fingerprint, if its home is here: a snapshot, and no home.

Raises:
    TryLater: it is busy, or the store does not answer.
"""


class RelayListener:
    """Accepts links from `start` to `close`."""

    def __init__(
        self,
        listener: socket.socket,
        host: ConnectionHost,
        fence: Fence,
        hand_on: HandOn,
        accepted: Callable[[socket.socket], object],
    ) -> None:
        """Take links for the sessions of `host`.

        Args:
            listener: the socket, listening; it does not block.
            host: of the relayed connections.
            fence: of this process.
            hand_on: gives a session up.
            accepted: is told of each socket, so that children give it up.
        """
        self._listener = listener
        self.host = host
        self._fence = fence
        self.hand_on = hand_on
        self._accepted = accepted
        self._buffer = bytearray(BUFFER_SIZE)
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self.incoming: set[_Incoming] = set()
        """Links that have not said what they are for, or wait for a session to be given up."""

    def start(self) -> None:
        """Accept from now on."""
        if not self._closed:
            self._loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Accept no more, and close the links that have not been admitted."""
        self._closed = True
        self._loop.remove_reader(self._listener)
        for incoming in list(self.incoming):
            incoming.link.abort()

    def begin(self, far: str) -> Receiver:
        """Begin the link of a process of another node, which has proved who it is."""
        return _Incoming(self, far).link

    def _accept(self) -> None:
        try:
            far, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:  # the machine has nothing left
            self._loop.remove_reader(self._listener)
            self._loop.call_later(RETRY_SECONDS, self.start)
            return
        try:
            address.check_owner(far)
            far.setblocking(False)  # noqa: FBT003 - the socket module's signature
            self._accepted(far)
            PlainTransport(far, _Incoming(self).link, self._buffer, self._fence)
        except OSError:
            far.close()


@contextlib.asynccontextmanager
async def taking_relays(
    data: Path, host: ConnectionHost, sessions: SessionManager, home: HomeProcess, node: Node | None = None
) -> AsyncIterator[None]:
    """Be known as a home of sessions, and take relays for them, in the block. `data` is the data folder.

    With `node`, other nodes are taken in, too.

    Raises:
        TryLater: the store does not answer.
        FolderUnusable: no socket can be made.
    """
    channels = host.channels

    async def read_claims() -> None:
        before = list(channels)
        channels.claimed(await sessions.claims(), before)

    async with contextlib.AsyncExitStack() as closing:
        with reported(data / address.FOLDER):
            listener, path = await asyncio.to_thread(address.listen, data / address.FOLDER, f"{home.id}.sock")
        closing.callback(address.remove, path)
        closing.callback(listener.close)
        give_up_socket(listener)
        taking = RelayListener(listener, host, fence, channels.hand_on, give_up_socket)
        closing.push_async_callback(asyncio.sleep, 0)  # links that are aborted close in the next step
        closing.callback(taking.close)
        taking.start()
        if node is not None:
            nodes = NodeListener(
                node.place, home.id, node.keys, taking.begin, fence=fence, log=host.log, repeats=node.repeats
            )
            closing.push_async_callback(nodes.close)
            nodes.start()
            host.log.info("node", address=node.place.address)
        closing.push_async_callback(home.stop)
        await home.start(str(path), read_claims, channels.go_on, None if node is None else node.place)
        yield


class _Incoming:
    """The home's end of a link until it has said what it is for (`LinkEnd`)."""

    def __init__(self, listener: RelayListener, far: str | None = None) -> None:
        """Begin; `far` is the process at the other end, if it is of another node."""
        self.link = RelayLink(self)
        self._listener = listener
        self._far = far
        self._ready_at = math.inf
        self._limit = asyncio.get_running_loop().call_later(OPEN_SECONDS, self.link.abort)
        listener.incoming.add(self)

    def said(self, part: Part, payload: bytes) -> None:
        if part is Part.OPEN:
            self._ready_at = asyncio.get_running_loop().time()
            self.link.say(Part.READY)
            return
        self._limit.cancel()
        if part is Part.GO:
            self._open(payload)
        elif part is Part.HAND_ON:
            self._listener.host.tasks.start(self._hand_on(payload))
        else:
            self.link.abort()

    def data(self, data: bytearray) -> None:  # noqa: ARG002 - none may come yet
        self.link.abort()

    def credited(self) -> None: ...

    def lost(self) -> None:
        self._limit.cancel()
        self._listener.incoming.discard(self)

    def _open(self, payload: bytes) -> None:
        try:
            opening = decode_opening(payload)
        except ValueError:
            self.link.abort()
            return
        if opening.version != RELAY_VERSION or (accepted := self._accepted(opening)) is None:
            self.link.abort()
            return
        self._listener.incoming.discard(self)
        peer = Peer(opening.address, opening.host, opening.binding, opening.process)
        connection = RelayedConnection(self._listener.host, peer, accepted, self.link)
        RelayTransport(self.link, connection, connection.drain, can_half_close=opening.can_half_close)
        connection.data_received(opening.resume)

    def _accepted(self, opening: Opening) -> tuple[float, float] | None:
        """Return when the client was accepted, at the earliest and at the latest, in this machine's time.

        What another node says counts from a moment between READY and now. None if the opening cannot be true.
        """
        if self._far is None:
            return opening.accepted_at, opening.accepted_at
        now = asyncio.get_running_loop().time()
        if opening.process != self._far or self._ready_at > now or not 0 <= opening.age < math.inf:
            return None
        return self._ready_at - opening.age, now - opening.age

    async def _hand_on(self, mark: bytes) -> None:
        try:
            await self._listener.hand_on(mark)
        except AntiphonError as error:
            self.link.say(Part.REFUSED, refusal_of(error))
        else:
            self.link.say(Part.MOVED)
        self.link.close()
