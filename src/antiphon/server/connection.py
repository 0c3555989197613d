"""One connection: bytes to events, events to the sign-in or the service, answers to bytes.

Everything that comes is handled one at a time and in order; while a step or a handler has not finished, and
while the peer does not take its answers, nothing more is read. Deadlines are looked at in `tick`.
"""

import asyncio
import math
from collections.abc import Awaitable
from typing import cast

from antiphon.errors import AntiphonError, PeerTooSlow, ProtocolError, ServerError, ServerStopping
from antiphon.language import Translate
from antiphon.server.auth.admission import Admission
from antiphon.server.auth.authenticator import Authenticator
from antiphon.server.context import ServerContext
from antiphon.server.dialogue import Dialogue
from antiphon.server.outbox import ENTRY_QUEUE_LIMIT, QUEUE_LIMIT, Outbox
from antiphon.server.peer import Peer
from antiphon.server.sessions import Session
from antiphon.server.swift import Receive, Swift
from antiphon.server.watch import Watch
from antiphon.transport.contract import ServerTransport
from antiphon.wire.bodies import Bye
from antiphon.wire.conversation import Control, Event, ServerConversation
from antiphon.wire.frames import Frame, Refused
from antiphon.wire.kinds import Kind

LINGER_SECONDS = 2.0
"""How long a connection that we end goes on reading, so that our last words are not lost to a reset."""

_MESSAGE = int(Kind.MESSAGE)


