"""Relay dialer: opens links to the homes of sessions, and finds out which homes are dead."""

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Protocol

from antiphon.errors import TryLater
from antiphon.observe.log import ServerLog
from antiphon.server.home.contract import Reachable
from antiphon.server.home.watch import DEAD_SECONDS
from antiphon.server.relay import address
from antiphon.server.relay.link import Part, RelayLink
from antiphon.server.relay.opening import Opening, refusal_in
from antiphon.store.contracts import ProcessRecord
from antiphon.transport.contract import Fence
from antiphon.transport.plain import PlainTransport

ANSWER_SECONDS = 1.0
"""Time in which a home whose counter moves must answer; the client then tries again."""
SILENT_SECONDS = 3.0
"""Least silence after which a home is taken for dead."""
SILENT_MOST = 8.0
"""Longest wait of one client for a silent home: less than its wait for an answer."""
OUTCOME_SECONDS = 5.0
"""Time in which a home that runs must take a session up: more than its store may take."""
LOOK_SECONDS = 0.25
BUFFER_SIZE = 64 * 1024


class Client(Protocol):
    """The client's connection, as the dialer sees it (`session.holder.Holder`)."""

    @property
    def present(self) -> bool: ...


class _Answers:
    """The near end of a link until the home has answered (`LinkEnd`)."""

    def __init__(self) -> None:
        self.link = RelayLink(self)
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the home runs, or has answered without further ado."""
        self.outcome: asyncio.Future[tuple[Part, bytes]] = asyncio.get_running_loop().create_future()

    def said(self, part: Part, payload: bytes) -> None:
        if not self.ready.done():
            self.ready.set_result(None)
        if part is not Part.READY and not self.outcome.done():
            self.outcome.set_result((part, payload))
            self.link.hold()  # what follows is for the relay

    def data(self, data: bytearray) -> None: ...

    def credited(self) -> None: ...

    def lost(self) -> None:
        for future in (self.ready, self.outcome):
            if not future.done():
                future.set_exception(ConnectionResetError())
                future.exception()  # or asyncio would report it as never retrieved


class RelayDialer:
    """Opens links from this process."""

    def __init__(
        self, homes: Reachable, fence: Fence, log: ServerLog, connected: Callable[[socket.socket], object]
    ) -> None:
        """Ask `homes` about processes; `connected` is told of each socket, so that children give it up."""
        self._homes = homes
        self._fence = fence
        self._log = log
        self._connected = connected
        self._buffer = bytearray(BUFFER_SIZE)

    async def relay(self, home: ProcessRecord, opening: Opening, mark: bytes, client: Client) -> RelayLink | None:
        """Have `home` take up a session over a new link.

        Args:
            home: the home of the session.
            opening: what the home needs to know.
            mark: fingerprint of the session.
            client: the connection that is to be relayed.

        Returns:
            The link, on which the home has admitted the client; None if the session must be looked for again.

        Raises:
            SessionEnded: the session is over.
            TryLater: the home does not answer now, or the client is gone.
        """
        understood = self._homes.understands(home)
        answers = _Answers()
        link = answers.link
        try:
            self._connect(home.relay_address, link)
            link.say(Part.OPEN) if understood else link.say(Part.HAND_ON, mark)
            await self._answered(home, answers.ready)
            if understood:
                _check_present(client)
                link.say(Part.GO, opening.encode())
            async with asyncio.timeout(OUTCOME_SECONDS):
                part, payload = await answers.outcome
        except OSError as error:
            link.abort()
            await self._failed(home, error)
            return None
        except BaseException:
            link.abort()
            raise
        if part is Part.ADMITTED:
            return link
        link.close()
        if part is Part.REFUSED:
            raise refusal_in(payload)
        return None

    async def _failed(self, home: ProcessRecord, error: OSError) -> None:
        """Find out what an error means: the session can be looked for again, or this raises `TryLater`."""
        if (
            isinstance(error, ConnectionRefusedError) and sys.platform == "linux"
        ):  # elsewhere also of a full backlog
            await self._homes.refused(home)
        elif isinstance(error, ConnectionRefusedError | FileNotFoundError | TimeoutError | BlockingIOError):
            await self._homes.silent(home)
        elif not isinstance(error, ConnectionResetError | BrokenPipeError):  # it has just ended
            self._log.warning("relay-failed", home=home.id, why=type(error).__name__)
            raise TryLater(wait=1) from None

    async def _answered(self, home: ProcessRecord, ready: "asyncio.Future[None]") -> None:
        """Wait until a home answers.

        Raises:
            TimeoutError: it does not, until it is clear that it lives or that it is dead.
            OSError: the link is lost.
        """
        began = asyncio.get_running_loop().time()
        while True:
            await asyncio.wait({ready}, timeout=LOOK_SECONDS)
            if ready.done():
                ready.result()
                return
            silent, still = asyncio.get_running_loop().time() - began, self._homes.still_for(home)
            lives = still < silent and silent >= ANSWER_SECONDS
            dead = still >= DEAD_SECONDS and silent >= SILENT_SECONDS
            if lives or dead or silent >= SILENT_MOST:
                raise TimeoutError

    def _connect(self, path: str, link: RelayLink) -> None:
        near = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            near.setblocking(False)  # noqa: FBT003 - the socket module's signature
            with address.reachable(path) as short:
                near.connect(short)
            address.check_owner(near)
        except BaseException:
            near.close()
            raise
        self._connected(near)
        PlainTransport(near, link, self._buffer, self._fence)


def _check_present(client: Client) -> None:
    """Check that a client has not given up meanwhile: it may have resumed its session elsewhere.

    Raises:
        TryLater: it has.
    """
    if not client.present:
        raise TryLater(wait=1)
