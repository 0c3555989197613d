"""The rules that hold whatever happens to the database, and what was seen of one fault."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from faults.clients import ALLOWED, IN, LATER, Attempt, Talker

STEP_SECONDS = 3.0
"""Longest time for an answer to who comes in, `try-later` included."""
APPLIED_SECONDS = 1.0
"""Longest time from the return of the database to the end of what was revoked meanwhile."""
WELL_SECONDS = 10.0
"""Longest time from the return of the database until all is well."""
LAG_SECONDS = 0.1
ANSWER_SECONDS = 1.0
"""Longest time for the answer to a message: no part of it is the store's, but the machine may be busy."""
ALARMS = ("fault", "process-dead", "fenced", "tasks-left")
"""Events that no log may have. Who claims a session of another process writes `process-dead` before."""
SHOWN = 5


@dataclass
class Seen:
    """What was seen of one fault. Times are those of `time.monotonic`, or seconds."""

    fault: str
    said: int
    """Messages that were sent."""
    slack: float = 0.0
    """Seconds that the machine may add to each time, because it is busy."""
    began: float = 0.0
    back: float = 0.0
    """When the database was back."""
    well: float | None = None
    """How long after that somebody who was to come in did not, the last time; None if that went on."""
    applied: float | None = None
    """How long after that the last revoked session was cut; below 0 if it was before; None if it was not."""
    problems: list[str] = field(default_factory=list)
    """What the servers said in the end."""
    attempts: list[Attempt] = field(default_factory=list)
    lags: list[tuple[float, float]] = field(default_factory=list)
    """Lag of each server's loop, and how much of it the machine has not made."""
    claimed: int = 0
    """Sessions of living homes that were claimed."""
    logs: list[str] = field(default_factory=list)
    longest: float = 0.0
    """The longest wait for an answer to a message."""
    broken: list[str] = field(default_factory=list)
    """Rules that were broken."""
    late: list[str] = field(default_factory=list)
    """Those of them that a busy machine breaks too: what took too long."""

    def judge(self, talkers: Iterable[Talker]) -> None:
        """Find the rules that were broken."""
        talkers = list(talkers)
        self.longest = max(talker.longest for talker in talkers)
        self.late = list(self._late())
        self.broken = [*self.late, *self._talking(talkers), *self._coming(), *self._returning(), *self._servers()]

    def _late(self) -> Iterator[str]:
        if self.longest > ANSWER_SECONDS + self.slack:
            yield f"an answer took {self.longest:.2f} s"
        yield from self._shown(
            "too slow", [each for each in self.attempts if each.longest > STEP_SECONDS + self.slack]
        )
        if self.well is None or self.well > WELL_SECONDS:
            yield f"not well {WELL_SECONDS:g} s after the return"
        if self.applied is None or self.applied > APPLIED_SECONDS + self.slack:
            yield f"revocations were applied {_seconds(self.applied)} s after the return"
        if max(excess for _, excess in self.lags) > LAG_SECONDS:
            yield f"a loop lagged: {self.lags}"

    def _talking(self, talkers: list[Talker]) -> Iterator[str]:
        for talker in talkers:
            yield from talker.faults
            if talker.lost:
                yield f"{talker.name} has lost its connection {talker.lost} times"

    def _coming(self) -> Iterator[str]:
        wrong = [each for each in self.attempts if each.outcome not in ALLOWED[each.way]]
        yield from self._shown("not allowed", wrong)

    def _shown(self, what: str, attempts: list[Attempt]) -> Iterator[str]:
        for each in attempts[:SHOWN]:
            yield f"{what}: {each.shown}, begun at {each.began - self.began:.1f} s"

    def _returning(self) -> Iterator[str]:
        if self.problems:
            yield f"{WELL_SECONDS:g} s after the return the servers say {self.problems}"

    def _servers(self) -> Iterator[str]:
        if self.claimed:
            yield f"{self.claimed} sessions of living homes were claimed"
        yield from (line for line in self.logs if any(f" {alarm} " in f"{line} " for alarm in ALARMS))

    @property
    def row(self) -> str:
        """A row of a table in Markdown; `HEAD` is its head."""
        during = [each for each in self.attempts if self.began <= each.began < self.back]
        laters = [each.longest for each in during if each.outcome == LATER]
        cells = [
            self.fault,
            f"{self.back - self.began:.1f}",
            f"{self.said}",
            f"{self.longest:.2f}",
            f"{sum(each.outcome == IN for each in during)}",
            f"{len(laters)}",
            f"{max((each.longest for each in self.attempts), default=0):.2f}",
            _seconds(self.applied),
            _seconds(self.well),
            ", ".join(f"{excess * 1000:.0f}" for _, excess in self.lags),
            f"{self.claimed}",
        ]
        return f"| {' | '.join(cells)} |"


COLUMNS = (
    "fault", "seconds", "messages", "longest answer", "came in", "told later", "longest step", "revoked", "well",
    "lag (ms)", "claims",
)  # fmt: skip
HEAD = f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "never"
    return f"{value:.2f}" if value > 0 else "0"
