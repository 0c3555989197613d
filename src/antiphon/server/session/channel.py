"""Session channel: the server's live end of a session.

It keeps messages in order, gives them to the handler, and keeps what was sent until the client acknowledges it. It
outlives connections: a handler goes on while the connection is lost, and its answer is sent over the next one.
"""

import asyncio
from collections.abc import Iterable

import msgspec

from antiphon.errors import AntiphonError, BodyInvalid, FrameInvalid, PasswordDue, PeerTooSlow, ServiceFailed
from antiphon.server.handler.lifecycle import Lifecycle
from antiphon.server.handler.runner import HandlerRunner
from antiphon.server.handler.session import ServiceSession
from antiphon.server.home.fence import fence
from antiphon.server.session.connection import ChannelConnection
from antiphon.server.session.environment import ChannelEnvironment
from antiphon.server.session.holder import Session
from antiphon.server.session.queue import Answered, MessageQueue
from antiphon.server.session.readiness import Readiness
from antiphon.server.session.replay import REPLAY_LIMIT, UNPROVED_LIMIT, ReplayBuffer
from antiphon.server.session.snapshot import Snapshot
from antiphon.server.session.subscriptions import Subscriptions
from antiphon.store.contracts import Revocation
from antiphon.wire.bodies import Welcome
from antiphon.wire.conversation import ServerConversation
from antiphon.wire.frames import HEADER_SIZE, Frame, Payload, Refused
from antiphon.wire.kinds import Kind
from antiphon.wire.values import payload_of

_ANSWERED = (Kind.MESSAGE, Kind.PASSWORD, Kind.END_OTHERS)
"""Kinds with a token that have an answer of their own."""


