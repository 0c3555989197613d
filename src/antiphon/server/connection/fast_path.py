"""Fast path of a session: answers whole batches of messages without an object for each message.

It is for services that see messages only (`Service.sees_messages_only`), and open while nothing else is under way
in the session and nothing waits to be written. Then received bytes go from the transport to `wire.batch`, and
the frames of the answers back to the transport. Whatever is out of the ordinary is left to the connection.
"""

import time
from collections.abc import Callable
from typing import Any

from antiphon.server.connection.late_answers import LateAnswers
from antiphon.server.connection.read_side import ReadSide
from antiphon.server.connection.write_buffer import QUEUE_LIMIT, WriteBuffer
from antiphon.server.handler.environment import HandlerEnvironment
from antiphon.server.handler.task import HandlerTask, outside_of_tasks, stepping
from antiphon.server.home.fence import fence
from antiphon.server.session.channel import SessionChannel
from antiphon.server.session.queue import QUEUED_MOST
from antiphon.server.session.replay import STEP
from antiphon.wire.batch import WAITING, BatchAnswerer, BatchResponder, Unanswered
from antiphon.wire.frames import FrameReader
from antiphon.wire.held import HeldMessages, Holding
from antiphon.wire.values import encode_json_into

Leave = Callable[[bytes | bytearray, int, bytes], object]
"""Called with received bytes, how many they are, and the frames of the answers to the first of them."""


