"""Fast path of a session: answers whole batches of messages without an object for each message.

It is for services that see messages only (`Service.sees_messages_only`), and open while nothing else is under way
in the session and nothing waits to be written. Then received bytes go from the transport to `wire.answering`, and
the frames of the answers back to the transport. Whatever is out of the ordinary is left to the connection.
"""

from collections.abc import Callable
from typing import Any

from antiphon.server.connection.write_buffer import WriteBuffer
from antiphon.server.handler.environment import HandlerEnvironment
from antiphon.server.handler.task import HandlerTask, outside_of_tasks, stepping
from antiphon.server.session.channel import SessionChannel
from antiphon.wire.answering import Answerer, Left, Shortcut
from antiphon.wire.frames import FrameReader

Otherwise = Callable[[bytes | bytearray, int, bytes], object]
"""Called with received bytes, how many they are, and the frames of the answers to the first of them."""


class FastPath:
    """The fast path of one session on one connection."""

    __slots__ = ("_answerer", "_channel", "_received", "_sent", "_shortcut", "_writer")

    def __init__(
        self,
        handlers: HandlerEnvironment,
        channel: SessionChannel,
        token: bytes,
        writer: WriteBuffer,
        otherwise: Otherwise,
    ) -> None:
        """Start closed; received bytes go through it from now on, and what it leaves goes to `otherwise`."""
        service, limit = handlers.service, handlers.message_limit
        self._channel = channel
        self._writer = writer
        replay = channel.replay
        steps = stepping(handlers.variables) if service.is_async else None
        self._answerer = Answerer(
            service.receive, service.takes, token, limit, limit, stepping=steps, acknowledge=replay.acknowledge
        )
        transport = writer.transport
        self._shortcut = Shortcut(
            self._answerer,
            replay.unsettled,
            replay.settle,
            transport.write,
            otherwise,
            transport.write_framed,
            self._wait if service.is_async else None,
        )
        self._received = self._sent = 0
        self.close()
        if steps is not None:
            channel.runner.answer_directly = self._shortcut.answer
        transport.hand_to(self._shortcut)

    @staticmethod
    def possible(handlers: HandlerEnvironment, channel: SessionChannel) -> bool:
        """Return whether a session can have a fast path; else every message must be handled by itself."""
        return not (handlers.log.debug_on or channel.session.must_change) and handlers.service.sees_messages_only

    def open(self) -> None:
        """Answer what is received next on the fast path."""
        self._shortcut.held = False

    def close(self) -> None:
        """Leave what is received next to the connection."""
        self._shortcut.held = True

    @property
    def is_open(self) -> bool:
        """Whether what is received next is answered on the fast path."""
        return not self._shortcut.held

    def credit(self) -> bool:
        """Tell the write buffer what went past it since the last call; return whether anything was received."""
        sent, received = self._shortcut.said - self._sent, self._shortcut.heard - self._received
        self._sent += sent
        self._received += received
        self._writer.credit(sent)
        return received > 0

    def take(self, answers: bytes) -> int:
        """Send the answers that were given before the fast path stopped; return where in the bytes it stopped."""
        self._send(answers)
        return self._answerer.at

    def answer_buffered(self, reader: FrameReader) -> bool:
        """Answer the messages in `reader`; return whether any was answered. Precondition: the channel is idle."""
        self._send(outside_of_tasks(reader.pass_on, self._answerer, self._answerer))
        return self._answerer.count > 0

    def _send(self, answers: bytes) -> None:
        count, left = self._answerer.count, self._answerer.left
        if not count:
            return
        self._answerer.left = None  # an exception in it refers to the message
        self._channel.answered(count, answers, count - (left is not None))
        if answers:
            self._writer.put(answers)
        if left is not None:
            id, reply, error, waiting = left
            if waiting is None:
                self._channel.runner.finish(id, reply, error)
            else:
                self._go_on(id, *waiting)

    def _wait(self, left: Left) -> None:
        """Go on with the only message received, whose coroutine waits."""
        id, _, _, waiting = left
        assert waiting is not None
        self._channel.replay.count()
        self._go_on(id, *waiting)

    def _go_on(self, id: int, task: HandlerTask, waits_for: Any) -> None:
        task.go_on(waits_for)
        self._channel.runner.wait_for(id, task)
