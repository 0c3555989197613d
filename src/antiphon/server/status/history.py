"""History of a server for the pictures of its page: a quarter of an hour, a point each few seconds.

It is made of the reports that the status endpoint gets anyway, and costs a message nothing.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

from antiphon.server.control.report import ServerReport
from antiphon.wire.times import TIME_BOUNDS

POINT_SECONDS = 5.0
"""Time from one point to the next."""
HISTORY_SECONDS = 900.0
REFUSING = ("refused", "message-refused", "cut")
"""Events of the log that tell of a refusal, with a code behind them."""


class Point(NamedTuple):
    """One moment of a server."""

    at: float
    """Monotonic time."""
    connections: int
    messages_per_s: float | None
    """Since the last point; None where there was none before."""
    median_s: float | None
    """Time of the service in which half of the messages since then were answered; None if there were none."""
    p99_s: float | None
    """Likewise 99 of 100."""


class History:
    """The last quarter of an hour."""

    def __init__(self) -> None:
        """Begin without a point."""
        self.points: deque[Point] = deque(maxlen=round(HISTORY_SECONDS / POINT_SECONDS) + 1)
        """The oldest first. They are replaced by one thread and read by another: copy them."""
        self._last: tuple[float, int, list[int]] | None = None
        self._refused: deque[tuple[float, Counter[str]]] = deque(maxlen=self.points.maxlen)
        """Refusals since the start of the server; a new one only where they have changed."""

    def note(self, report: ServerReport, now: float | None = None) -> None:
        """Make a point of a report, if it is time for one; `now` is monotonic time."""
        at = time.monotonic() if now is None else now
        if self.points and at - self.points[-1].at < POINT_SECONDS * 0.9:
            return
        messages, handled = report.messages, report.totals.handled
        rate = median = p99 = None
        if self._last is not None:
            before, messages_before, handled_before = self._last
            rate = max(0, messages - messages_before) / max(at - before, 1e-3)
            counts = [max(0, ours - theirs) for ours, theirs in zip(handled, handled_before, strict=True)]
            median, p99 = quantile(counts, 0.5), quantile(counts, 0.99)
        self._last = at, messages, handled
        self.points.append(Point(at, sum(each.connections for each in report.workers), rate, median, p99))
        refused = refusals_of(report)
        if not self._refused or self._refused[-1][1] != refused:
            self._refused.append((at, refused))

    def refused_lately(self, report: ServerReport) -> Counter[str]:
        """Return the refusals of the last quarter of an hour, by event and code."""
        if not self.points:
            return Counter()
        begin = self.points[-1].at - HISTORY_SECONDS
        before = [counts for at, counts in list(self._refused) if at <= begin]
        first = before[-1] if before else Counter[str]()
        return refusals_of(report) - first


def refusals_of(report: ServerReport) -> Counter[str]:
    """Return the refusals since the start of the server, by event and code (`refused sign-in-refused`)."""
    return Counter({
        event: count for event, count in report.events.items() if count and event.partition(" ")[0] in REFUSING
        and " " in event
    })  # fmt: skip


def quantile(counts: Sequence[int], share: float) -> float | None:
    """Return the time below which `share` of the messages are, estimated within a bucket; None without messages.

    `counts` are those of the buckets of `TIME_BOUNDS`, and beyond the last. The times of a bucket are taken to be
    spread evenly on a logarithmic scale.
    """
    wanted, below = sum(counts) * share, 0
    if not wanted:
        return None
    for place, count in enumerate(counts):
        if count and below + count >= wanted:
            upper = TIME_BOUNDS[place] if place < len(TIME_BOUNDS) else TIME_BOUNDS[-1]
            lower = TIME_BOUNDS[place - 1] if place else upper / 10
            return lower * math.exp(math.log(upper / lower) * (wanted - below) / count)
        below += count
    return TIME_BOUNDS[-1]
