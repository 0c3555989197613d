"""Counts of a run so far: messages by outcome, round-trip times, lost connections."""

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from antiphon.client.protocol.batch import BatchMessage
from antiphon.errors import AntiphonError, OutcomeUnknown
from antiphon.ping.histogram import Histogram
from antiphon.ping.payload import number_of, same
from antiphon.wire.frames import Payload


class Sending:
    """When messages were due and sent, in nanoseconds of the run's clock; those of one write may share it."""

    __slots__ = ("due_at", "sent_at")

    def __init__(self, due_at: int | None = None) -> None:
        """Note when they are due; None: when they are sent."""
        self.due_at = due_at
        self.sent_at = 0


class Lane(Protocol):
    """Receiver of what a trip tells of its answers."""

    def now(self) -> int:
        """Return the time of the run's clock, in nanoseconds."""

    def refuse_more(self, trip: "Trip") -> None:
        """Stop the service: the trip has a second answer."""

    def settle(self, trip: "Trip") -> None:
        """Take note that a trip is complete."""

    def send_soon(self) -> None:
        """Take note that the session may have room again."""


class Trip(BatchMessage):
    """The round trip of one message. The class holds what most of them have."""

    answered_at = 0
    """When its first answer, or its end, came, in nanoseconds of the run's clock; 0 before."""
    received: tuple[Payload, ...] = ()
    """Answers so far."""
    error: AntiphonError | None = None
    """Why it ended."""
    ended = False

    def __init__(self, message: str, sending: Sending, lane: Lane) -> None:
        """Begin with a message that `lane` sends."""
        self.message = message
        self.sending = sending
        self._lane = lane

    @property
    def count(self) -> int:
        """Its number among all messages of the run, from 1."""
        return number_of(self.message)

    @property
    def right(self) -> bool:
        """Whether it got exactly one answer, equal to the message."""
        return self.error is None and len(self.received) == 1 and same(self.received[0], self.message)

    @property
    def lost(self) -> bool:
        """Whether it ended without an answer or a refusal from the server."""
        error = self.error
        return error is not None and (error.told is None or isinstance(error, OutcomeUnknown))

    def put(self, payload: Payload) -> None:
        """Take an answer; a second one makes it wrong, and no more are wanted."""
        if self.ended:
            return
        self.answered_at = self.answered_at or self._lane.now()
        self.received += (payload,)
        if len(self.received) > 1:
            self._lane.refuse_more(self)
            self.end()

    def end(self, error: AntiphonError | None = None) -> None:
        """End it; the first end counts."""
        if self.ended:
            self._lane.send_soon()  # until now the session has counted it as unanswered
            return
        self.ended = True
        self.error = error
        self.answered_at = self.answered_at or self._lane.now()
        self._lane.settle(self)


@dataclass
class Outage:
    """A lost connection."""

    connection: int
    """Number of the connection, from 1."""
    at: float
    """Seconds from the start of the run to the loss."""
    reason: AntiphonError
    away: float | None = None
    """Seconds until the session was resumed, None if it was not."""


class Tally:
    """Counts and times of one run."""

    def __init__(self, *, scheduled: bool) -> None:
        """Start with zero; a `scheduled` run (open loop) records times in two ways."""
        self.sent = 0
        self.answered = 0
        """Messages that the server answered, correctly or not."""
        self.wrong = 0
        """Of these, messages with another text, an error, no answer, or more than one."""
        self.lost = 0
        """Messages of unknown outcome, or without an answer in time."""
        self.unsent = 0
        """Messages that were due and not sent before the end."""
        self.errors: Counter[str] = Counter()
        """Codes of the errors among the wrong answers."""
        self.first_error: AntiphonError | None = None
        self.times = Histogram()
        """Times of correct answers, measured from when the message was due."""
        self.uncorrected = Histogram() if scheduled else None
        """The same, measured from when the message was sent."""
        self.outages: list[Outage] = []

    def right(self, sending: Sending, answered_at: int, count: int = 1) -> None:
        """Count messages that were sent together, and were answered correctly and together."""
        self.answered += count
        self.times.record(answered_at - (sending.sent_at if sending.due_at is None else sending.due_at), count)
        if self.uncorrected is not None:
            self.uncorrected.record(answered_at - sending.sent_at, count)

    def settle(self, trip: Trip) -> None:
        """Count a message that is complete."""
        if trip.right:
            self.right(trip.sending, trip.answered_at)
        elif trip.lost:
            self.lost += 1
        else:
            self.answered += 1
            self.wrong += 1
            if trip.error is not None:
                self.errors[trip.error.code] += 1
                self.first_error = self.first_error or trip.error

    @property
    def wrong_share(self) -> float:
        """Share of messages sent that were answered wrongly, from 0 to 1."""
        return self.wrong / self.sent if self.sent else 0.0

    @property
    def lost_share(self) -> float:
        """Share of messages sent or due that got no answer, from 0 to 1."""
        due = self.sent + self.unsent
        return (self.lost + self.unsent) / due if due else 0.0
