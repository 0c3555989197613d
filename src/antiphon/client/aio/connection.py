"""Connection for asyncio: the transport, the timer and the futures around `protocol/connection.py`.

`dial.py` makes connections, `sign_in.py` signs in on them, `session.py` uses them. Every wait ends: with an
answer, with the server's error, or with the loss of the connection.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol, cast

from antiphon.client.home_process import HomeProcess
from antiphon.client.protocol.connection import ConnectionProtocol, Pending, Receiver, State
from antiphon.errors import AntiphonError
from antiphon.wire.bodies import Body, Hello, Limits
from antiphon.wire.exchange import Exchange
from antiphon.wire.kinds import Kind

FAREWELL_SECONDS = 5.0
"""Seconds that `leave` waits for the server's BYE, once everything is answered."""
HANG_UP_SECONDS = 1.0
"""Seconds that TLS may take to close a connection that is no longer needed."""
BATCH = 64 * 1024
"""Bytes of a session's frames that are joined into one write, at the most; a write costs as much as ten frames."""
_OPEN, _ENDED, _FAILED = State.OPEN, State.ENDED, State.FAILED  # members of an enum are slow to look up


class Observer(Protocol):
    """Watches one connection. Each method is called before the client itself acts."""

    def opened(self, tls: ssl.SSLObject | None) -> None:
        """Note that the connection is open, over `tls` or plain TCP."""

    def sent(self, data: bytes) -> None:
        """Note whole frames that are sent."""

    def received(self, data: bytes) -> None:
        """Note bytes that came, in pieces of any size."""

    def closed(self) -> None:
        """Note that the connection is closed."""


Observe = Callable[[str], Observer]
"""Returns a new observer for a connection to the server that is named."""


