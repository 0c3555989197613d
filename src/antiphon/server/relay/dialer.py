"""Relay dialer: opens links to the homes of sessions, and finds out which homes are dead."""

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Protocol

import msgspec

from antiphon.errors import TryLater
from antiphon.observe.log import ServerLog
from antiphon.server.home.contract import Reachable
from antiphon.server.home.watch import DEAD_SECONDS
from antiphon.server.nodes.dialer import NodeDialer
from antiphon.server.nodes.ends import NotProved
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


_OF_THE_HOME = ("unknown-key", "wrong-proof", "malformed", "another-process", "no-address")
"""Failures of a proof by which the home itself has answered, or was not asked: they say nothing about its life."""


class Client(Protocol):
    """The client's connection, as the dialer sees it (`session.holder.Holder`)."""

    @property
    def present(self) -> bool: ...


class _Answers:
    """The near end of a link until the home has answered (`LinkEnd`)."""

    def __init__(self, first: tuple[Part, bytes]) -> None:
        """Begin with the part `first`, once the home is reached."""
        self.link = RelayLink(self)
        self._first = first
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the home runs, or has answered without further ado."""
        self.outcome: asyncio.Future[tuple[Part, bytes]] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        self.link.say(*self._first)

    @property
    def answered(self) -> bool:
        return self.ready.done() and self.ready.exception() is None

    def said(self, part: Part, payload: bytes) -> None:
        if not self.ready.done():
            self.ready.set_result(None)
        if part is not Part.READY and not self.outcome.done():
            self.outcome.set_result((part, payload))
            self.link.hold()  # what follows is for the relay

    def data(self, data: bytearray) -> None: ...

    def credited(self) -> None: ...

    def lost(self) -> None:
        self.fail(ConnectionResetError())

    def fail(self, error: OSError) -> None:
        for future in (self.ready, self.outcome):
            if not future.done():
                future.set_exception(error)
                future.exception()  # or asyncio would report it as never retrieved


class RelayDialer:
    """Opens links from this process."""

    def __init__(
        self,
        homes: Reachable,
        fence: Fence,
        log: ServerLog,
        connected: Callable[[socket.socket], object],
        nodes: NodeDialer | None = None,
    ) -> None:
        """Ask `homes` about processes; `connected` is told of each socket, so that children give it up.

        `nodes` connects to other nodes, if this is one.
        """
        self._homes = homes
        self._fence = fence
        self._log = log
        self._nodes = nodes
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
        answers = _Answers((Part.OPEN, b"") if understood else (Part.HAND_ON, mark))
        link = answers.link
        connecting: asyncio.Task[None] | None = None
        try:
            if self._homes.is_here(home):
                self._connect(home.relay_address, link)
                answers.begin()
            else:
                connecting = asyncio.get_running_loop().create_task(self._connect_node(home, answers))
            await self._answered(home, answers.ready)
            if understood:
                _check_present(client)
                age = asyncio.get_running_loop().time() - opening.accepted_at
                link.say(Part.GO, msgspec.structs.replace(opening, age=age).encode())
            async with asyncio.timeout(OUTCOME_SECONDS):
                part, payload = await answers.outcome
        except OSError as error:
            link.abort()
            if connecting is not None and not answers.answered:
                await self._unreached(home, error)
            else:
                await self._failed(home, error)
            return None
        except BaseException:
            link.abort()
            raise
        finally:
            if connecting is not None:
                connecting.cancel()
        if part is Part.ADMITTED:
            return link
        link.close()
        if part is Part.REFUSED:
            raise refusal_in(payload)
        return None

    async def _connect_node(self, home: ProcessRecord, answers: _Answers) -> None:
        try:
            if self._nodes is None:
                raise NotProved("no-address")
            await self._nodes.connect(home, answers.link)
        except OSError as error:
            answers.fail(error)
        else:
            answers.begin()

    async def _unreached(self, home: ProcessRecord, error: OSError) -> None:
        """Find out what it means that a home on another node does not answer: see `_failed`.

        That nobody listens there is no death: a firewall refuses, too. Nor is it life if somebody else does.
        """
        why = error.why if isinstance(error, NotProved) else type(error).__name__
        if self._nodes is not None and not isinstance(error, TimeoutError):
            self._nodes.failed(home, why)
        if why in _OF_THE_HOME:
            raise TryLater(wait=1) from None
        await self._homes.silent(home)

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
