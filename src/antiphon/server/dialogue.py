"""One session between its client and the service: messages in order, answers, pushes, what was not acknowledged.

It outlives its connections: a handler goes on while the link is gone, and what it says is sent over the next one.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import CoroutineType
from typing import Any, cast

import msgspec

from antiphon.errors import AntiphonError, OutcomeUnknown, PasswordDue, ServiceFailed, ServiceTooSlow, TextOnly
from antiphon.language import Translate
from antiphon.server.context import ServerContext
from antiphon.server.continuity import Continuity
from antiphon.server.faults import as_fault, in_time
from antiphon.server.kept import Kept
from antiphon.server.outlet import Outlet
from antiphon.server.presence import Presence, stopped
from antiphon.server.sessions import Session
from antiphon.server.turn import Turn, step
from antiphon.server.waiting import Waiting
from antiphon.services import Answer, Reply
from antiphon.store.contracts import Revocation
from antiphon.wire.bodies import Welcome
from antiphon.wire.conversation import ServerConversation
from antiphon.wire.frames import HEADER_SIZE, Frame, Payload
from antiphon.wire.kinds import Kind

TURN_SECONDS = 0.005
"""How long a service that never waits may say one thing after another, before everybody else has a turn."""


class Dialogue:
    """A session as the service sees it (`services.Session`), and as a connection does."""

    def __init__(self, context: ServerContext, session: Session) -> None:
        """Begin; call `attach` before anything else."""
        self._context = context
        self._session = session
        self.fingerprint = session.fingerprint
        self.account = session.account_id
        self.name = session.name or ""
        self.address = session.holder.peer.address
        self.since = session.opened_at
        self.state: Any = None
        self.translate: Translate = str
        self.counted = True
        """Whether the counts are known, and the client knows that it begins with them."""
        self.continuity = Continuity()
        """What has come, and what was sent."""
        self._outlet: Outlet | None = None
        self.shortcut: Callable[[int, object], bool] | None = None
        """Answers a message that has waited, where nothing else is to be seen to; tells whether it did."""
        self.away_since: float | None = asyncio.get_running_loop().time()
        """Since when no connection holds it, in loop time; None while one does."""
        self._waiting = Waiting()
        self._busy = False
        self._current = 0
        """The id of the message that the service is at work on; 0 where nothing more can be said to it."""
        self._task: asyncio.Future[Any] | None = None
        self._taken_back = False
        """Its asker has cancelled it."""
        self.restored = False
        self._presence = Presence(context, self, self._not_opened)
        self._closing: str | None = None
        """Why the service has ended the session, which its client may not know yet."""
        self.over = False
        self._room: asyncio.Event | None = None  # where somebody waits to send more
        self._turn_ends = 0.0
        self._debug = context.log.debug_on
        self._largest = context.settings.message_limit + HEADER_SIZE
        self._handle = context.service.bind(self)

    # --- connections come and go ----------------------------------------------------------------------------

    def attach(self, outlet: Outlet, session: Session) -> None:
        """Go on with another connection, which holds the session."""
        self._outlet = outlet
        self._session = session
        self.address = outlet.peer.address
        self.translate = outlet.translate
        self.away_since = None
        self.go_on()

    def detach(self, outlet: Outlet) -> None:
        """Go on without a connection, if `outlet` is still the one."""
        if self._outlet is outlet:
            self._outlet = self.shortcut = None
            self.away_since = asyncio.get_running_loop().time()

    def resume(self, received: int | None, welcome: Welcome) -> tuple[Welcome, list[bytes]]:
        """Return `welcome` with what the client must know to go on, and the frames to be sent again.

        `received` is how many the client has got; None, it counts from zero again, and so do we. That we do not
        know the counts is said until the client has sent something after it: it may not have heard it.
        """
        if received is None or not self.counted:
            self.continuity, self.counted = Continuity(), received is None
            return welcome, []
        self.continuity.acknowledge(received)
        welcome = msgspec.structs.replace(
            welcome,
            received=self.continuity.received,
            missed=max(0, self.continuity.first - received),
            sent=self.continuity.sent,
            open=self._unanswered(),
        )
        return welcome, self.continuity.kept()

    def _unanswered(self) -> list[int]:
        """Return the ids of the messages that are not answered, in order; few of them can wait."""
        current = [self._current] if self._task is not None else []
        return [id for id in (*current, *(id for id, _ in self._waiting)) if id]

    def concerned(self, entry: Revocation) -> bool:
        """Return whether a revocation ends the session: one from before it was taken up last does not."""
        named = entry.fingerprint == self.fingerprint
        of_account = entry.fingerprint is None and entry.account_id == self.account
        return (named or of_account) and self._session.position < entry.id

    def heed(self, frame: Frame) -> None:
        """Do what a frame without a control body asks for.

        Raises:
            FrameInvalid: an ACK without a count.
        """
        if frame.kind == Kind.CANCEL:
            self._cancel(frame.id)
        elif frame.kind == Kind.ACK:
            self.counted = True
            self.continuity.acknowledge(ServerConversation.count(frame))

    def dump(self) -> bytes:
        """Return what another server needs to go on."""
        kept = Kept.of(self.continuity.received, self.continuity.first, self.continuity.kept(), self._waiting)
        return kept.encode()

    def restore(self, data: bytes | None) -> None:
        """Begin where another server has stopped; without its `data` the counts are unknown."""
        self.restored = True
        kept = Kept.decode(data)
        self.counted = kept is not None
        if kept is not None:
            self.continuity = Continuity(kept.received, kept.first, kept.frames)
            for id, message in kept.messages():
                self._waiting.put(id, message)

    # --- messages -------------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether as much waits as may."""
        return self._waiting.full

    @property
    def idle(self) -> bool:
        """Whether every message that has come is answered."""
        return not (self._busy or self._waiting)

    def _come(self) -> None:
        """Have the service told of the session; messages wait until it has taken that in."""
        opening = self._presence.come()
        if opening is not None:
            self._busy = True
            opening.add_done_callback(self._opened)

    def _opened(self, _: asyncio.Task[None]) -> None:
        self._busy = False
        self.go_on()
        if self._outlet is not None:
            self._outlet.proceed()

    def _not_opened(self) -> None:
        if self._outlet is not None:
            self._outlet.fail(ServiceFailed())

    async def finish(self) -> None:
        """End for good: what is under way is cancelled, and the service is told."""
        if self.over:
            return
        self.over = True
        self._make_room()
        await stopped(self._task)
        await self._presence.go()
        if self._closing is not None and self._outlet is None:  # nobody has come back to be told
            try:
                await self._context.sessions.end(self._session)
            except AntiphonError as error:
                self._context.log.exception("store-failed", code=error.code, name=self.name)

    def message(self, id: int, message: Payload) -> None:
        """Have the service answer a message, once it has answered those before."""
        self.counted = True
        self.continuity.came()
        if self._busy or self._waiting or self._closing is not None:
            self._waiting.put(id, message)
        else:
            self._take(id, message)

    def answered(self, received: int, answers: bytes, answered: int) -> None:
        """Take in that messages have gone to the service by the swift way, and that their answers are sent."""
        self.counted = True
        self.continuity.came(received)
        if answered:
            self.continuity.keep(answers, answered)

    def left(self, id: int, reply: object, error: BaseException | None) -> None:
        """See to the message that the swift way has left: what the service gave to it, or raised."""
        if error is None:
            self._replied(id, cast("Reply", reply))
        else:
            self._service_failed(id, as_fault(error))

    def refused(self, id: int, error: AntiphonError) -> None:
        """Answer a message that came and was refused at the gate."""
        self.counted = True
        self.continuity.came()
        self._fail(id, error)

    def _cancel(self, id: int) -> None:
        """Take a message back: the service stops, or never begins; one that is answered already is no news."""
        if self._task is not None and self._current == id:
            self._taken_back = True
            asyncio.get_running_loop().call_soon(self._task.cancel)  # not before its own first step
        elif self._waiting.take_back(id):
            self._say(ServerConversation.end(id))

    def go_on(self) -> None:
        """Take the messages that wait, as far as they can be answered now."""
        if not (self.over or self._session.must_change):  # nor is what a service pushes for those
            self._come()
        while self._waiting and not (self._busy or self._blocked or self.over or self._closing is not None):
            self._take(*self._waiting.take())
        if not self._blocked:
            self._make_room()
        if self._closing is not None and self._outlet is not None:
            self._outlet.end(self._closing)

    def _take(self, id: int, message: Payload) -> None:
        if self._debug:
            self._log_size("received", id, message)
        if self._session.must_change:
            self._fail(id, PasswordDue())
            return
        try:
            reply = self._handle(message)
        except TextOnly as error:
            self._fail(id, error)
        except BaseException as error:  # noqa: BLE001 - a service's fault is its own; the session goes on
            self._service_failed(id, as_fault(error))
        else:
            self._replied(id, reply)

    def _replied(self, id: int, reply: Reply) -> None:
        if reply is None or isinstance(reply, (str, bytes)):
            self._answer(id, reply)
        elif type(reply) is not CoroutineType and isinstance(reply, AsyncIterator):
            self._begin(id, task := self._context.start(self._stream(id, reply)))
            task.add_done_callback(self._ended)
        else:
            self._step(id, reply)

    def _step(self, id: int, handler: Awaitable[Answer]) -> None:
        """Take the first step of a handler, which may be its last."""
        try:
            reply = step(handler, self._context.variables)
        except BaseException as error:  # noqa: BLE001 - as in `_take`
            self._service_failed(id, as_fault(error))
        else:
            (self.wait_for if isinstance(reply, Turn) else self._replied)(id, reply)

    def wait_for(self, id: int, turn: Turn) -> None:
        """Answer when a handler that waits for something has ended."""
        turn.then = self._ended
        self._context.turns.begin(turn)
        self._begin(id, turn)

    def _begin(self, id: int, task: asyncio.Future[Any]) -> None:
        """Have other messages wait until a task has ended."""
        self._busy = True
        self._current = id
        self._taken_back = False
        self._task = task

    async def _stream(self, id: int, answers: AsyncIterator[str | bytes]) -> None:
        more, seconds = True, self._context.settings.service_seconds
        try:
            while more:
                answer = await in_time(anext(answers, None), seconds)
                if answer is None:
                    break
                await self.ready()
                more = self._part(id, answer)
        finally:
            if not more:
                self._current = 0  # the asker has been told that it failed; what comes now is for the log
            if (close := getattr(answers, "aclose", None)) is not None:
                await in_time(close(), seconds)
        if more:  # said in this step, so that what is pushed in the next ones comes behind it
            self._answer(id, None)
            self._current = 0

    def _ended(self, task: asyncio.Future[Any]) -> None:
        """Say how the work on a message has ended, and go on."""
        id = self._current
        self._busy = False
        self._task = None
        self._context.turns.end(task)
        try:
            answer = task.result()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the service's
            self._not_answered(id, error, late=isinstance(task, Turn) and task.late)
            del task  # it holds what was raised, whose traceback holds this
        else:
            if self.shortcut is not None and self.shortcut(id, answer):
                return
            self._answer(id, answer)
        (self.go_on if self._outlet is None else self._outlet.proceed)()

    def _not_answered(self, id: int, error: BaseException, *, late: bool) -> None:
        cancelled = isinstance(error, asyncio.CancelledError)
        if cancelled and self._taken_back:
            if id:
                self._say(ServerConversation.end(id))
        elif cancelled and self.over:
            self._fail(id, OutcomeUnknown())
        elif isinstance(error, ServiceTooSlow) or (late and (cancelled or isinstance(error, TimeoutError))):
            self._context.log.error("service-too-slow", name=self.name, address=self.address)
            self._fail(id, ServiceTooSlow())
        else:
            self._service_failed(id, error if isinstance(error, KeyboardInterrupt) else as_fault(error))

    # --- what is said ---------------------------------------------------------------------------------------

    @property
    def _blocked(self) -> bool:
        return self.continuity.full if self._outlet is None else self._outlet.blocked

    def send(self, message: str | bytes) -> None:
        """See `services.Session`."""
        if self.over:
            return
        data = ServerConversation.push(message)
        if len(data) > self._largest:
            raise ValueError("a message of more than --message-limit bytes cannot be sent")
        self._say(data)
        if self._outlet is not None:
            self._outlet.proceed_soon()

    async def ready(self) -> None:
        """See `services.Session`."""
        if time.monotonic() >= self._turn_ends:  # the loop's own time stands still meanwhile
            await asyncio.sleep(0)
            self._turn_ends = time.monotonic() + TURN_SECONDS
        while self._blocked and not self.over:
            self._room = self._room or asyncio.Event()
            await self._room.wait()

    def _make_room(self) -> None:
        if self._room is not None:
            self._room.set()
            self._room = None

    def close(self, reason: str = "") -> None:
        """See `services.Session`."""
        if self._closing is None:
            self._closing = reason
            self.go_on()

    def _answer(self, id: int, answer: Answer) -> None:
        try:
            data = ServerConversation.end(id) if answer is None else ServerConversation.answer(id, answer)
        except Exception as error:  # noqa: BLE001 - no answer at all, or text that UTF-8 cannot hold
            self._service_failed(id, error)
            return
        self._say_answer(id, answer, data)

    def _part(self, id: int, answer: str | bytes) -> bool:
        """Send one of many answers; return whether more may follow."""
        try:
            data = ServerConversation.part(id, answer)
        except Exception as error:  # noqa: BLE001 - as above
            self._service_failed(id, error)
            return False
        more = self._say_answer(id, answer, data)
        if self._outlet is not None:
            self._outlet.proceed()
        return more

    def _say_answer(self, id: int, answer: Answer, data: bytes) -> bool:
        if len(data) > self._largest:
            self._context.log.error("answer-too-large", name=self.name, address=self.address, size=len(data))
            self._fail(id, ServiceFailed())
            return False
        if self._debug and answer is not None:
            self._log_size("sent", id, answer)
        if id:
            self._say(data)
        return True

    def _fail(self, id: int, error: AntiphonError) -> None:
        if id:  # 0 asked for nothing, and an ERROR with id 0 would end the connection
            self._say(ServerConversation.error(id, error, self.translate))

    def _service_failed(self, id: int, error: BaseException) -> None:
        self._context.log.error("service-failed", name=self.name, address=self.address, exception=error)
        self._fail(id, ServiceFailed())

    def _log_size(self, event: str, id: int, message: Payload) -> None:
        size = len(message.encode() if isinstance(message, str) else message)
        self._context.log.debug(event, name=self.name, address=self.address, id=id, size=size)

    def _say(self, data: bytes) -> None:
        """Send a frame that counts, now or on another connection."""
        self.continuity.keep(data)
        if self._outlet is not None:
            self._outlet.send(data)
