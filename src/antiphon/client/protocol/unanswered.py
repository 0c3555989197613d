"""Unanswered messages: what a session has sent and received, so that a lost connection loses and repeats nothing.

The rules are those of docs/protocol.md, "Continuity": which messages are sent again on the next connection, and
which have an outcome that nobody can know. No I/O and no clock.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from antiphon.errors import FrameInvalid, ProtocolError
from antiphon.wire.client_batch import Answer
from antiphon.wire.conversation import LAST_ID
from antiphon.wire.frames import Payload

Asker = TypeVar("Asker")


@dataclass(eq=False)
class Sent(Generic[Asker]):
    """One message that is not answered yet. Most stay as they are made, so the class holds the common values."""

    id: int
    number: int
    """Its place among all messages of this count, from 1."""
    message: Payload
    asker: Asker
    """Receiver of the answers."""
    written: bool = field(default=False, init=False)
    """Whether it was given to a connection at least once."""
    taken_back: bool = field(default=False, init=False)
    """Whether its asker wants no more answers (CANCEL)."""
    gap: bool = field(default=False, init=False)
    """Whether some of its answers may be lost: then only an answer that is the only one is believed."""
    spoiled: bool = field(default=False, init=False)
    """Whether it is sent with a wrong token, to be refused. It is never sent again."""


class UnansweredMessages(Generic[Asker]):
    """The counts of one session, and its messages that are not answered yet."""

    def __init__(self) -> None:
        """Start with a session that was just opened."""
        self.received = 0
        """Frames received; frames that are lost for good count as received."""
        self._sent = 0
        self._heard = 0
        """The highest number of a message that a frame has come for."""
        self._last_id = 0
        self._unanswered: dict[int, Sent[Asker]] = {}
        self._gap = False
        """Frames are lost, and no frame has come since that says where."""
        self._settled_at: int | None = None
        """The count of received frames at which `_settled` holds."""
        self._settled: list[Sent[Asker]] = []
        """Messages that are answered by then, or never will be."""

    @property
    def unanswered(self) -> Collection[Sent[Asker]]:
        """Messages that are not answered yet, in the order in which they were sent."""
        return self._unanswered.values()

    def holds(self, sent: Sent[Asker]) -> bool:
        """Return whether a message is still unanswered."""
        return self._unanswered.get(sent.id) is sent

    def send(self, message: Payload, asker: Asker) -> Sent[Asker]:
        """Add a message that is to be sent, now or on the next connection."""
        id = self._last_id % LAST_ID + 1
        while id in self._unanswered:
            id = id % LAST_ID + 1
        self._last_id = id
        self._sent += 1
        sent = self._unanswered[id] = Sent(id, self._sent, message, asker)
        return sent

    def send_all(self, messages: Iterable[Sent[Asker]]) -> None:
        """Add messages that are to be sent, in order; each is given its id and its number."""
        id, number, unanswered = self._last_id, self._sent, self._unanswered
        for sent in messages:
            id = id % LAST_ID + 1
            while id in unanswered:
                id = id % LAST_ID + 1
            number += 1
            sent.id, sent.number = id, number
            unanswered[id] = sent
        self._last_id, self._sent = id, number

    @property
    def last_id(self) -> int:
        """The id of the last message; 0 before the first one."""
        return self._last_id

    def exchanged(self, messages: int) -> None:
        """Count messages that were sent one after another, each answered with one frame before the next one.

        Precondition: `ordinary`, and none is unanswered.
        """
        if messages:
            self._sent += messages
            self.received += messages
            self._heard = self._sent
            self._last_id = (self._last_id + messages - 1) % LAST_ID + 1

    @property
    def ordinary(self) -> bool:
        """Whether nothing is lost, and nothing is left of a RESUME: `answered` may take the place of `take`."""
        return not self._gap and self._settled_at is None

    def answered(self, id: int) -> Sent[Asker]:
        """Count a received frame that is the only answer to a message; return the message. Then none is `unknown`.

        Precondition: `ordinary`.

        Raises:
            FrameInvalid: it answers no message that was sent.
        """
        sent = self._unanswered.get(id)
        if sent is None or not sent.written:
            raise FrameInvalid(problem=f"an answer came to {id}, which was not asked")
        self.received += 1
        self._heard = max(self._heard, sent.number)
        del self._unanswered[id]
        return sent

    def answered_all(self, answers: Iterable[Answer], taken: list[tuple[Sent[Asker], Payload]]) -> None:
        """Do what `answered` does with each of several answers; append each message with its answer to `taken`.

        Precondition: `ordinary`.

        Raises:
            FrameInvalid: one answers no message that was sent; `taken` has those before it.
        """
        unanswered, heard, before = self._unanswered, self._heard, len(taken)
        try:
            for id, payload in answers:
                sent = unanswered.get(id)
                if sent is None or not sent.written:
                    raise FrameInvalid(problem=f"an answer came to {id}, which was not asked")
                del unanswered[id]
                if sent.number > heard:  # noqa: PLR1730 - a call of max for each
                    heard = sent.number
                taken.append((sent, payload))
        finally:
            self.received += len(taken) - before
            self._heard = heard

    def take(self, id: int, *, last: bool) -> Sent[Asker] | None:
        """Count a received frame, the `last` one for its message or not; return the message, None for a push.

        Raises:
            FrameInvalid: it answers no message that was sent.
        """
        if id == 0:
            self.received += 1
            return None
        sent = self._unanswered.get(id)
        if sent is None or not sent.written:
            raise FrameInvalid(problem=f"an answer came to {id}, which was not asked")
        self.received += 1
        self._heard = max(self._heard, sent.number)
        if self._gap and not sent.taken_back:
            # Answers come in the order of the messages, so the answers to later messages are whole.
            self._gap = False
            for each in self._unanswered.values():
                each.gap = each.gap and each.number <= sent.number
        if last:
            del self._unanswered[id]
        return sent

    def resume(
        self, received: int | None, *, missed: int = 0, sent: int = 0, at_work: Collection[int] = ()
    ) -> list[Sent[Asker]]:
        """Take the counts of WELCOME after RESUME; return the messages to send again, in order.

        The arguments are WELCOME's fields (`at_work` is its `open`); `unknown` then says what nobody can know.

        Raises:
            ProtocolError: the server's counts are impossible.
        """
        if received is None:
            return self._begin_anew()
        if not self._heard <= received <= self._sent or self.received + missed > sent:
            raise ProtocolError(problem="the counts of the two sides do not fit together")
        arrived = [each for each in self._unanswered.values() if each.number <= received]
        beyond = [each for each in self._unanswered.values() if each.number > received]
        if not all(each.written for each in arrived):
            raise ProtocolError(problem="the server counts a message that was never sent")
        if missed:
            self._gap = True
            for each in arrived:
                each.gap = True
        self.received += missed
        self._settled_at = sent
        again = [each for each in beyond if not (each.spoiled and each.written)]
        self._settled = [each for each in arrived if each.id not in at_work]
        self._settled += [each for each in beyond if each not in again]
        self._count_on(received, again)
        return again

    def _begin_anew(self) -> list[Sent[Asker]]:
        """Count from 0 again, as the server does that has lost its counts."""
        self.received = self._heard = self._settled_at = 0
        self._gap = False
        self._settled = [each for each in self._unanswered.values() if each.written]
        again = [each for each in self._unanswered.values() if not each.written]
        self._count_on(0, again)
        return again

    def _count_on(self, received: int, again: list[Sent[Asker]]) -> None:
        """Number the messages that are sent `again` behind those that the server has `received`."""
        self._sent = received + len(again)
        for number, each in enumerate(again, received + 1):
            each.number = number

    def unknown(self) -> list[Sent[Asker]]:
        """Return the messages whose outcome is known by now to be unknown; each message once.

        Call it after `resume`, and after each `take`.
        """
        if self._settled_at is None or self.received < self._settled_at:
            return []
        lost = [each for each in self._settled if self._unanswered.get(each.id) is each]
        self._settled_at, self._settled = None, []
        for each in lost:
            del self._unanswered[each.id]
        return lost
