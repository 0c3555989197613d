"""One connection: bytes to events, events to the sign-in or the session channel, answers to bytes.

Everything is handled one at a time and in order. While a step of the sign-in or a handler is running, and while
the peer does not take its answers, nothing more is handled. `tick` looks at the deadlines.
"""

import asyncio
import time
from collections.abc import Awaitable

from antiphon.errors import AntiphonError, FrameUnexpected, PeerTooSlow, Problem, ProtocolError, ServerError
from antiphon.language import N_
from antiphon.server.auth.admission import Admission, Elsewhere, Relayed, Reply
from antiphon.server.connection.fast_path import FastPath
from antiphon.server.connection.host import ConnectionHost
from antiphon.server.connection.peer_side import PeerSide
from antiphon.server.connection.state import State
from antiphon.server.connection.write_buffer import ENTRY_QUEUE_LIMIT, QUEUE_LIMIT
from antiphon.server.home.fence import fence
from antiphon.server.peer import Peer
from antiphon.server.relay.relay import Relay
from antiphon.server.session.channel import SessionChannel
from antiphon.server.turn_budget import IDLE_FRAMES_MOST, SESSION_READ_LIMIT
from antiphon.wire.bodies import Bye
from antiphon.wire.conversation import Control, Event
from antiphon.wire.frames import SKIPPED, Frame, Refused
from antiphon.wire.kinds import Kind

_MESSAGE = int(Kind.MESSAGE)
_ONE_MORE_IDLE_FRAME = Problem(N_("After {most} heartbeats or optional frames before sign-in, another one"))