class SessionChannel:
    """One session, between its connections and its handler."""

    __slots__ = (
        "__weakref__", "_closing", "_connection", "_environment", "_queue", "_readiness",
        "away_since", "held_back", "lifecycle", "over", "replay", "runner", "session", "shown", "subscriptions",
    )  # fmt: skip

    def __init__(self, environment: ChannelEnvironment, session: Session) -> None:
        """Start without a connection; call `attach` next."""
        self._environment = environment
        self.session = session
        self.shown = ServiceSession(
            self, session.account_id, session.name or "", session.holder.peer.address, session.opened_at,
            environment.handlers.server,
        )  # fmt: skip
        """The session as user code sees it."""
        self.held_back = False
        """Nothing more is read for a while: the replay buffers take too much memory."""
        self.replay = self._replay_buffer()
        self._queue = MessageQueue()
        self._connection: ChannelConnection | None = None
        self.away_since: float | None = asyncio.get_running_loop().time()
        """Loop time since when there is no connection; None while there is one."""
        self.runner = HandlerRunner(environment.handlers, self.shown, self)
        self.lifecycle = Lifecycle(environment.handlers, self.shown, self._not_opened)
        self._readiness = Readiness(environment.handlers.turns)
        self._closing: str | None = None
        """Why the service has ended the session; the client may not know yet."""
        self.over = False
        self.subscriptions = Subscriptions(environment.handlers, self)

    # --- connections ----------------------------------------------------------------------------------------

    def attach(self, connection: ChannelConnection, session: Session) -> None:
        """Go on over `connection`, which holds `session`: this session, taken up again."""
        self._connection = connection
        self.session = session
        self.shown.address = connection.peer.address
        self.shown.translate = connection.translate
        self.away_since = None
        self._environment.budget.moved(self)
        self.go_on()

    def detach(self, connection: ChannelConnection) -> None:
        """Go on without a connection, if `connection` is the present one."""
        if self._connection is connection:
            self._connection = None
            self.runner.leave_fast_path()
            self.replay.settle()
            self.away_since = asyncio.get_running_loop().time()

    def resume(self, received: int | None, welcome: Welcome) -> tuple[Welcome, list[bytes]]:
        """Return `welcome` with the counts that the client needs, and the frames to send again.

        `received` is how many frames the client has received; None if it starts counting at zero, and then the
        server does too. Where the server does not know the counts it says so until the client has sent a counted
        frame: an earlier WELCOME may be lost.

        Raises:
            BodyInvalid: the client cannot have received so many.
        """
        missed = self.subscriptions.take_missed()
        if received is None or not self.replay.known:
            if self.replay.frames():
                self.subscriptions.lost()
            self.replay.forget()
            self.replay = self._replay_buffer(known=received is None)
            return welcome, []
        if not self.replay.acknowledge(received):
            problem = f"{received} frames cannot have come, as {self.replay.sent} were sent"
            raise BodyInvalid(kind=Kind.RESUME.name, problem=problem)
        if self.replay.first > received:
            self.subscriptions.lost()
        if missed:
            self.replay.skip(missed)
        open_ids = [self.runner.open_id, *(id for id, _ in self._queue)]
        welcome = msgspec.structs.replace(
            welcome,
            received=self.replay.received,
            missed=max(0, self.replay.first - received),
            sent=self.replay.sent,
            open=[id for id in open_ids if id],
        )
        return welcome, self.replay.frames()

    def concerned(self, entry: Revocation) -> bool:
        """Return whether a revocation ends this session: it must be newer than the last sign-in or resume."""
        session = self.session
        named = entry.fingerprint == session.fingerprint
        of_account = entry.fingerprint is None and entry.account_id == session.account_id
        return (named or of_account) and session.position < entry.id

    def dump(self) -> bytes | None:
        """Return a snapshot for the next server; None if there is nothing that it could go on with."""
        topics = self.subscriptions.dump()
        if not (self.replay.known or topics.subscriptions):
            return None
        return Snapshot.of(self.replay, self._queue, topics).encode()

    def restore(self, data: bytes | None) -> None:
        """Start from the snapshot `data` of another server; without one the counts are unknown."""
        snapshot = Snapshot.decode(data)
        if snapshot is None:
            self.replay.known = False
            return
        self.replay.forget()
        self.replay = self._replay_buffer(snapshot.received, snapshot.first, snapshot.frames, known=snapshot.known)
        for id, message in snapshot.messages():
            self._queue.put(id, message)
        if snapshot.topics is not None:
            self.subscriptions.restore(snapshot.topics)

    # --- memory (`replay.Owner`, `budget.Budgeted`) -----------------------------------------------------------

    def _replay_buffer(
        self, received: int = 0, first: int = 0, frames: Iterable[bytes] = (), *, known: bool = True
    ) -> ReplayBuffer:
        """Return a replay buffer with the limit of this session."""
        limit = REPLAY_LIMIT if self.session.account_id > 0 else UNPROVED_LIMIT
        return ReplayBuffer(received, first, frames, known=known, limit=limit, owner=self)

    @property
    def host(self) -> str:
        """IP address of the client."""
        return self.session.holder.peer.host

    def replay_grown(self, size: int) -> None:
        """See `replay.Owner`."""
        if not self.over:
            self._environment.budget.report(self, size)

    def settle(self) -> None:
        """See `budget.Budgeted`."""
        self.replay.settle()

    def hold_back(self) -> None:
        """See `budget.Budgeted`."""
        self.held_back = True
        if self._connection is not None:
            self._connection.proceed_soon()

    def let_on(self) -> None:
        """See `budget.Budgeted`."""
        self.held_back = False
        if self._connection is not None:
            self._connection.proceed_soon()

    def cut(self) -> None:
        """See `budget.Budgeted`."""
        error = PeerTooSlow()
        self.replay.forget()
        if self._connection is not None:
            self._connection.fail(error)
        else:
            name, address, log = self.shown.name, self.shown.address, self._environment.handlers.log
            log.warning("cut", address=address, name=name, code=error.code, why=str(error))

    # --- messages -------------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether no more messages may be taken."""
        return self._queue.full or self.held_back

    @property
    def queued(self) -> int:
        """Length of the messages that wait, in bytes or characters."""
        return self._queue.size

    @property
    def idle(self) -> bool:
        """Whether every message is answered."""
        return not (self.runner.busy or self._queue or self.lifecycle.opening)

    @property
    def is_waited_for(self) -> bool:
        """Whether `go_on` has more to do than give messages to the handler, once the client takes more."""
        return self._closing is not None or self._readiness.is_waited_for or len(self.subscriptions) > 0

    def message(self, id: int, message: Payload) -> None:
        """Give a message to the handler, after those before it. Precondition: the fence is open."""
        self.replay.count()
        if self._closing is not None or not self.idle:
            self._queue.put(id, message)
        else:
            self._run(id, message)

    def answered(self, messages: int, answers: bytes, frames: int) -> None:
        """Count `messages` that the fast path gave to the handler, and keep the `frames` of their answers."""
        self.replay.count(messages)
        if frames:
            self.replay.add(answers, frames)

    def refused(self, frame: Refused) -> None:
        """Answer a frame that the gate has refused: a MESSAGE counts, a CANCEL or an ACK gets no answer."""
        kind, id, error = frame
        self.runner.repeats.warning(
            "message-refused", error.code, address=self.shown.address, name=self.session.name, code=error.code
        )
        if kind == Kind.MESSAGE:
            self.replay.count()
        if not id or kind not in _ANSWERED:
            return
        answer = ServerConversation.error(id, error, self.shown.translate)
        if kind != Kind.MESSAGE:
            if self._connection is not None:
                self._connection.send(answer)
        elif self._closing is not None or not self.idle:
            self._queue.put(id, Answered(answer))
        else:
            self.say(answer)

    def heed(self, frame: Frame) -> None:
        """Handle a CANCEL or an ACK; a CANCEL with id 0 names no message.

        Raises:
            FrameInvalid: an ACK without a count, or with one of more frames than were sent.
        """
        if frame.kind == Kind.CANCEL:
            if frame.id and not self.runner.cancel(frame.id):
                self._queue.answer(frame.id, ServerConversation.end(frame.id))
        elif frame.kind == Kind.ACK:
            received, replay = ServerConversation.count(frame), self.replay
            if replay.acknowledge(received):
                replay.known = True
                self.subscriptions.go_on()
            elif replay.known:  # else it is of a count that is over, sent before the client learned that
                raise FrameInvalid(problem=f"an ACK of {received} frames, of which {replay.sent} were sent")

    def go_on(self) -> None:
        """Give waiting messages to the handler, as far as it can answer them now."""
        if not (self.over or self.session.must_change):  # before the password is changed nothing is pushed either
            self._open()
        while self._queue and self._closing is None and not (self._working or self._blocked or self.over):
            if not fence.check():  # `proceed` is called when it has opened
                break
            id, message = self._queue.take()
            if isinstance(message, Answered):
                self.say(message.frame)
            else:
                self._run(id, message)
        if not self._blocked:
            self._readiness.wake()
            self.subscriptions.go_on()
        if self._closing is not None and self._connection is not None:
            self._connection.end(self._closing)

    def _run(self, id: int, message: Payload) -> None:
        self.runner.log_size("received", id, message)
        if self.session.must_change:
            self.refuse(id, PasswordDue())
        else:
            self.runner.run(id, message)

    @property
    def _working(self) -> bool:
        return self.runner.busy or self.lifecycle.opening

    # --- lifecycle ------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Call `opened` once; messages wait until it has returned."""
        opening = self.lifecycle.open()
        if opening is not None:
            opening.add_done_callback(self._opened)

    def _opened(self, _: asyncio.Task[None]) -> None:
        self.go_on()
        if self._connection is not None:
            self._connection.proceed()

    def _not_opened(self) -> None:
        if self._connection is not None:
            self._connection.fail(ServiceFailed())

    async def finish(self) -> None:
        """End the channel: cancel the handler, and call `closed`."""
        if self.over:
            return
        self.over = True
        self._environment.budget.forget(self)
        self.subscriptions.close()
        self._readiness.wake()
        await self.runner.stop()
        await self.lifecycle.close()
        if self._closing is not None and self._connection is None:  # the service has ended it, nobody came back
            try:
                await self._environment.end(self.session)
            except AntiphonError as error:
                self._environment.handlers.log.exception("store-failed", code=error.code, name=self.shown.name)

    # --- what user code may do (`handler.session.Sender`) -----------------------------------------------------

    def push(self, message: str | bytes) -> None:
        """See `services.Session.send`."""
        if self.over:
            return
        self.say(self.encoded(message))
        if self._connection is not None:
            self._connection.proceed_soon()

    def encoded(self, message: object) -> bytes:
        """Return the frame that pushes a message.

        Raises:
            TypeError: JSON cannot hold it.
            ValueError: it is too large.
        """
        data = ServerConversation.push(payload_of(message))
        if len(data) > self._environment.handlers.message_limit + HEADER_SIZE:
            raise ValueError("a message of more than --message-limit bytes cannot be sent")
        return data

    async def ready(self) -> None:
        """See `services.Session.ready`."""
        await self._readiness.wait(lambda: self._blocked and not self.over)

    def end(self, reason: str) -> None:
        """See `services.Session.close`."""
        if self._closing is None:
            self._closing = reason
            self.go_on()

    @property
    def server_stops(self) -> bool:
        """Whether the server is stopping."""
        return self._environment.handlers.tasks.stopping

    # --- what subscriptions do (`subscriptions.Publishing`) ---------------------------------------------------

    @property
    def takes_published(self) -> bool:
        """See `Publishing`."""
        there = self._connection is not None and not self._connection.blocked
        return there and not (self.replay.held or self.over) and self._closing is None and fence.check()

    def push_frame(self, frame: bytes) -> None:
        """See `Publishing`."""
        self.say(frame)
        if self._connection is not None:
            self._connection.flush_soon()

    def miss(self) -> None:
        """See `Publishing`."""
        if self._connection is not None:
            self._connection.fail(PeerTooSlow())

    # --- what the runner says (`handler.runner.Answers`) ------------------------------------------------------

    @property
    def _blocked(self) -> bool:
        return self.replay.full if self._connection is None else self._connection.blocked

    def say(self, data: bytes) -> None:
        """Send a counted frame, now or over the next connection."""
        self.replay.add(data)
        if self._connection is not None:
            self._connection.send(data)

    def refuse(self, id: int, error: AntiphonError) -> None:
        """Send an ERROR for message `id`; nothing for 0, because that ERROR would end the connection."""
        if id:
            self.say(ServerConversation.error(id, error, self.shown.translate))

    def flush(self) -> None:
        """Send what was said now."""
        if self._connection is not None:
            self._connection.proceed()

    def proceed(self) -> None:
        """Go on after a while in which nothing was handled."""
        if self._connection is not None:
            self._connection.proceed_soon()
        else:
            self.go_on()

    def ended(self) -> None:
        """Go on with the next message."""
        (self.go_on if self._connection is None else self._connection.proceed)()
