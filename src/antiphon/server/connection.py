"""One connection: bytes to events, events to the sign-in or the service, answers to bytes.

Everything that comes is handled one at a time and in order; while a step or a handler has not finished, and
while the peer does not take its answers, nothing more is read. Deadlines are looked at in `tick`.
"""

import asyncio
import math
from collections.abc import Awaitable
from typing import cast

from antiphon.errors import (
    AntiphonError,
    PeerTooSlow,
    ProtocolError,
    ServerError,
    ServerStopping,
    ServiceFailed,
    TryLater,
)
from antiphon.language import catalogue
from antiphon.server.context import ServerContext
from antiphon.server.outbox import Outbox
from antiphon.server.sessions import Session
from antiphon.server.signin import Admission, SignIn
from antiphon.server.watch import Watch
from antiphon.services import Answer
from antiphon.wire.bodies import Bye
from antiphon.wire.conversation import Control, Event, ServerConversation
from antiphon.wire.frames import HEADER_SIZE, Frame, Payload, Refused
from antiphon.wire.kinds import KIB, Kind

QUEUE_LIMIT = 256 * KIB
"""Bytes that may wait in either direction before the connection stops taking more (promise 12)."""
ENTRY_QUEUE_LIMIT = 16 * KIB
"""The same of what comes before sign-in: more than any honest client sends ahead."""
LINGER_SECONDS = 2.0
"""How long a connection that we end goes on reading, so that our last words are not lost to a reset."""

_MESSAGE = int(Kind.MESSAGE)
_IMMEDIATE = (str, bytes)