class Connection(PeerSide):
    """One client's connection, from accept to close."""

    __slots__ = ("_behind", "_busy", "_bye", "_channel", "_idle_frames", "_proceeding", "_turns")

    def __init__(self, host: ConnectionHost, peer: Peer, accepted_at: float) -> None:
        """Start without a transport; `accepted_at` is the loop time at which the socket was accepted."""
        super().__init__(host, peer, accepted_at)
        self._channel: SessionChannel | None = None
        self._busy = False
        """A step of the sign-in or of the goodbye is running."""
        self._bye: str | None = None
        """In state LEAVING: the reason, until the BYE is being answered."""
        self._proceeding = False
        """`proceed` is due after the step under way."""
        self._turns = host.handlers.turns
        self._behind = False
        """Its turn has ended before everything received was handled; the next one is due."""
        self._idle_frames = 0
        """Frames that ask for nothing, received before sign-in."""

    # --- called by the transport ------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Handle bytes, from a transport that hands over an object of its own for each read."""
        self.received(data, len(data))

    def received(self, buffer: bytes | bytearray, size: int, at: int = 0) -> None:
        """Handle the bytes of `buffer` from `at` to `size`; the buffer holds others afterwards."""
        self._deadlines.heard = True
        if self._fast_path is None:  # which counts itself
            self._reading.received += size - at
        if self.state.sends:
            self._conversation.reader.feed(buffer[at:size])
            self._pump()

    def eof_received(self) -> bool:
        """Answer what was received before the peer's last byte, then close; return whether more can be sent."""
        self._reading.end()
        if self.state.sends:
            self._pump()
        return self._writer.transport.can_half_close and self.state.sends

    def resume_writing(self) -> None:
        """Go on, but not from within a write."""
        self._writer.paused = False
        self.proceed_soon()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Let go of everything; the session can be resumed, unless it was left."""
        host, session = self._host, self._control.session
        host.connections.discard(self)
        self.count_bytes()
        if self._fast_path is not None:
            self._fast_path.lose_connection()
        self._enter(State.CLOSED)
        self._fast_path = None
        self._catch_up()
        if not self._deadlines.admitted:
            self._leave_entry()
        if session is not None:
            host.tasks.start(host.channels.release(session))
        if self._channel is not None:
            self._channel.detach(self)
        self._note_end()

    # --- state ------------------------------------------------------------------------------------------------

    @property
    def _undisturbed(self) -> bool:
        """Whether nothing is under way, or a handler only, and more may be received."""
        held = self._busy or self._behind or self._writer.paused or self._reading.ended
        held_back = self._channel is not None and self._channel.held_back
        return self.state.handles and not (held or held_back)

    @property
    def _at_rest(self) -> bool:
        """Whether nothing is under way, and more may be received."""
        return (self._channel is None or self._channel.idle) and self._undisturbed

    @property
    def _may_rest(self) -> bool:
        """See `PeerSide`."""
        in_part = self._reading.paused or self._conversation.reader.buffered
        written = self._fast_path is None or self._fast_path.has_written
        return self.state is State.SESSION and self._at_rest and written and not in_part

    @property
    def _fast_path_allowed(self) -> bool:
        """Whether what is received next may be answered on the fast path: everything before it is done."""
        return (
            self._fast_path is not None
            and self._at_rest
            and not (self._reading.paused or self._conversation.reader.buffered)
            and self._channel is not None
            and self._channel.replay.known  # the fast path does not note that a counted frame has come
        )

    def _left_by_fast_path(self, buffer: bytes | bytearray, size: int, answers: bytes) -> None:
        """Go on where the fast path has stopped."""
        fast_path = self._fast_path
        assert fast_path is not None
        assert self._channel is not None
        at = fast_path.take(answers)
        if fast_path.waits:
            self._deadlines.heard = True
            self._conversation.reader.feed(buffer[at:size])
            if not fast_path.hold():
                self._pump()
        elif at < size or self._channel.idle:  # else the last message waits for its handler
            self.received(buffer, size, at)

    # --- bytes in ---------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Handle what was received, until something has to be waited for or the turn is over."""
        writer, channel, reader = self._writer, self._channel, self._conversation.reader
        self._leave_fast_path()
        ends, held = 0.0, False
        try:
            while self.state.handles and not (self._busy or self._behind or writer.paused):
                if not fence.check():
                    self._proceeding = True
                    fence.wait(self.proceed)
                    break
                now = time.perf_counter()
                if not ends:
                    ends = now + self._turns.seconds
                elif now >= ends and reader.buffered:  # never before the first frame: each turn gets on
                    self._fall_behind()
                    break
                if channel is not None:
                    if channel.full:
                        break
                    fast = reader.buffered and channel.idle and self._fast_path
                    if fast and fast.answer_buffered():
                        if fast.last_waits and fast.hold():
                            held = True
                            break
                        continue
                item = reader.next()
                if item is None:
                    break
                if type(item) is Frame and item[0] == _MESSAGE:
                    channel.message(item[2], item[3])  # type: ignore[union-attr] # the gate saw to the session
                elif item is SKIPPED:
                    self._count_idle_frame()
                else:
                    self._handle(self._conversation.event(item))
                    channel = self._channel
        except ProtocolError as error:
            self.fail(error)
        if self.state.sends:
            writer.flush()
            if self._fast_path_allowed:
                self._fast_path.open()  # type: ignore[union-attr] # as above
            elif held and self._undisturbed and channel.replay.known:  # type: ignore[union-attr] # as above
                self._fast_path.wait()  # type: ignore[union-attr] # as above
            elif self._reading.paused or not self._at_rest:
                self._balance()

    def _fall_behind(self) -> None:
        """End the turn; the next one comes when the others have had theirs."""
        self._behind = True
        self._turns.wait()
        asyncio.get_running_loop().call_soon(self._take_turn)

    def _catch_up(self) -> bool:
        """Note that the next turn has come, or is not needed any more; return whether it was due."""
        behind, self._behind = self._behind, False
        if behind:
            self._turns.go_on()
        return behind

    def _take_turn(self) -> None:
        if self._catch_up():
            self.proceed()

    def _count_idle_frame(self) -> None:
        """Count a frame that asks for nothing; before sign-in nobody needs many.

        Raises:
            FrameUnexpected: there were too many.
        """
        if self.state is State.ENTRY:
            self._idle_frames += 1
            if self._idle_frames > IDLE_FRAMES_MOST:
                raise FrameUnexpected(kind=_ONE_MORE_IDLE_FRAME, most=IDLE_FRAMES_MOST)

    def _balance(self) -> None:
        """Read on or stop reading; leave or close where everything is answered."""
        channel = self._channel
        held = self._busy or self._behind or self._writer.paused
        waiting = held or (channel is not None and not channel.idle)
        if self._bye is not None and not waiting:
            reason, self._bye = self._bye, None
            self._begin(self._leave(reason))
        elif self._reading.ended and not waiting:
            self.close()
        else:
            blocked = held or not self.state.handles
            limit = QUEUE_LIMIT if self._deadlines.admitted else ENTRY_QUEUE_LIMIT
            full = channel is not None and channel.full
            self._reading.pause(paused=full or (blocked and self._conversation.reader.buffered > limit))

    def _handle(self, event: Event) -> None:
        self._deadlines.framed = True
        if isinstance(event, Refused):
            if self._channel is not None:  # only frames with a token are refused, and those come in a session
                self._channel.refused(event)
        elif isinstance(event, Frame):
            if event.kind == Kind.HEARTBEAT:
                self._count_idle_frame()
            elif self._channel is not None:  # before a session no other may come
                self._channel.heed(event)
        elif isinstance(event.body, Bye):
            self._bye = event.body.reason
            self._enter(State.LEAVING)
        else:
            self._begin(self._answer(event))

    def _begin(self, step: Awaitable[None]) -> None:
        """Run a step that takes time; what is received meanwhile waits."""
        self._busy = True
        self._leave_fast_path()
        self._host.tasks.start(self._finish(step))

    async def _finish(self, step: Awaitable[None]) -> None:
        try:
            await step
        except Exception:  # whatever it was: the log gets all of it, the peer a generic error
            self._host.log.exception("fault", address=self.peer.address)
            self.fail(ServerError())
        finally:
            self._busy = False
        self.proceed()

    # --- control frames ---------------------------------------------------------------------------------------

    async def _answer(self, control: Control) -> None:
        try:
            outcome = await self._control.answer(control)
        except ProtocolError as error:
            self.fail(error)
        except AntiphonError as error:
            self._refuse(control, error)
        else:
            if isinstance(outcome, Admission):
                self._admit(control.id, outcome)
            elif isinstance(outcome, Reply):
                self.send(self._conversation.reply(outcome.kind, control.id, outcome.body))
            else:
                self._pass_on(control, outcome)

    def _refuse(self, control: Control, error: AntiphonError) -> None:
        if control.id:  # an ERROR with id 0 would end the connection
            self.send(self._conversation.error(control.id, error, self.translate))

    def _pass_on(self, control: Control, outcome: Elsewhere | Relayed) -> None:  # noqa: ARG002 - see `RelayedConnection`
        """Go out of the way: another process is the home of the session."""
        assert isinstance(outcome, Relayed), "only relayed connections are told to look elsewhere"
        if not self.state.sends:
            outcome.link.close()
            return
        host, writer = self._host, self._writer
        writer.finish()
        ended, buffered = self._reading.ended, self._conversation.reader.take()
        self._reading.pause(paused=False)
        host.connections.discard(self)
        self.count_bytes()
        self._enter(State.CLOSED)
        self._leave_entry()
        relay = Relay(outcome.link, outcome.home, writer.transport, host.connections)
        if buffered:
            relay.received(buffered, len(buffered))
        if ended:
            relay.eof_received()
        if host.stopping:
            relay.drain()

    def _leave_entry(self) -> None:
        """Give the place in the admission limits back."""
        self._host.limits.release(self.peer.host)

    def _admit(self, id: int, admission: Admission) -> None:
        host, session, token = self._host, admission.session, bytes(admission.token)
        if not self.state.sends:  # gone while the store was asked: the session can be resumed
            host.tasks.start(host.channels.release(session))
            return
        self._control.admitted(session)
        try:
            channel, welcome, replayed = host.channels.admit(session, admission.welcome, admission.resumed)
        except ProtocolError as error:  # the session stays, and can be resumed with other counts
            self.fail(error)
            return
        self._deadlines.admitted = True
        self._leave_entry()
        self._channel = channel
        self._enter(State.SESSION)
        if session.account_id > 0:
            self._writer.transport.limit_reading(SESSION_READ_LIMIT)
        self.send(self._conversation.welcome(id, welcome, token))
        for frame in replayed:
            self.send(frame)
        channel.attach(self, session)
        if FastPath.possible(host.handlers, channel):
            self._fast_path = FastPath(
                host.handlers, channel, token, self._writer, self._conversation.reader, self._reading,
                self._left_by_fast_path, self.proceed,
            )  # fmt: skip

    async def _leave(self, reason: str) -> None:
        """Answer a BYE; with reason `left` end the session first."""
        host, session = self._host, self._control.session
        if session is not None and reason == "left":
            try:
                ended = await host.channels.end(session)
            except AntiphonError as error:
                host.log.exception("store-failed", code=error.code, name=session.name)
                self.fail(error)
                return
            if ended:
                host.log.info("session-ended", name=session.name, address=self.peer.address)
                host.channels.finish(self._channel)
        if not self._conversation.bye_sent:
            self.send(self._conversation.bye("left" if reason == "left" else "drained"))
        self._end_event = "left"
        self.close()

    # --- called by the channel (`session.connection.ChannelConnection`) ---------------------------------------

    def proceed(self) -> None:
        """Flush, and handle what was received meanwhile; any service may wait for a channel by its server."""
        self._proceeding = False
        self.rests_until = 0.0
        if self._fast_path_allowed and not self._channel.is_waited_for:  # type: ignore[union-attr] # as above
            self._fast_path.open()  # type: ignore[union-attr] # before the flush, which may close it again
            self._writer.flush()
            return
        if self._channel is not None:
            self._channel.go_on()
        self._pump()

    def proceed_soon(self) -> None:
        """Call `proceed` after the step under way; a peer that lets too much wait is cut."""
        if self._writer.overfull:
            self.fail(PeerTooSlow())
        else:
            self.flush_soon()

    def flush_soon(self) -> None:
        """Call `proceed` after the step under way."""
        if not self._proceeding:
            self._proceeding = True
            asyncio.get_running_loop().call_soon(self.proceed)

    def end(self, text: str) -> None:
        """End the session because the service asks for it; while a step is under way, it must ask again."""
        if self.state.sends and self.state is not State.ENTRY and not self._busy:
            self._begin(self._end(text))

    async def _end(self, text: str) -> None:
        host, session = self._host, self._control.session
        if session is not None and await host.channels.end(session):
            self._end_event = "closed"
            host.log.info("session-closed", name=session.name, address=self.peer.address, reason=text)
            host.channels.finish(self._channel)
            self._say_last(self._conversation.bye("closed", text))

    def _credit(self) -> None:
        """Note what went over the fast path."""
        if self._fast_path is not None and self._fast_path.credit():
            self._deadlines.heard = True

    def lose(self, reason: str, cause: str = "") -> None:
        """Say goodbye because this connection no longer holds its session."""
        if self._channel is not None and reason == "replaced":
            self._channel.detach(self)
        else:
            self._host.channels.finish(self._channel)
        self._end_event, self._end_cause = reason, cause
        self._say_last(self._conversation.bye(reason, cause=cause))
