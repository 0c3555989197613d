"""Peer side of a connection: its state, its deadlines, what is written, and how it ends."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

from antiphon.errors import AntiphonError, PeerTooSlow, ServerStopping
from antiphon.language import Translate
from antiphon.server.connection.deadlines import Deadlines
from antiphon.server.connection.fast_path import FastPath
from antiphon.server.connection.host import ConnectionHost
from antiphon.server.connection.read_side import ReadSide
from antiphon.server.connection.state import State
from antiphon.server.connection.write_buffer import QUEUE_LIMIT, WriteBuffer
from antiphon.server.peer import Peer
from antiphon.server.session.closings import Closing
from antiphon.server.turn_budget import ENTRY_READ_LIMIT
from antiphon.wire.conversation import ServerConversation


class PeerSide(asyncio.Protocol):
    """Base of `Connection`: everything towards the peer, whatever session it holds."""

    __slots__ = (
        "__weakref__", "_control", "_conversation", "_deadlines", "_end_cause", "_end_event", "_fast_path",
        "_host", "_reading", "_writer", "accepted_at", "accepted_by", "peer", "rests_until", "state",
    )  # fmt: skip

    def __init__(self, host: ConnectionHost, peer: Peer, accepted_at: float) -> None:
        """Start without a transport; `accepted_at` is the loop time at which the socket was accepted."""
        self._host = host
        self.peer = peer
        self.accepted_at = self.accepted_by = accepted_at
        self.state = State.ENTRY
        self.rests_until = 0.0
        """See `Open`; whatever happens sets it to 0."""
        self._fast_path: FastPath | None = None
        self._deadlines = Deadlines(host.settings, accepted_at)
        self._conversation = ServerConversation(host.settings.message_limit)
        self._control = host.auth.begin(self)
        self._writer: WriteBuffer = None  # type: ignore[assignment] # set with the transport
        self._reading: ReadSide = None  # type: ignore[assignment] # likewise
        self._end_event = "broken-off"
        """The log event when the connection is gone; empty where the end was logged before."""
        self._end_cause = ""
        """The code of the error with which it was cut, or why the session was revoked."""

    @property
    def made(self) -> bool:
        """Whether there is a transport: from then on `connection_lost` cleans up."""
        return self._writer is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send HELLO."""
        host = self._host
        self._writer = WriteBuffer(cast("Any", transport))
        self._reading = ReadSide(cast("Any", transport))
        host.connections.add(self)
        self._writer.transport.set_write_buffer_limits(high=QUEUE_LIMIT)
        self._writer.transport.limit_reading(ENTRY_READ_LIMIT)
        self._greet()

    def _greet(self) -> None:
        host = self._host
        host.log.info("connected", address=self.peer.address)
        self._writer.put(host.hello.frame)
        if host.stopping:  # its TLS handshake has ended after the others were told
            self.drain()

    def count_bytes(self) -> None:
        """Add the bytes since the last call to those of the server."""
        self._credit()
        self._host.traffic.add(self._reading.take_received(), self._writer.take_written())

    def _credit(self) -> None:
        """Note what went past the buffers."""

    @property
    def present(self) -> bool:
        """Whether the connection is there and can be used; half of one that can be closed by half is enough."""
        return self.state.sends and (self.can_half_close or not self._reading.ended)

    @property
    def can_half_close(self) -> bool:
        """Whether the connection can be closed in one direction."""
        return self._writer.transport.can_half_close

    def pause_writing(self) -> None:
        """Stop handling messages: the peer does not take the answers."""
        self._leave_fast_path()
        self._writer.paused = True

    def peer_lags(self) -> None:
        """Look at the deadlines from now on: the peer does not take what TLS itself sends."""
        self.rests_until = 0.0

    def _enter(self, state: State) -> None:
        """Go on to a later state."""
        self._leave_fast_path()
        if state.order > self.state.order:
            self.state = state

    def _leave_fast_path(self) -> None:
        """Handle what is received next frame by frame: something else is to be sent, or the state has changed.

        A rest ends.
        """
        self.rests_until = 0.0
        if self._fast_path is not None:
            self._fast_path.close()

    def lose(self, reason: str, cause: str = "") -> None:
        """See `session.holder.Holder`."""
        raise NotImplementedError

    @property
    def _name(self) -> str | None:
        """Name of the session, for the log."""
        session = self._control.session
        return None if session is None else session.name

    @property
    def translate(self) -> Translate:
        """Translation into the language of the client."""
        return self._control.translate

    @property
    def blocked(self) -> bool:
        """Whether the peer does not take what is sent to it."""
        return self._writer.paused

    def send(self, data: bytes) -> None:
        """Send a frame, together with what else is sent in this step."""
        if self.state.sends:
            self._leave_fast_path()
            self._writer.add(data)

    # --- deadlines and the end --------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Look at the deadlines; `now` is loop time. Called a few times a second, unless it is at rest."""
        writer, deadlines = self._writer, self._deadlines
        self._credit()
        deadlines.woken(self._host.looked_at)
        if self.state is State.CLOSING:
            if deadlines.lingered(now, queued=writer.waiting):
                self.abort()
        elif self.state.sends:
            deadlines.spoke |= writer.wrote
            writer.wrote = False
            reading = not self._reading.paused
            error = deadlines.overdue(now, reading=reading, queued=writer.waiting, taken=writer.taken)
            if error is not None:
                self.fail(error)
                return
            silent = deadlines.silent(now)  # before the heartbeat, after which it rests on
            if deadlines.heartbeat_due(now):
                self.send(self._conversation.heartbeat())
                writer.flush()
                writer.wrote = False
                deadlines.beat(now)
            if silent and self._may_rest and not writer.waiting:
                self._rest()

    @property
    def _may_rest(self) -> bool:
        """Whether neither side owes the other anything but heartbeats."""
        return False

    def _rest(self) -> None:
        """Let the deadlines be until the next one, or until something happens."""
        self.rests_until = self._deadlines.rest()
        if self._fast_path is not None:  # which does not tell what it receives
            self._writer.transport.hand_to(self._woken)

    def _woken(self, buffer: bytearray, size: int) -> None:
        """Take the first bytes after a rest."""
        self.rests_until = 0.0
        if self._fast_path is not None:
            self._fast_path.receive(buffer, size)

    @property
    def admitted(self) -> bool:
        """Whether the client has signed in."""
        return self.state is not State.ENTRY

    def drain(self) -> None:
        """Ask the client to say goodbye: what it sends until then is answered, so nothing is lost."""
        if self.state is State.ENTRY:
            self.fail(ServerStopping())
        elif self.state.sends:
            self._enter(State.DRAINING)
            self.send(self._conversation.bye("drained"))
            self._writer.flush()

    def close(self) -> None:
        """Close when everything is sent."""
        if self.state.sends:
            self._stop_sending()
            self._writer.transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._writer.transport.abort()

    def fail(self, error: AntiphonError) -> None:
        """End the connection with an error; a peer that does not read is not told."""
        if not self.state.sends:
            return
        self._end_event, self._end_cause = "", error.code
        self._host.log.warning("cut", address=self.peer.address, name=self._name, code=error.code, why=str(error))
        if isinstance(error, PeerTooSlow):
            self._enter(State.CLOSED)  # at once, or what else is pushed in this step would cut it again
            self.abort()
        else:
            self._say_last(self._conversation.error(0, error, self.translate))

    def _note_end(self) -> None:
        """Log how the connection has ended; if it held a session, keep it for those who look."""
        host, session, cause = self._host, self._control.session, self._end_cause
        if self._end_event:
            host.log.info(self._end_event, address=self.peer.address, name=self._name)
        if session is not None and (self._end_event or cause):
            name, address, reason = session.name or "", self.peer.address, self._end_event or "cut"
            host.closings.append(Closing(datetime.now(UTC), name, address, session.opened_at, reason, cause))

    def _say_last(self, data: bytes) -> None:
        """Send the last words and close; on plain TCP only after the peer has had time to read them."""
        if not self.state.sends:
            return
        self.send(data)
        transport = self._writer.transport
        if not transport.can_half_close or self._reading.ended:
            self.close()
        else:
            self._stop_sending()
            self._reading.pause(paused=False)
            transport.write_eof()

    def _stop_sending(self) -> None:
        self._enter(State.CLOSING)
        self._writer.finish()
        self._deadlines.closing(asyncio.get_running_loop().time())
