"""Handler runner: gives the messages of one session to the service, one at a time, and takes what it replies."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from inspect import isawaitable
from types import CoroutineType
from typing import Protocol, cast

from antiphon.errors import AntiphonError, MessageInvalid, OutcomeUnknown, ServiceFailed, ServiceTooSlow, TextOnly
from antiphon.observe.repeats import Repeats, place_of
from antiphon.server.handler.environment import HandlerEnvironment
from antiphon.server.handler.guard import as_fault, in_time
from antiphon.server.handler.lifecycle import stop
from antiphon.server.handler.task import PythonHandlerTask, start
from antiphon.server.handler.waiting import Task, Waiting
from antiphon.services import Answer, Reply, Session
from antiphon.wire.conversation import ServerConversation
from antiphon.wire.frames import HEADER_SIZE, Payload
from antiphon.wire.times import add_time
from antiphon.wire.values import payload_of


class Answers(Protocol):
    """The channel, as the runner uses it: the frames of answers go there."""

    def say(self, data: bytes) -> None:
        """Send a frame, now or over the next connection."""

    def refuse(self, id: int, error: AntiphonError) -> None:
        """Send an ERROR for a message."""

    def flush(self) -> None:
        """Send what was said now."""

    async def ready(self) -> None:
        """Wait until more may be said."""

    def ended(self) -> None:
        """Go on with the next message: a handler that had to wait has ended."""


class Timed(Protocol):
    """What times messages of a session beside its runner."""

    @property
    def seconds(self) -> float:
        """Time of the service for them."""


class HandlerRunner:
    """Runs the handler of one session; one message at a time."""

    __slots__ = (
        "_answers", "_began", "_environment", "_handle", "_seconds", "_session", "_stopping", "_take", "batches",
        "repeats", "waiting",
    )  # fmt: skip

    def __init__(self, environment: HandlerEnvironment, session: Session, answers: Answers) -> None:
        """Prepare to run the service of `environment` for `session`."""
        self._environment = environment
        self._session = session
        self._answers = answers
        self._take = environment.service.take
        self._handle = environment.service.bind(session)
        self._began = 0.0
        """When the handler that is running was called (`time.perf_counter`)."""
        self._stopping = False
        self._seconds = 0.0
        """Time of the service for messages of this session that neither `batches` nor `waiting` has timed."""
        self.batches: Timed | None = None
        """Set by the fast path: what times its messages."""
        self.waiting = Waiting(environment.time_limits, environment.times, self._ended)
        """The handler, while it waits for something."""
        self.repeats = Repeats(environment.log, environment.repeat_seconds)
        """Faults and refusals of this session, for the log."""

    @property
    def busy(self) -> bool:
        """Whether a handler is running; precondition of `run` is that none is."""
        return self.waiting.task is not None

    @property
    def open_id(self) -> int:
        """The id of the message whose handler is running, 0 if there is none or it can get no more answers."""
        return self.waiting.id if self.waiting.task is not None else 0

    def run(self, id: int, message: Payload) -> None:
        """Give the service a message."""
        try:
            given = message if self._take is None else self._take(message)
        except (MessageInvalid, TextOnly) as error:
            self._answers.refuse(id, error)
            return
        except BaseException as error:  # noqa: BLE001 - the code of a type; a fault like those of the service
            self._failed(id, as_fault(error))
            return
        began = time.perf_counter()
        try:
            reply = self._handle(given)
        except BaseException as error:  # noqa: BLE001 - the service's fault; the session goes on
            self.finish(id, None, error, began)
        else:
            self.finish(id, reply, None, began)

    def finish(self, id: int, reply: object, error: BaseException | None, began: float) -> None:
        """Handle what the service replied or raised for a message that it was given at `began`."""
        self._began = began
        if error is None:
            self._replied(id, cast("Reply", reply))
        else:
            self._failed(id, as_fault(error))
        if self.waiting.task is None:
            self._add_time(time.perf_counter() - began)

    def cancel(self, id: int) -> bool:
        """Cancel the handler if it is working on message `id`; return whether it is."""
        waiting = self.waiting
        if waiting.task is None or waiting.id != id:
            return False
        waiting.cancelled = True
        asyncio.get_running_loop().call_soon(waiting.task.cancel)  # after its first step, or that would never run
        return True

    @property
    def seconds(self) -> float:
        """Time of the service for all messages of this session, from the call to the last answer."""
        beside = self.batches.seconds if self.batches is not None else 0.0
        return self._seconds + self.waiting.seconds + beside

    def leave_fast_path(self) -> None:
        """Go on without the fast path: its connection is gone."""
        if self.batches is not None:
            self._seconds += self.batches.seconds
        self.batches = self.waiting.answer = None

    def _add_time(self, seconds: float) -> None:
        """Note the time of one message."""
        self._seconds += seconds
        add_time(self._environment.times, seconds)

    async def stop(self) -> None:
        """Cancel the handler that is running, and wait for its end."""
        self._stopping = True
        await stop(self.waiting.task)
        self.repeats.finish()

    def log_size(self, event: str, id: int, message: Payload) -> None:
        """Log the size of a message in bytes, at level `debug`."""
        if self._environment.log.debug_on:
            session, size = self._session, len(message.encode() if isinstance(message, str) else message)
            self._environment.log.debug(event, name=session.name, address=session.address, id=id, size=size)

    # --- replies --------------------------------------------------------------------------------------------

    def _replied(self, id: int, reply: Reply) -> None:
        if reply is None or isinstance(reply, (str, bytes)):
            self._answer(id, reply)
        elif type(reply) is not CoroutineType and isinstance(reply, AsyncIterator):
            task = self._environment.tasks.start(self._stream(id, reply))
            self.waiting.begin(id, task, self._began)
            task.add_done_callback(self.waiting)
        elif isawaitable(reply):
            self._start(id, reply)
        else:
            self._answer(id, reply)

    def _start(self, id: int, handler: Awaitable[Answer]) -> None:
        """Take the first step of a handler, which may be its last."""
        try:
            reply = start(handler, self._environment.variables)
        except BaseException as error:  # noqa: BLE001 - as in `run`
            self._failed(id, as_fault(error))
        else:
            if isinstance(reply, PythonHandlerTask):
                self.waiting.limit(id, reply, self._began)
            else:
                self._replied(id, reply)

    async def _stream(self, id: int, answers: AsyncIterator[object]) -> None:
        more, seconds = True, self._environment.seconds
        try:
            while more:
                answer = await in_time(anext(answers, None), seconds)
                if answer is None:
                    break
                await self._answers.ready()
                more = self._part(id, answer)
        finally:
            if not more:
                self.waiting.id = 0  # the client was sent an ERROR: what comes now is for the log only
            if (close := getattr(answers, "aclose", None)) is not None:
                await in_time(close(), seconds)
        if more:  # in this step, so that what is pushed in the next one comes after it
            self._answer(id, None)
            self.waiting.id = 0

    def _ended(self, id: int, task: Task) -> None:
        """Send the outcome of a handler that had to wait."""
        try:
            answer = task.result()
        except BaseException as error:  # noqa: BLE001 - as in `run`
            self._not_answered(id, error, late=isinstance(task, PythonHandlerTask) and task.late)
            del task  # the traceback of what was raised refers to this frame: no cycle
        else:
            self._answer(id, answer)
        self._answers.ended()

    def _not_answered(self, id: int, error: BaseException, *, late: bool) -> None:
        cancelled = isinstance(error, asyncio.CancelledError)
        if cancelled and self.waiting.cancelled:
            if id:
                self._answers.say(ServerConversation.end(id))
        elif cancelled and self._stopping:
            self._answers.refuse(id, OutcomeUnknown())
        elif isinstance(error, ServiceTooSlow) or (late and (cancelled or isinstance(error, TimeoutError))):
            session = self._session
            self.repeats.error("service-too-slow", "", name=session.name, address=session.address)
            self._answers.refuse(id, ServiceTooSlow())
        else:
            self._failed(id, error if isinstance(error, KeyboardInterrupt) else as_fault(error))

    # --- answers --------------------------------------------------------------------------------------------

    def _answer(self, id: int, answer: object) -> None:
        if self._clearly_too_large(id, answer):
            return
        try:
            payload = None if answer is None else payload_of(answer)
            data = ServerConversation.end(id) if payload is None else ServerConversation.answer(id, payload)
        except Exception as error:  # noqa: BLE001 - what JSON cannot hold, or text that UTF-8 cannot encode
            self._failed(id, error)
            return
        self._say(id, payload, data)

    def _part(self, id: int, answer: object) -> bool:
        """Send one of many answers, or the ERROR in its place, now; return whether more may follow."""
        more = self._say_part(id, answer)
        self._answers.flush()
        return more

    def _say_part(self, id: int, answer: object) -> bool:
        if self._clearly_too_large(id, answer):
            return False
        try:
            payload = payload_of(answer)
            data = ServerConversation.part(id, payload)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(id, error)
            return False
        return self._say(id, payload, data)

    def _say(self, id: int, answer: Payload | None, data: bytes) -> bool:
        if len(data) > self._environment.message_limit + HEADER_SIZE:
            self._too_large(id, len(data))
            return False
        if answer is not None:
            self.log_size("sent", id, answer)
        if id:
            self._answers.say(data)
        return True

    def _clearly_too_large(self, id: int, answer: object) -> bool:
        """Refuse an answer whose size is known before it is encoded: to copy it first would take a while."""
        if not (isinstance(answer, bytes) or (isinstance(answer, str) and answer.isascii())):
            return False
        if len(answer) <= self._environment.message_limit:
            return False
        self._too_large(id, HEADER_SIZE + len(answer))
        return True

    def _too_large(self, id: int, size: int) -> None:
        name, address = self._session.name, self._session.address
        self.repeats.error("answer-too-large", "", name=name, address=address, size=size)
        self._answers.refuse(id, ServiceFailed())

    def _failed(self, id: int, error: BaseException) -> None:
        name, address = self._session.name, self._session.address
        self.repeats.error("service-failed", place_of(error), name=name, address=address, exception=error)
        self._answers.refuse(id, ServiceFailed())