class Connection(asyncio.Protocol):
    """One client's connection, from its first byte to its last."""

    def __init__(self, context: ServerContext, auth: Authenticator, peer: Peer, accepted_at: float) -> None:
        """Begin with a socket of `peer`, accepted at `accepted_at` (loop time)."""
        self._context = context
        self.peer = peer
        """The other end."""
        self._watch = Watch(context.settings, accepted_at)
        self._conversation = ServerConversation(context.settings.message_limit)
        self._reader = self._conversation.reader
        self._control = auth.begin(self)
        self._session: Session | None = None
        self._dialogue: Dialogue | None = None
        self._swift: Swift | None = None
        self._receive: Receive = self.received
        self._name: str | None = None
        """Whose the session is or was, for the log."""
        self._transport: ServerTransport = None  # type: ignore[assignment] # set before anything else happens
        self.made = False
        """We have a transport: from here on `connection_lost` lets go of it."""
        self._outbox: Outbox = None  # type: ignore[assignment] # likewise
        self._busy = False
        """A step of the sign-in or of the goodbye is under way."""
        self._bye: str | None = None
        """Why the client leaves, once it has said so: nothing after that is looked at."""
        self._proceeding = False
        """`proceed` is due after the step under way."""
        self._reading_paused = False
        self._ended = False
        """The peer has sent its last byte."""
        self._closing_at = 0.0
        """When we began to close, in loop time; what comes after that is not looked at."""
        self._draining = False
        self._left = "broken-off"
        """What the log says when the connection is gone; nothing where it has said so already."""

    # --- called by the event loop ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("ServerTransport", transport)
        self.made = True
        self._context.connections.add(self)
        self._context.log.info("connected", address=self.peer.address)
        self._outbox = Outbox(self._transport)
        self._transport.set_write_buffer_limits(high=QUEUE_LIMIT)
        self._transport.write(self._context.hello.frame)
        if self._context.tasks.stopping:  # it came out of its handshake after the others had been told
            self.drain()

    def data_received(self, data: bytes) -> None:
        """Take bytes, from a transport that hands them over."""
        self._receive(data, len(data))

    def received(self, buffer: bytes | bytearray, size: int, at: int = 0) -> None:
        """Take bytes of a buffer, which holds others afterwards."""
        self._watch.heard = True
        if not self._closing_at:
            self._reader.feed(buffer[at:size])
            self._pump()

    def _leave_shortcut(self, buffer: bytes | bytearray, size: int, answers: bytes) -> None:
        """Go on where something came that the shortcut does not know, or was answered in another way."""
        self._look()
        at = self._swift.take(answers)  # type: ignore[union-attr] # it is its shortcut
        if at < size or self._dialogue.idle:  # type: ignore[union-attr] # else it has to wait for the last answer
            self.received(buffer, size, at)

    def _look(self) -> None:
        """Have what comes next looked at."""
        if self._swift is not None:
            self._swift.shortcut.held = True

    def eof_received(self) -> bool:
        """Answer what came before the end of the peer's input, then close; only plain TCP can still send."""
        self._ended = True
        if not self._closing_at:
            self._pump()
        return self._transport.can_half_close and not self._closing_at

    def pause_writing(self) -> None:
        """Stop handling messages: the peer does not take the answers."""
        self._look()
        self._outbox.paused = True

    def resume_writing(self) -> None:
        """Go on, but not from within a write."""
        self._outbox.paused = False
        self.proceed_soon()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Let go of everything; the session stays for a while, unless it was left."""
        context = self._context
        context.connections.discard(self)
        self._look()
        self._swift = None
        self._closing_at = self._closing_at or math.inf
        if not self._watch.admitted:
            context.admission.release(self.peer.host)
        session, self._session = self._session, None
        if session is not None:
            context.start(context.release(session))
        if self._dialogue is not None:
            self._dialogue.detach(self)
        if self._left:
            context.log.info(self._left, address=self.peer.address, name=self._name)

    # --- bytes in -------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Handle what has come, until something has to be waited for."""
        outbox, dialogue, reader = self._outbox, self._dialogue, self._reader
        self._look()
        try:
            while not (self._busy or outbox.paused or self._closing_at or self._bye is not None):
                if dialogue is not None:
                    if dialogue.full:
                        break
                    if self._swift is not None and reader.buffered and dialogue.idle and self._swift.pump(reader):
                        continue
                item = reader.next()
                if item is None:
                    break
                if type(item) is Frame and item[0] == _MESSAGE:
                    dialogue.message(item[2], item[3])  # type: ignore[union-attr] # the gate saw to the session
                else:
                    self._other(self._conversation.event(item))
                    dialogue = self._dialogue
        except ProtocolError as error:
            self.fail(error)
        if not self._closing_at:
            outbox.flush()
            if self._reading_paused or not self._at_rest:
                self._balance()
            elif self._swift is not None and self._swift.is_free and not reader.buffered:
                self._swift.shortcut.held = False

    @property
    def _at_rest(self) -> bool:
        """Whether nothing is under way and more may come."""
        idle = self._dialogue is None or self._dialogue.idle
        return idle and not (self._busy or self._outbox.paused or self._ended or self._bye is not None)

    def _balance(self) -> None:
        """Read on or stop reading, and leave or close where everything has been said."""
        dialogue = self._dialogue
        waiting = self._busy or self._outbox.paused or (dialogue is not None and not dialogue.idle)
        if self._bye is not None and not waiting:
            reason, self._bye = self._bye, None
            self._begin(self._leave(reason))
        elif self._ended and not waiting:
            self.close()
        else:
            blocked = self._busy or self._outbox.paused or self._bye is not None
            limit = QUEUE_LIMIT if self._watch.admitted else ENTRY_QUEUE_LIMIT
            full = dialogue is not None and dialogue.full
            pause = full or (blocked and self._reader.buffered > limit)
            if self._reading_paused != pause:
                self._reading_paused = pause
                (self._transport.pause_reading if pause else self._transport.resume_reading)()

    def _other(self, event: Event) -> None:
        self._watch.framed = True
        if isinstance(event, Refused):
            self._context.log.warning(
                "message-refused", address=self.peer.address, name=self._name, code=event.error.code
            )
            if self._dialogue is not None:  # the reader refuses messages only, and those come in a session
                self._dialogue.refused(event.id, event.error)
        elif isinstance(event, Frame):
            if self._dialogue is not None:  # a heartbeat is all that may come before a session
                self._dialogue.heed(event)
        elif isinstance(event.body, Bye):
            self._bye = event.body.reason
        else:
            self._begin(self._answer(event))

    def _begin(self, step: Awaitable[None]) -> None:
        """Do something that takes time; what comes meanwhile waits."""
        self._busy = True
        self._look()
        self._context.start(self._finish(step))

    async def _finish(self, step: Awaitable[None]) -> None:
        try:
            await step
        except Exception:  # whatever it was, the log gets it whole and the peer a generic error
            self._context.log.exception("fault", address=self.peer.address)
            self.fail(ServerError())
        finally:
            self._busy = False
        self.proceed()

    # --- requests, and the session --------------------------------------------------------------------------

    async def _answer(self, control: Control) -> None:
        try:
            outcome = await self._control.answer(control)
        except ProtocolError as error:
            self.fail(error)
        except AntiphonError as error:
            if control.id:  # an error with id 0 would end the connection
                self.send(self._conversation.error(control.id, error, self.translate))
        else:
            if isinstance(outcome, Admission):
                self._admit(control.id, outcome)
            else:
                self.send(self._conversation.reply(outcome.kind, control.id, outcome.body))

    def _admit(self, id: int, admission: Admission) -> None:
        if self._closing_at:  # gone while the store was asked: the session is there to be resumed
            self._context.start(self._context.release(admission.session))
            return
        session = self._session = admission.session
        self._name = session.name
        self._watch.admitted = True
        self._context.admission.release(self.peer.host)
        self._control.admitted(session)
        dialogue, welcome, missing = self._context.dialogues.take_up(
            self._context, session, admission.welcome, admission.resumed
        )
        self._dialogue = dialogue
        self.send(self._conversation.welcome(id, welcome, bytes(admission.token)))
        for frame in missing:
            self.send(frame)
        dialogue.attach(self, session)
        token = bytes(admission.token)
        self._swift = Swift.of(self._context, session, dialogue, token, self._outbox, self._leave_shortcut)
        if self._swift is not None:
            self._receive = self._swift.installed(self._transport)

    async def _leave(self, reason: str) -> None:
        """Answer a BYE; a person who leaves ends the session before we say so."""
        session = self._session
        if session is not None and reason == "left":
            try:
                ended = await self._context.sessions.end(session)
            except AntiphonError as error:
                self._context.log.exception("store-failed", code=error.code, name=session.name)
                self.fail(error)
                return
            self._session = None
            if ended:
                self._context.log.info("session-ended", name=session.name, address=self.peer.address)
                self._context.dialogues.finish(self._context, self._dialogue)
        if not self._draining:
            self.send(self._conversation.bye("left" if reason == "left" else "drained"))
        self._left = "left"
        self.close()

    # --- called by the dialogue -------------------------------------------------------------------------------

    @property
    def translate(self) -> Translate:
        """What turns sentences into the language of the one at the other end."""
        return self._control.translate

    @property
    def blocked(self) -> bool:
        """Whether the peer does not take what is sent to it."""
        return self._outbox.paused

    def send(self, data: bytes) -> None:
        """Have a frame sent with what else is sent in this step."""
        if not self._closing_at:
            self._look()
            self._outbox.add(data)

    def proceed(self) -> None:
        """Send what waits, and look at what has come."""
        self._proceeding = False
        done = not (self._reader.buffered or self._reading_paused or self._closing_at)
        if done and self._swift is not None and self._swift.is_free and self._at_rest:
            self._swift.shortcut.held = False  # before the flush, which may change it
            self._outbox.flush()
            return
        if self._dialogue is not None:
            self._dialogue.go_on()
        self._pump()

    def proceed_soon(self) -> None:
        """Do so after the step under way; a peer that lets too much wait is cut."""
        if self._outbox.overfull:
            self.fail(PeerTooSlow())
        elif not self._proceeding:
            self._proceeding = True
            asyncio.get_running_loop().call_soon(self.proceed)

    def end(self, text: str) -> None:
        """End the session, because the service says so; while a step is under way it has to say so again."""
        if self._session is not None and not (self._busy or self._closing_at):
            self._begin(self._end(text))

    async def _end(self, text: str) -> None:
        session = self._session
        if session is not None and await self._context.sessions.end(session):
            self._session = None
            self._left = "closed"
            self._context.log.info("session-closed", name=session.name, address=self.peer.address, reason=text)
            self._context.dialogues.finish(self._context, self._dialogue)
            self._say_last(self._conversation.bye("closed", text))

    # --- the end --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Look at the deadlines; `now` is loop time. Called a few times a second."""
        outbox = self._outbox
        if self._closing_at:
            if now - self._closing_at > (
                self._context.settings.write_seconds if outbox.waiting else LINGER_SECONDS
            ):
                self._transport.abort()
            return
        self._watch.heard |= self._swift is not None and self._swift.credit()
        self._watch.spoke |= outbox.spoke
        outbox.spoke = False
        reading = not self._reading_paused
        error = self._watch.overdue(now, reading=reading, queued=outbox.waiting, taken=outbox.taken)
        if error is not None:
            self.fail(error)
        elif self._watch.heartbeat_due(now):
            self.send(self._conversation.heartbeat())
            outbox.flush()

    def lose(self, reason: str) -> None:
        """Say goodbye because the session is no longer this connection's."""
        self._session = None
        if self._dialogue is not None and reason == "replaced":
            self._dialogue.detach(self)
        else:
            self._context.dialogues.finish(self._context, self._dialogue)
        self._left = reason
        self._say_last(self._conversation.bye(reason))

    def drain(self) -> None:
        """Ask the client to say goodbye: what it has sent until then is answered, and nothing is lost."""
        if self._session is None:
            self.fail(ServerStopping())
        elif not self._closing_at:
            self._draining = True
            self.send(self._conversation.bye("drained"))
            self._outbox.flush()

    def close(self) -> None:
        """Close when everything is sent."""
        if not self._closing_at:
            self._look()
            self._outbox.finish()
            self._closing_at = asyncio.get_running_loop().time()
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def fail(self, error: AntiphonError) -> None:
        """End the connection with an error; a peer that does not read would not read why."""
        if self._closing_at:
            return
        self._left = ""
        self._context.log.warning(
            "cut", address=self.peer.address, name=self._name, code=error.code, why=str(error)
        )
        if isinstance(error, PeerTooSlow):
            self._look()
            self._closing_at = math.inf  # or what else is pushed in this step would cut it again
            self._transport.abort()
        else:
            self._say_last(self._conversation.error(0, error, self.translate))

    def _say_last(self, data: bytes) -> None:
        """Send the last words and close; on plain TCP only after the peer has had time to read them."""
        if self._closing_at:
            return
        self.send(data)
        if not self._transport.can_half_close or self._ended:
            self.close()
        else:
            self._outbox.finish()
            self._closing_at = asyncio.get_running_loop().time()
            if self._reading_paused:
                self._transport.resume_reading()
            self._transport.write_eof()