class FastPath:
    """The fast path of one session on one connection."""

    __slots__ = (
        "_answerer", "_behind", "_channel", "_held", "_late", "_looked", "_proceed", "_reader",
        "_reading", "_received", "_responder", "_sent", "_turns", "_writer", "last_waits",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917 - one of each
        self,
        handlers: HandlerEnvironment,
        channel: SessionChannel,
        token: bytes,
        writer: WriteBuffer,
        reader: FrameReader,
        reading: ReadSide,
        leave: Leave,
        proceed: Callable[[], object],
    ) -> None:
        """Start closed; received bytes go through it from now on, and what it leaves goes to `leave`.

        `proceed` is called when what was held back is to be handled by the connection.
        """
        service, limit = handlers.service, handlers.message_limit
        self._channel = channel
        self._writer = writer
        replay = channel.replay
        steps = stepping(handlers.variables) if service.is_async else None
        self._turns = handlers.turns
        self._answerer = BatchAnswerer(
            service.receive,
            service.message.takes,
            token,
            limit,
            limit,
            stepping=steps,
            acknowledge=self._acknowledge,
            clock=time.perf_counter,
            decode=service.message.decode,
            encode=encode_json_into,
            times=handlers.times,
        )
        self._answerer.turn_seconds = self._turns.seconds
        transport = writer.transport
        self._responder = BatchResponder(
            self._answerer,
            replay.unsettled,
            replay.settle,
            transport.write,
            leave,
            transport.write_framed,
            channel.runner.waiting.wait if service.is_async else None,
        )
        self._responder.unsettled_limit = replay.limit // 2
        self._reader = reader
        self._reading = reading
        self._proceed = proceed
        self._held = self._looked = 0
        self._received = self._sent = 0
        self._late: LateAnswers | None = None
        self._behind: HeldMessages | None = None
        """Holds back what is nothing but messages."""
        self.last_waits = False
        """Whether the coroutine of the last message of `answer_buffered` waits."""
        channel.runner.batches = self._answerer
        if steps is not None:
            late, waiting, end = LateAnswers(writer), channel.runner.waiting, handlers.turn_end
            holding = Holding(
                most=QUEUED_MOST,
                late=late.frames,
                later=late.take,
                wait=waiting.wait,
                last=self._answer,
                go_on=self._go_on_behind,
                fence=fence,
                due=end.due,
                grew=end.grew,
                write=late.write_in_turn,
            )
            self._late = late
            self._behind = self._responder.held = HeldMessages(self._answerer, self._responder, holding)
            waiting.count = replay.count
        self.close()
        transport.hand_to(self._responder)

    @staticmethod
    def possible(handlers: HandlerEnvironment, channel: SessionChannel) -> bool:
        """Return whether a session can have a fast path; else every message must be handled by itself."""
        return not (handlers.log.debug_on or channel.session.must_change) and handlers.service.sees_messages_only

    def receive(self, buffer: bytearray, size: int) -> None:
        """Take received bytes, and from now on those that follow."""
        self._writer.transport.hand_to(self._responder)
        self._responder(buffer, size)

    @property
    def has_written(self) -> bool:
        """Whether no answer waits to be written."""
        return self._late is None or not self._late.frames

    def open(self) -> None:
        """Answer what is received next on the fast path."""
        self._responder.closed = 0
        self._answer_simply()

    def close(self) -> None:
        """Leave what is received next to the connection, and what is held back."""
        self._responder.closed = 1
        self._take_back()
        self._held = self._looked = 0
        if self._late is not None:
            self._late.write()

    def lose_connection(self) -> None:
        """Write nothing any more: what is not written is in the replay buffer."""
        if self._late is not None:
            self._late.frames.clear()
        self._behind = self._responder.held = None  # it refers to this object

    def _acknowledge(self, received: int) -> bool:
        """Take an ACK; return False if it is left to the connection, because somebody waits for it."""
        channel = self._channel
        return not channel.is_waited_for and channel.replay.acknowledge(received)

    @property
    def is_open(self) -> bool:
        """Whether what is received next is answered on the fast path."""
        return not self._responder.closed

    def credit(self) -> bool:
        """Tell the write buffer what went past it since the last call; return whether anything was received.

        The replay buffer is told what is not settled.
        """
        sent, received = self._responder.sent_bytes - self._sent, self._responder.received_bytes - self._received
        self._sent += sent
        self._received += received
        self._reading.received += received
        self._writer.credit(sent)
        unsettled, replay = self._responder.unsettled_bytes, self._channel.replay
        if unsettled >= STEP and replay.unsettled:
            replay.report(unsettled)
        return received > 0

    def take(self, answers: bytes) -> int:
        """Send the answers that were given before the fast path stopped; return where in the bytes it stopped.

        If it has stopped because a coroutine waits, and for no other reason, it `waits` from now on.
        """
        responder = self._responder
        if not responder.closed and _waits(self._answerer.unanswered):
            responder.closed = WAITING
        elif not self.waits:
            self.close()
        self._take_back()
        self._send(answers)
        return self._answerer.position

    def answer_buffered(self) -> bool:
        """Answer the messages in the reader; return whether any was. Precondition: the channel is idle."""
        self._answerer.turn_seconds = self._turns.seconds  # the responder takes what was set last
        answers = outside_of_tasks(self._reader.answer_buffered, self._answerer)
        self.last_waits = _waits(self._answerer.unanswered)
        self._send(answers)
        return self._answerer.count > 0

    # --- a coroutine that waits, and messages behind it -------------------------------------------------------

    @property
    def waits(self) -> bool:
        """Whether it is closed by a coroutine that waits, and by nothing else."""
        return self._responder.closed == WAITING

    @property
    def held(self) -> int:
        """How many messages are held back."""
        return self._held + (0 if self._behind is None else self._behind.messages)

    def wait(self) -> None:
        """Wait for the coroutine of the last message. Precondition: it waits, and nothing else is under way."""
        self._responder.closed = WAITING

    def hold(self) -> bool:
        """Leave what is buffered in the reader until the coroutine that waits has ended, as bytes.

        Returns False if anything but messages is among it, which cannot wait (CANCEL, ACK, BYE). As many messages
        are looked at as the queue of a channel takes; then nothing more is read.
        """
        reader, behind = self._reader, self._behind
        assert behind is not None, "only a coroutine can wait"
        if self._held < QUEUED_MOST:
            ahead = reader.messages_ahead(self._looked, QUEUED_MOST - self._held)
            if ahead is None:
                return False
            self._held += ahead[0]
            self._looked = ahead[1]
        paused = self._held >= QUEUED_MOST or reader.buffered >= QUEUE_LIMIT
        self._reading.pause(paused=paused)
        waiting = self._channel.runner.waiting
        if self._looked == reader.buffered and not paused:
            behind.hold(bytes(reader.take()), self._held)
            self._held = self._looked = 0
            waiting.answer = behind.answer
        else:
            waiting.answer = self._answer
        return True

    def _take_back(self) -> None:
        """Have what is held in the reader again. Precondition: if there is any, the reader is empty."""
        behind = self._behind
        if behind is not None and behind.messages:
            self._held = behind.messages
            rest = behind.take()
            self._looked = len(rest)
            self._reader.feed(rest)

    def _answer(self, id: int, reply: object) -> bool:
        """Answer a message whose coroutine has waited, and go on with what is held back.

        Returns False if that is left to the caller.
        """
        self._take_back()
        responder, late = self._responder, self._late
        assert late is not None, "only a coroutine can wait"
        if not (self._held or late.frames):
            if not responder.answer(id, reply):
                return False
        else:
            frame = responder.prepare(id, reply)
            if frame is None:
                return False
            late.add(frame, last=not self._held)
        if responder.closed == 1:  # the peer takes no more: the connection goes on when it does
            return True
        if self._held or self._reader.buffered:
            self._go_on_behind(None)
        else:
            responder.closed = 0
            self._answer_simply()
        return True

    def _answer_simply(self) -> None:
        """Have the next message whose coroutine waits answered without a call of this object."""
        if self._behind is not None:
            self._channel.runner.waiting.answer = self._behind.answer

    def _go_on_behind(self, answers: bytes | None) -> None:
        """Answer the messages that were held back; the first are answered with `answers`."""
        reader, answerer = self._reader, self._answerer
        self._take_back()
        if answers is None and self._held and fence.check():
            self._responder.closed = WAITING
            answerer.turn_seconds = self._turns.seconds
            buffered = reader.buffered
            answers = reader.answer_buffered(answerer)
            self._held -= answerer.count
            self._looked += reader.buffered - buffered
        if answers is not None:
            waits = _waits(answerer.unanswered)
            self._send(answers)
            if waits and self.waits and self.hold():
                return
        self.close()
        self._proceed()

    def _send(self, answers: bytes) -> None:
        count, unanswered = self._answerer.count, self._answerer.unanswered
        if not count:
            return
        self._answerer.unanswered = None  # an exception in it refers to the message
        self._channel.answered(count, answers, count - (unanswered is not None))
        if answers:
            if self._late is not None:
                self._late.write()  # in order
            self._writer.put(answers)
        if unanswered is not None:
            id, reply, error, waiting = unanswered
            if waiting is None:
                self._channel.runner.finish(id, reply, error, self._answerer.began)
            else:
                self._go_on(id, *waiting)

    def _go_on(self, id: int, task: HandlerTask, waits_for: Any) -> None:
        task.go_on(waits_for)
        self._channel.runner.waiting.limit(id, task, self._answerer.began)


def _waits(unanswered: Unanswered | None) -> bool:
    """Return whether a message is unanswered because its coroutine waits."""
    return unanswered is not None and unanswered[3] is not None
