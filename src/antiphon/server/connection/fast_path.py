"""Fast path of a session: answers whole batches of messages without an object for each message.

It is for services that see messages only (`Service.sees_messages_only`), and open while nothing else is under way
in the session and nothing waits to be written. Then received bytes go from the transport to `wire.batch`, and
the frames of the answers back to the transport. Whatever is out of the ordinary is left to the connection.
"""

import time
from collections.abc import Callable
from typing import Any

from antiphon.server.connection.write_buffer import WriteBuffer
from antiphon.server.handler.environment import HandlerEnvironment
from antiphon.server.handler.task import HandlerTask, outside_of_tasks, stepping
from antiphon.server.session.channel import SessionChannel
from antiphon.server.session.replay import STEP
from antiphon.wire.batch import BatchAnswerer, BatchResponder, Unanswered
from antiphon.wire.frames import FrameReader
from antiphon.wire.values import encode_json_into

Leave = Callable[[bytes | bytearray, int, bytes], object]
"""Called with received bytes, how many they are, and the frames of the answers to the first of them."""


class FastPath:
    """The fast path of one session on one connection."""

    __slots__ = ("_answerer", "_channel", "_received", "_responder", "_sent", "_turns", "_writer")

    def __init__(
        self,
        handlers: HandlerEnvironment,
        channel: SessionChannel,
        token: bytes,
        writer: WriteBuffer,
        leave: Leave,
    ) -> None:
        """Start closed; received bytes go through it from now on, and what it leaves goes to `leave`."""
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
            acknowledge=replay.acknowledge,
            clock=time.perf_counter,
            decode=service.message.decode,
            encode=encode_json_into,
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
            self._wait if service.is_async else None,
        )
        self._responder.unsettled_limit = replay.limit // 2
        self._received = self._sent = 0
        self.close()
        if steps is not None:
            channel.runner.answer_directly = self._responder.answer
        transport.hand_to(self._responder)

    @staticmethod
    def possible(handlers: HandlerEnvironment, channel: SessionChannel) -> bool:
        """Return whether a session can have a fast path; else every message must be handled by itself."""
        return not (handlers.log.debug_on or channel.session.must_change) and handlers.service.sees_messages_only

    def open(self) -> None:
        """Answer what is received next on the fast path."""
        self._responder.closed = False

    def close(self) -> None:
        """Leave what is received next to the connection."""
        self._responder.closed = True

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
        self._writer.credit(sent)
        unsettled, replay = self._responder.unsettled_bytes, self._channel.replay
        if unsettled >= STEP and replay.unsettled:
            replay.report(unsettled)
        return received > 0

    def take(self, answers: bytes) -> int:
        """Send the answers that were given before the fast path stopped; return where in the bytes it stopped."""
        self._send(answers)
        return self._answerer.position

    def answer_buffered(self, reader: FrameReader) -> bool:
        """Answer the messages in `reader`; return whether any was answered. Precondition: the channel is idle."""
        self._answerer.turn_seconds = self._turns.seconds  # the responder takes what was set last
        self._send(outside_of_tasks(reader.answer_buffered, self._answerer))
        return self._answerer.count > 0

    def _send(self, answers: bytes) -> None:
        count, unanswered = self._answerer.count, self._answerer.unanswered
        if not count:
            return
        self._answerer.unanswered = None  # an exception in it refers to the message
        self._channel.answered(count, answers, count - (unanswered is not None))
        if answers:
            self._writer.put(answers)
        if unanswered is not None:
            id, reply, error, waiting = unanswered
            if waiting is None:
                self._channel.runner.finish(id, reply, error)
            else:
                self._go_on(id, *waiting)

    def _wait(self, unanswered: Unanswered) -> None:
        """Go on with the only message received, whose coroutine waits."""
        id, _, _, waiting = unanswered
        assert waiting is not None
        self._channel.replay.count()
        self._go_on(id, *waiting)

    def _go_on(self, id: int, task: HandlerTask, waits_for: Any) -> None:
        task.go_on(waits_for)
        self._channel.runner.wait_for(id, task)