class Connection(asyncio.Protocol):
    """One client's connection, from its first byte to its last."""

    def __init__(
        self, context: ServerContext, address: str, source: str, binding: bytes | None, accepted_at: float
    ) -> None:
        """Begin with a socket accepted at `accepted_at` (loop time).

        `address` is the peer's as logs show it, `source` its host alone; `binding` is the TLS channel's.
        """
        self._context = context
        self._handler = context.handler
        self._debug = context.log.debug_on
        self._largest_answer = context.settings.message_limit + HEADER_SIZE
        self.address = address
        """The peer's, as logs show it."""
        self._source = source
        self._secure = binding is not None
        self._watch = Watch(context.settings, accepted_at)
        self._conversation = ServerConversation(context.settings.message_limit)
        self._feed = self._conversation.reader.feed
        self._next = self._conversation.reader.next
        self._sign_in: SignIn | None = SignIn(context, self, address, source, binding)
        self._session: Session | None = None
        self._name: str | None = None
        """Whose the session is or was, for the log."""
        self._transport: asyncio.Transport = None  # type: ignore[assignment] # set before anything else happens
        self.made = False
        """The event loop has given us the socket: from here on `connection_lost` lets go of it."""
        self._outbox: Outbox = None  # type: ignore[assignment] # likewise
        self._busy = False
        """A step of the sign-in or a handler is under way."""
        self._reading_paused = False
        self._ended = False
        """The peer has sent its last byte."""
        self._closing_at = 0.0
        """When we began to close, in loop time; what comes after that is not looked at."""
        self._draining = False
        self._translate = catalogue(context.language).gettext
        self._left = "broken-off"
        """What the log says when the connection is gone; nothing where it has said so already."""

    # --- called by the event loop ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own over TLS is no subclass
        self.made = True
        self._context.connections.add(self)
        self._context.log.info("connected", address=self.address)
        self._outbox = Outbox(self._transport)
        self._transport.set_write_buffer_limits(high=QUEUE_LIMIT)
        self._transport.write(self._context.hello)
        if self._context.stopping:  # it came out of its handshake after the others had been told
            self.drain()

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self._watch.heard = True
        if self._closing_at:
            return
        self._feed(data)
        self._pump()

    def eof_received(self) -> bool:
        """Answer what came before the end of the peer's input, then close; only plain TCP can still send."""
        self._ended = True
        if not self._closing_at:
            self._pump()
        return not self._secure and not self._closing_at

    def pause_writing(self) -> None:
        """Stop handling messages: the peer does not take the answers."""
        self._outbox.paused = True

    def resume_writing(self) -> None:
        """Go on, but not from within a write."""
        self._outbox.paused = False
        asyncio.get_running_loop().call_soon(self._pump)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Let go of everything; the session stays for a while, unless it was left."""
        context = self._context
        context.connections.discard(self)
        self._closing_at = self._closing_at or math.inf
        if self._sign_in is not None:
            context.caps.release(self._source)
        session, self._session = self._session, None
        if session is not None:
            context.start(self._release(session))
        if self._left:
            context.log.info(self._left, address=self.address, name=self._name)

    # --- bytes in -------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Handle what has come, until something has to be waited for."""
        outbox = self._outbox
        try:
            while not (self._busy or outbox.paused or self._closing_at):
                item = self._next()
                if item is None:
                    break
                if type(item) is Frame and item[0] == _MESSAGE:
                    self._message(item[2], item[3])
                else:
                    self._other(self._conversation.event(item))
        except ProtocolError as error:
            self._fail(error)
        if not self._closing_at:
            outbox.flush()
            if self._busy or outbox.paused or self._reading_paused or self._ended:
                self._balance()

    def _balance(self) -> None:
        """Read on or stop reading, and close where everything has been said."""
        blocked = self._busy or self._outbox.paused
        limit = ENTRY_QUEUE_LIMIT if self._sign_in else QUEUE_LIMIT
        if self._ended and not blocked:
            self.close()
        elif self._reading_paused != (blocked and self._conversation.reader.buffered > limit):
            self._reading_paused = not self._reading_paused
            if self._reading_paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _other(self, event: Event) -> None:
        self._watch.framed = True
        if isinstance(event, Refused):
            self._context.log.warning(
                "message-refused", address=self.address, name=self._name, code=event.error.code
            )
            self._send_error(event.id, event.error)
        elif isinstance(event, Control) and isinstance(event.body, Bye):
            self._begin(self._leave(event.body.reason))
        elif isinstance(event, Control):
            self._begin(self._sign_in_step(event))

    def _begin(self, step: Awaitable[None]) -> None:
        """Do something that takes time; what comes meanwhile waits."""
        self._busy = True
        self._context.start(self._finish(step))

    async def _finish(self, step: Awaitable[None]) -> None:
        try:
            await step
        except Exception:  # whatever it was, the log gets it whole and the peer a generic error
            self._context.log.exception("fault", address=self.address)
            self._fail(ServerError())
        finally:
            self._busy = False
        self._pump()

    # --- the sign-in ----------------------------------------------------------------------------------------

    async def _sign_in_step(self, control: Control) -> None:
        sign_in = self._sign_in
        assert sign_in is not None, "the gate lets these kinds in before a session only"
        try:
            outcome = await sign_in.step(control)
        except ProtocolError as error:
            self._translate = sign_in.catalogue.gettext
            self._fail(error)
        except AntiphonError as error:
            limit = isinstance(error, TryLater) and error.__cause__ is None  # a limit of ours, and logged as such
            if isinstance(error, ServerError) and not limit:  # the peer is told only that it was our fault
                problem = error.fields.get("problem")
                self._context.log.exception(
                    "sign-in-failed", address=self.address, code=error.code, problem=problem
                )
            self._translate = sign_in.catalogue.gettext
            self._send_error(control.id, error)
        else:
            self._translate = sign_in.catalogue.gettext
            if isinstance(outcome, Admission):
                self._admit(control.id, outcome)
            else:
                self._send(self._conversation.reply(outcome.kind, control.id, outcome.body))

    def _admit(self, id: int, admission: Admission) -> None:
        if self._closing_at:  # gone while the store was asked: the session is there to be resumed
            self._context.start(self._release(admission.session))
            return
        self._session = admission.session
        self._name = admission.session.name
        self._watch.admitted = True
        self._context.caps.release(self._source)
        self._sign_in = None
        self._send(self._conversation.welcome(id, admission.welcome, bytes(admission.token)))

    async def _release(self, session: Session) -> None:
        try:
            await self._context.sessions.release(session)
        except AntiphonError as error:
            self._context.log.exception("store-failed", code=error.code, name=session.name)

    async def _leave(self, reason: str) -> None:
        """Answer a BYE; a person who leaves ends the session before we say so."""
        session = self._session
        if session is not None and reason == "left":
            try:
                ended = await self._context.sessions.end(session)
            except AntiphonError as error:
                self._context.log.exception("store-failed", code=error.code, name=session.name)
                self._fail(error)
                return
            self._session = None
            if ended:
                self._context.log.info("session-ended", name=session.name, address=self.address)
        if not self._draining:
            self._send(self._conversation.bye("left" if reason == "left" else "drained"))
        self._left = "left"
        self.close()

    # --- the service ----------------------------------------------------------------------------------------

    def _message(self, id: int, message: Payload) -> None:
        if self._debug:
            self._log_size("received", id, message)
        try:
            answer = self._handler(message)
        except Exception as error:  # noqa: BLE001 - a service's fault is its own; the session goes on
            self._service_failed(id, error)
            return
        if answer is None or isinstance(answer, _IMMEDIATE):
            self._answer(id, answer)
        else:
            self._begin(self._answer_later(id, answer))

    async def _answer_later(self, id: int, answer: Awaitable[Answer]) -> None:
        try:
            result = await answer
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # we stop; otherwise it is the service's own affair
                raise
            self._service_failed(id, error)
        except Exception as error:  # noqa: BLE001 - as above
            self._service_failed(id, error)
        else:
            self._answer(id, result)

    def _answer(self, id: int, answer: Answer) -> None:
        if id == 0 or self._closing_at:
            return
        if answer is None:
            self._send(self._conversation.end(id))
            return
        try:
            data = self._conversation.answer(id, answer)
        except Exception as error:  # noqa: BLE001 - no answer at all, or text that UTF-8 cannot hold
            self._service_failed(id, error)
            return
        if len(data) > self._largest_answer:
            self._context.log.error("answer-too-large", name=self._name, size=len(data))
            self._send_error(id, ServiceFailed())
            return
        if self._debug:
            self._log_size("sent", id, answer)
        self._outbox.add(data)

    def _log_size(self, event: str, id: int, message: Payload) -> None:
        size = len(message.encode() if isinstance(message, str) else message)
        self._context.log.debug(event, name=self._name, address=self.address, id=id, size=size)

    def _service_failed(self, id: int, error: BaseException) -> None:
        self._context.log.error("service-failed", name=self._name, address=self.address, exc_info=error)
        self._send_error(id, ServiceFailed())

    # --- bytes out ------------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        if not self._closing_at:
            self._outbox.add(data)

    def _send_error(self, id: int, error: AntiphonError) -> None:
        if id:  # 0 asked for nothing, and an ERROR with id 0 would end the connection
            self._send(self._conversation.error(id, error, self._translate))

    # --- the end --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Look at the deadlines; `now` is loop time. Called a few times a second."""
        transport = self._transport
        outbox = self._outbox
        if self._closing_at:
            unsent = self._secure or outbox.waiting  # what waits below TLS nobody can tell
            if now - self._closing_at > (self._context.settings.write_seconds if unsent else LINGER_SECONDS):
                transport.abort()
            return
        if outbox.spoke:
            outbox.spoke = False
            self._watch.spoke = True
        error = self._watch.overdue(
            now, reading=not self._reading_paused, queued=outbox.waiting, taken=outbox.taken
        )
        if isinstance(error, PeerTooSlow):
            self._cut(error)
            transport.abort()
        elif error is not None:
            self._fail(error)
        elif self._watch.heartbeat_due(now):
            self._send(self._conversation.heartbeat())
            outbox.flush()

    def lose(self, reason: str) -> None:
        """Say goodbye because the session is no longer this connection's."""
        self._session = None
        self._left = reason
        self._say_last(self._conversation.bye(reason))

    def drain(self) -> None:
        """Ask the client to say goodbye: what it has sent until then is answered, and nothing is lost."""
        if self._closing_at:
            return
        if self._session is None:
            self._fail(ServerStopping())
        else:
            self._draining = True
            self._send(self._conversation.bye("drained"))
            self._outbox.flush()

    def close(self) -> None:
        """Close when everything is sent."""
        if not self._closing_at:
            self._outbox.finish()
            self._closing_at = asyncio.get_running_loop().time()
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def _fail(self, error: AntiphonError) -> None:
        """End the connection with an error."""
        if not self._closing_at:
            self._cut(error)
            self._say_last(self._conversation.error(0, error, self._translate))

    def _cut(self, error: AntiphonError) -> None:
        self._left = ""
        self._context.log.warning("cut", address=self.address, name=self._name, code=error.code, why=str(error))

    def _say_last(self, data: bytes) -> None:
        """Send the last words and close; on plain TCP only after the peer has had time to read them."""
        if self._closing_at:
            return
        self._send(data)
        if self._secure or self._ended:
            self.close()
        else:
            self._outbox.finish()
            self._closing_at = asyncio.get_running_loop().time()
            if self._reading_paused:
                self._transport.resume_reading()
            self._transport.write_eof()
