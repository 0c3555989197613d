"""The client's end of a connection, in asyncio: bytes, the entry's questions, heartbeats, the goodbye.

How it comes about is `dial.py`'s, who we are is `signin.py`'s, what a session says on it is `session.py`'s. Every
wait ends: with an answer, with the error that the server told, or with the loss of the connection.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast

from antiphon.client.exchange import Receiver
from antiphon.client.manners import FAREWELLS, HANG_UP_SECONDS, beat_seconds
from antiphon.errors import AntiphonError, ConnectionLost, PeerSilent, SessionClosed, from_wire
from antiphon.wire.bodies import Body, Error, Hello, Limits, ServerBye
from antiphon.wire.conversation import ClientConversation, Control, Event
from antiphon.wire.frames import Frame, Refused
from antiphon.wire.kinds import Flag, Kind

FAREWELL_SECONDS = 5.0
"""How long a goodbye waits for the server's, once everything is answered."""
BATCH = 64 * 1024
"""Bytes of a session's frames that are joined into one write, at the most; a write costs as much as ten frames."""


class Observer(Protocol):
    """Who watches one connection; each is called before the client itself does anything about it."""

    def opened(self, tls: ssl.SSLObject | None) -> None:
        """Take note that there is a connection, over `tls` or plain TCP."""

    def sent(self, data: bytes) -> None:
        """Take note of whole frames that go."""

    def received(self, data: bytes) -> None:
        """Take note of bytes that have come, in pieces of any size."""

    def closed(self) -> None:
        """Take note that the connection is gone."""


Observe = Callable[[str], Observer]
"""Gives each connection, to the server that is named, an observer of its own."""


