"""Counts of a run so far: messages by outcome, round-trip times, lost connections."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from antiphon.client.aio.answers import Answers
from antiphon.errors import AntiphonError, OutcomeUnknown
from antiphon.ping.histogram import Histogram
from antiphon.ping.payload import same
from antiphon.wire.frames import Payload


@dataclass(eq=False)
class Trip:
    """The round trip of one message; times are nanoseconds of the run's clock."""

    number: int
    """Number from 1, over all connections."""
    message: str
    due_at: int
    """When it was due."""
    sent_at: int
    answers: Answers
    answered_at: int = field(default=0, init=False)
    """When its first answer, or its end, came; 0 before."""
    received: Sequence[Payload] = field(default=(), init=False)
    """Answers so far."""

    @property
    def right(self) -> bool:
        """Whether it got exactly one answer, equal to the message."""
        received = self.received
        if len(received) != 1 or self.answers.error is not None:
            return False
        answer = received[0]
        return answer == self.message if isinstance(answer, str) else same(answer, self.message)

    @property
    def lost(self) -> bool:
        """Whether it ended without an answer or a refusal from the server."""
        error = self.answers.error
        return error is not None and (error.told is None or isinstance(error, OutcomeUnknown))


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

    def settle(self, trip: Trip) -> None:
        """Count a message that is complete."""
        if trip.right:
            self.answered += 1
            self.times.record(trip.answered_at - trip.due_at)
            if self.uncorrected is not None:
                self.uncorrected.record(trip.answered_at - trip.sent_at)
        elif trip.lost:
            self.lost += 1
        else:
            self.answered += 1
            self.wrong += 1
            if trip.answers.error is not None:
                self.errors[trip.answers.error.code] += 1
                self.first_error = self.first_error or trip.answers.error

    @property
    def wrong_share(self) -> float:
        """Share of messages sent that were answered wrongly, from 0 to 1."""
        return self.wrong / self.sent if self.sent else 0.0

    @property
    def lost_share(self) -> float:
        """Share of messages sent or due that got no answer, from 0 to 1."""
        due = self.sent + self.unsent
        return (self.lost + self.unsent) / due if due else 0.0
