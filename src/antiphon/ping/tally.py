"""What has come of the messages so far: how many were answered, and how; how long it took; which links broke."""

from collections import Counter
from dataclasses import dataclass, field

from antiphon.client.aio.answers import Answers
from antiphon.errors import AntiphonError, OutcomeUnknown
from antiphon.ping.histogram import Histogram
from antiphon.ping.payload import same
from antiphon.wire.frames import Payload


@dataclass(slots=True, eq=False)
class Trip:
    """One message on its way; moments are nanoseconds of one clock."""

    number: int
    """From 1, over all connections."""
    message: str
    due_at: int
    """When it should have gone."""
    sent_at: int
    answers: Answers
    heard_at: int = 0
    """When something came for it first."""
    came: list[Payload] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether it was answered once, with what was sent."""
        return len(self.came) == 1 and self.answers.error is None and same(self.came[0], self.message)

    @property
    def lost(self) -> bool:
        """Whether no answer of the server will come."""
        error = self.answers.error
        return error is not None and (error.told is None or isinstance(error, OutcomeUnknown))


@dataclass
class Outage:
    """A link that was lost, and came back or not."""

    connection: int
    """Which, from 1."""
    at: float
    """Seconds after the beginning."""
    reason: AntiphonError
    away: float | None = None
    """Seconds until the session went on, None where it has not."""


class Tally:
    """Counts and times of one run."""

    def __init__(self, *, scheduled: bool) -> None:
        """Begin with nothing; where messages are `scheduled`, there are two kinds of times."""
        self.sent = 0
        self.answered = 0
        """By the server, rightly or not."""
        self.wrong = 0
        """Of these: another text, an error, nothing, or more than one answer."""
        self.lost = 0
        """Nobody knows whether they were handled, or no answer came in time."""
        self.unsent = 0
        """Were due and could not be sent before the end."""
        self.errors: Counter[str] = Counter()
        """Codes of the errors among the wrong answers."""
        self.first_error: AntiphonError | None = None
        self.times = Histogram()
        """Of right answers, from the moment when the message should have gone."""
        self.uncorrected = Histogram() if scheduled else None
        """The same from the moment when it has gone."""
        self.outages: list[Outage] = []

    def settle(self, trip: Trip) -> None:
        """Count a message on which nothing more will come."""
        if trip.right:
            self.answered += 1
            self.times.record(trip.heard_at - trip.due_at)
            if self.uncorrected is not None:
                self.uncorrected.record(trip.heard_at - trip.sent_at)
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
        """The part of what was sent that was answered wrongly, from 0 to 1."""
        return self.wrong / self.sent if self.sent else 0.0

    @property
    def lost_share(self) -> float:
        """The part of what was sent, or due, that no answer came to, from 0 to 1."""
        due = self.sent + self.unsent
        return (self.lost + self.unsent) / due if due else 0.0