class ClientConnection(asyncio.Protocol):
    """One connection to a server. `closed` is done when it is gone, with the reason as its result."""

    def __init__(self, address: str, observe: Observe | None = None) -> None:
        """Begin; `address` is how errors name the server, and `observe` has somebody watch."""
        self._loop = asyncio.get_running_loop()
        self._address = address
        self.observe = observe
        """For the connections that come after this one."""
        self._observer = observe(address) if observe else None
        self._conversation = ClientConversation()
        self._transport: asyncio.Transport = None  # type: ignore[assignment] # set before anything else happens
        self._hello: asyncio.Future[Hello] = self._loop.create_future()
        self._replies: dict[int, asyncio.Future[Body]] = {}
        self._receiver: Receiver | None = None
        self._early: list[Event] = []
        """What came behind WELCOME, before there was a receiver."""
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._batch: list[bytes] = []
        """What goes out with the next write."""
        self._batched = 0
        self._reason: AntiphonError | None = None
        self._said_bye = False
        self._failed = False
        """Nothing that still comes is believed."""
        self._heard = self._spoke = True
        self._reading_paused = False
        self._silent = self._pause = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.closed: asyncio.Future[AntiphonError | None] = self._loop.create_future()
        """Done when the connection is gone: None after our own goodbye, else why."""
        self.binding: bytes | None = None
        """The TLS channel's binding (tls-server-end-point), None on plain TCP."""

    # --- called by the event loop ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for HELLO."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own over TLS is no subclass
        if self._observer is not None:
            self._observer.opened(transport.get_extra_info("ssl_object"))

    def data_received(self, data: bytes) -> None:
        """Take bytes and give each event to the one who waits for it."""
        self._heard = True
        if self._observer is not None:
            self._observer.received(data)
        self._conversation.feed(data)
        try:
            while not self._failed and (event := self._conversation.next()) is not None:
                self._take(event)
        except AntiphonError as error:
            self.fail(error)

    def eof_received(self) -> bool:
        """Close: a server that has said everything has nothing to read either."""
        return False

    def pause_writing(self) -> None:
        """Make `ready` wait."""
        self._can_write.clear()

    def resume_writing(self) -> None:
        """Let `ready` go on."""
        self._can_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who still waits."""
        if self._observer is not None:
            self._observer.closed()
        if self._timer is not None:
            self._timer.cancel()
        self._can_write.set()
        reason = self._reason
        if reason is None and not self._said_bye:
            reason = ConnectionLost(address=self._address)
        waiting: list[asyncio.Future[Any]] = [self._hello, *self._replies.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(reason or ConnectionLost(address=self._address))
                future.exception()  # somebody may have stopped waiting; that is no news for the event loop
        if not self.closed.done():
            self.closed.set_result(reason)
        del exc  # what the transport says is in its own words; ours are in the error

    def _take(self, event: Event) -> None:
        if isinstance(event, Control):
            self._take_control(event)
        elif isinstance(event, Refused):
            self.fail(event.error)
        elif event.kind != Kind.HEARTBEAT:
            self._hand_on(event)

    def _take_control(self, control: Control) -> None:
        body = control.body
        if isinstance(body, Hello):
            self._hello.set_result(body)
            self._pause = beat_seconds(body.limits)
            self._timer = self._loop.call_later(self._pause, self._beat)
        elif isinstance(body, ServerBye):
            self._take_bye(body)
        elif (reply := self._replies.pop(control.id, None)) is not None:
            self._reply(reply, body)
        elif isinstance(body, Error):
            if control.id == 0:
                self.fail(from_wire(body.code, body.text, body.hint, body.wait))
            else:
                self._hand_on(control)

    @staticmethod
    def _reply(reply: asyncio.Future[Body], body: Body) -> None:
        if reply.done():
            return
        if isinstance(body, Error):
            reply.set_exception(from_wire(body.code, body.text, body.hint, body.wait))
        else:
            reply.set_result(body)

    def _hand_on(self, event: Frame | Control) -> None:
        receiver = self._receiver
        if receiver is None:
            self._early.append(event)
        elif isinstance(event, Control):
            assert isinstance(event.body, Error)
            body = event.body
            receiver.end(event.id, from_wire(body.code, body.text, body.hint, body.wait))
        elif event.kind == Kind.MESSAGE:
            receiver.message(event.id, event.payload, last=bool(event.flags & Flag.LAST))
        else:
            receiver.end(event.id, None)

    def _take_bye(self, bye: ServerBye) -> None:
        if bye.reason == "closed":
            self._reason = SessionClosed(reason=bye.text)
        elif bye.reason in FAREWELLS:
            self._reason = FAREWELLS[bye.reason]()
        if bye.reason == "drained":  # we have said our last; what we asked before is still answered
            self.say_bye("drained")
        else:
            self._transport.close()

    def fail(self, error: AntiphonError) -> None:
        """Close at once; nothing that still comes is believed."""
        self._failed = True
        self._reason = self._reason or error
        self._transport.abort()

    # --- heartbeats -----------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Twice in a heartbeat's time: say that we are there, and listen for the server."""
        silence = self.limits.silence
        self._silent = 0.0 if self._heard or self._reading_paused else self._silent + self._pause
        if self._silent >= silence:
            self.fail(PeerSilent(seconds=f"{silence:g}"))
            return
        if not self._spoke:
            acknowledgement = self._receiver.acknowledgement() if self._receiver else b""
            self._write(acknowledgement + self._conversation.heartbeat())
        self._heard = self._spoke = False
        self._timer = self._loop.call_later(self._pause, self._beat)

    # --- asking ---------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """The server's address, for messages."""
        return self._address

    @property
    def transport(self) -> asyncio.Transport:
        """What carries the bytes."""
        return self._transport

    @property
    def token(self) -> bytes:
        """The session's token, to resume it on another connection."""
        return self._conversation.token

    async def hello(self) -> Hello:
        """Return what the server speaks and wants, as soon as it has said it."""
        return await asyncio.shield(self._hello)

    @property
    def greeting(self) -> Hello:
        """What `hello` has returned."""
        return self._hello.result()

    async def request(self, kind: Kind, body: Body, *, token: bytes = b"") -> Body:
        """Send a control frame and return the body of its answer; RESUME takes a token.

        Raises:
            AntiphonError: as the server refused it, or as the connection was lost.
        """
        self._check_open()
        id, data = self._conversation.resume(token, body) if token else self._conversation.request(kind, body)
        reply: asyncio.Future[Body] = self._loop.create_future()
        self._replies[id] = reply
        self._write(data)
        return await reply

    def attach(self, receiver: Receiver) -> None:
        """Give `receiver` the frames of the session that this connection holds, what has come already first."""
        self._receiver = receiver
        early, self._early = self._early, []
        try:
            for event in early:
                self._take(event)
        except AntiphonError as error:
            self.fail(error)

    @property
    def open(self) -> bool:
        """Whether messages can still be sent."""
        return not (self._said_bye or self._reason is not None or self._transport.is_closing())

    @property
    def conversation(self) -> ClientConversation:
        """What makes frames of the session."""
        return self._conversation

    @property
    def limits(self) -> Limits:
        """What the server wants to be kept to."""
        return self.greeting.limits

    def send(self, data: bytes) -> None:
        """Send frames of the session; those of one step of the event loop go out together."""
        if not self._batch:
            self._loop.call_soon(self._flush)
        self._batch.append(data)
        self._batched += len(data)
        if self._batched >= BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._batch:
            batch, self._batch, self._batched = self._batch, [], 0
            self._put(b"".join(batch))

    async def ready(self) -> None:
        """Wait until the server has taken enough for more to be sent, or the connection is gone."""
        await self._can_write.wait()

    def read_on(self, *, wanted: bool) -> None:
        """Read what comes, or leave it where it is until somebody has taken what came before."""
        if self._reading_paused == wanted and not self.closed.done():
            self._reading_paused = not wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    async def leave(self, reason: str = "left") -> None:
        """Say goodbye, wait for the server's, which comes behind the answers that are due, and close.

        A server that lets its goodbye wait is left without one after `FAREWELL_SECONDS`.
        """
        if self.closed.done():
            return
        self.say_bye(reason)
        await asyncio.wait({self.closed}, timeout=FAREWELL_SECONDS)
        self.abort()
        await asyncio.shield(self.closed)

    async def hang_up(self) -> None:
        """Say goodbye and close, whatever the server does; for a connection on which nothing is due."""
        if not self.closed.done():
            self.say_bye("left")
            self._transport.close()
            await asyncio.wait({self.closed}, timeout=HANG_UP_SECONDS)
            self.abort()

    def abort(self) -> None:
        """Close at once, saying nothing: the session stays for a while."""
        if not self.closed.done():
            self.fail(ConnectionLost(address=self._address))

    def say_bye(self, reason: str) -> None:
        """Say that nothing more comes from here."""
        if not self._said_bye:
            self._said_bye = True
            self._write(self._conversation.bye(reason))

    def _check_open(self) -> None:
        if self.closed.done() or self._said_bye or self._reason is not None:
            raise self._reason or ConnectionLost(address=self._address)

    def _write(self, data: bytes) -> None:
        self._flush()
        self._put(data)

    def _put(self, data: bytes) -> None:
        self._spoke = True
        if not self._transport.is_closing():
            if self._observer is not None:
                self._observer.sent(data)
            self._transport.write(data)