class ClientConnection(asyncio.Protocol):
    """One connection to a server. `closed` is done when it is closed, with the reason as its result."""

    def __init__(self, address: str, observe: Observe | None = None) -> None:
        """Start; `address` is how errors name the server, `observe` makes an observer for each connection."""
        self._loop = asyncio.get_running_loop()
        self.home = HomeProcess()
        self.observe = observe
        """Kept for the connections that come after this one."""
        self._observer = observe(address) if observe else None
        self._protocol = ConnectionProtocol(address)
        self.conversation = self._protocol.conversation
        """The encoder of the session's frames."""
        self._transport: asyncio.Transport = None  # type: ignore[assignment] # set before anything else happens
        self._greeting = _future(self._loop, self._protocol.greeting)
        self._can_write = asyncio.Event()
        self._can_write.set()
        self.exchange: Exchange | None = None
        """Set by the session, for messages that are alone on their way."""
        self.takes_more = True
        """Whether `ready` would not wait."""
        self._batch: list[bytes] = []
        """Frames of the session that go out with the next write."""
        self._batched = 0
        self._joined = 1
        """Frames of the last write; as many may follow now."""
        self._reading_paused = False
        self._timer: asyncio.TimerHandle | None = None
        self.closed: asyncio.Future[AntiphonError | None] = self._loop.create_future()
        """Done when the connection is closed: None after the client's own goodbye, else the reason."""
        self.binding: bytes | None = None
        """The TLS channel's binding (tls-server-end-point), None on plain TCP."""

    # --- called by the event loop ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for HELLO."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own over TLS is no subclass
        if self._observer is not None:
            self._observer.opened(transport.get_extra_info("ssl_object"))

    def data_received(self, data: bytes) -> None:
        """Handle bytes from the server."""
        if self.exchange is not None and self.exchange.take(data):
            return
        if self._observer is not None:
            self._observer.received(data)
        self._protocol.receive(data)
        self._heed()

    def eof_received(self) -> bool:
        """Close: a server that has sent everything reads nothing either."""
        return False

    def pause_writing(self) -> None:
        """Make `ready` wait."""
        self._leave_exchange()
        self.takes_more = False
        self._can_write.clear()

    def resume_writing(self) -> None:
        """Let `ready` go on."""
        self.takes_more = True
        self._can_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who still waits."""
        del exc  # the transport's own words; the protocol's error says what it means
        self._leave_exchange()
        if self._observer is not None:
            self._observer.closed()
        if self._timer is not None:
            self._timer.cancel()
        self.resume_writing()
        self._protocol.connection_lost()
        if not self.closed.done():
            self.closed.set_result(self._protocol.reason)

    def _heed(self) -> None:
        """Send what the protocol wants to send, and close if it is over. Follows every call of the protocol."""
        protocol = self._protocol
        if data := protocol.data_to_send():
            self._flush()
            self._put(data)
        if protocol.state is _FAILED:
            assert protocol.reason is not None
            self.fail(protocol.reason)
        elif protocol.state is _ENDED:
            self._transport.close()
        elif self._timer is None and protocol.greeting.reply is not None:
            self._tick()

    def _leave_exchange(self) -> None:
        """Count what the exchange keeps: something else happens."""
        if self.exchange is not None:
            self.exchange.leave()

    def _tick(self) -> None:
        self._leave_exchange()
        wake = self._protocol.tick(self._loop.time(), listening=not self._reading_paused)
        self._timer = self._loop.call_at(wake, self._tick)
        self._heed()

    def fail(self, error: AntiphonError) -> None:
        """Close at once because of `error`; nothing that still comes is handled."""
        self._leave_exchange()
        self._protocol.fail(error)
        self._transport.abort()

    # --- before the session ---------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """The server's address, for messages."""
        return self._protocol.address

    @property
    def transport(self) -> asyncio.Transport:
        """The transport that carries the bytes."""
        return self._transport

    @property
    def token(self) -> bytes:
        """The session's token, to resume it on another connection."""
        return self.conversation.token

    async def hello(self) -> Hello:
        """Return HELLO, as soon as it has come."""
        await asyncio.shield(self._greeting)
        return self._protocol.hello

    @property
    def greeting(self) -> Hello:
        """HELLO. Precondition: it has come."""
        return self._protocol.hello

    @property
    def limits(self) -> Limits:
        """The limits that HELLO sets."""
        return self._protocol.limits

    async def request(self, kind: Kind, body: Body, *, token: bytes = b"") -> Body:
        """Send a control frame and return the body of its answer; RESUME takes a token.

        Raises:
            AntiphonError: the server refused the request, or the connection was lost.
        """
        pending = self._protocol.request(kind, body, token=token)
        reply = _future(self._loop, pending)
        self._heed()
        return await reply

    # --- the session ----------------------------------------------------------------------------------------

    def attach(self, receiver: Receiver) -> None:
        """Give `receiver` the frames of the session, those that have come already first."""
        self._protocol.attach(receiver)
        self._heed()

    @property
    def open(self) -> bool:
        """Whether messages can still be sent."""
        return self._protocol.state is _OPEN and not self._transport.is_closing()

    def send(self, data: bytes, *, alone: bool = False) -> None:
        """Send frames of the session; those of one step of the event loop go out together.

        A frame that is `alone` goes out at once, if the last one was alone in its step too.
        """
        if not self._batch:
            if alone and self._joined == 1:  # to wait for the end of the step costs another turn of the loop
                self._protocol.heartbeat.spoke = True
                self._put(data)
                return
            self._loop.call_soon(self._flush)
        self._batch.append(data)
        self._batched += len(data)
        if self._batched >= BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._batch:
            batch, self._batch, self._batched = self._batch, [], 0
            self._joined = len(batch)
            self._protocol.heartbeat.spoke = True
            self._put(b"".join(batch))

    def _put(self, data: bytes) -> None:
        if not (self._transport.is_closing() or self.home.is_elsewhere):
            if self._observer is not None:
                self._observer.sent(data)
            self._transport.write(data)

    def is_quiet(self, receiver: Receiver) -> bool:
        """Return whether `receiver` may write and read by itself: nothing is under way, and nobody watches."""
        return (
            self._joined == 1
            and not self._batch
            and self.takes_more
            and self._observer is None
            and self._protocol.is_quiet(receiver)
            and not self._transport.is_closing()
        )

    def has_heard(self) -> None:
        """Note that bytes have come and gone beside the protocol."""
        self._protocol.heartbeat.heard = self._protocol.heartbeat.spoke = True

    def has_spoken(self) -> None:
        """Note that a message has been sent beside the protocol."""
        self._protocol.heartbeat.spoke = True

    async def ready(self) -> None:
        """Wait until the server has taken enough for more to be sent, or the connection is closed."""
        await self._can_write.wait()

    def read_on(self, *, wanted: bool) -> None:
        """Read what comes, or leave it where it is until the program has taken what came before."""
        if self._reading_paused == wanted and not self.closed.done():
            self._reading_paused = not wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    # --- the end --------------------------------------------------------------------------------------------

    async def leave(self, reason: str = "left") -> None:
        """Say BYE, wait for the server's, which comes behind the answers that are due, and close.

        If the server's BYE does not come within `FAREWELL_SECONDS`, the connection is closed without it.
        """
        if self.closed.done():
            return
        self.say_bye(reason)
        await asyncio.wait({self.closed}, timeout=FAREWELL_SECONDS)
        self.abort()
        await asyncio.shield(self.closed)

    async def hang_up(self) -> None:
        """Say BYE and close, without waiting for the server. Precondition: no answer is due."""
        if not self.closed.done():
            self.say_bye("left")
            self._transport.close()
            await asyncio.wait({self.closed}, timeout=HANG_UP_SECONDS)
            self.abort()

    def abort(self) -> None:
        """Close at once without a word: the session can be resumed for a while."""
        if not self.closed.done():
            self._leave_exchange()
            self._protocol.abort()
            self._heed()

    def say_bye(self, reason: str) -> None:
        """Say BYE: nothing is sent after it."""
        self._leave_exchange()
        self._flush()
        self._protocol.say_bye(reason)
        self._heed()


def _future(loop: asyncio.AbstractEventLoop, pending: Pending) -> asyncio.Future[Body]:
    """Return a future of the reply."""
    future: asyncio.Future[Body] = loop.create_future()

    def settle() -> None:
        reply = pending.reply
        if future.done():
            return
        if isinstance(reply, AntiphonError):
            future.set_exception(reply)
            future.exception()  # nobody may wait any more; that is no news for the event loop
        else:
            assert reply is not None
            future.set_result(reply)

    pending.on_reply = settle
    return future
