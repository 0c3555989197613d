"""Histogram of round-trip times with three significant digits, in memory of a fixed size.

It is log-linear like HdrHistogram (http://hdrhistogram.org): 1,024 counters for each power of two, so that a time
read from it is off by at most a thousandth.
"""

import math
from array import array
from collections.abc import Iterable, Iterator

HOUR_NS = 3_600 * 10**9
HALF_BITS = 10
HALF = 1 << HALF_BITS
"""Counters for each power of two; 1/1024 is below the 1/1000 of three digits."""
_BITS = HALF_BITS + 1


class Histogram:
    """Counts of times in whole nanoseconds, 0 to an hour; longer times count as an hour, except in `longest`."""

    __slots__ = ("_counts", "count", "longest", "shortest", "total")

    def __init__(self) -> None:
        """Create an empty histogram; it allocates all its memory (264 KiB) here."""
        self._counts = array("Q", bytes(8 * (_index(HOUR_NS) + 1)))
        self.count = 0
        self.total = 0
        """Exact sum of all times."""
        self.shortest = 0
        self.longest = 0
        """Exact extremes; 0 while the histogram is empty."""

    def record(self, nanoseconds: int, count: int = 1) -> None:
        """Count a time, once or `count` times; a negative one (a clock that was set back) counts as 0."""
        self.longest = max(self.longest, nanoseconds)
        nanoseconds = max(nanoseconds, 0)
        if nanoseconds < self.shortest or not self.count:
            self.shortest = nanoseconds
        if nanoseconds > HOUR_NS:
            self._counts[-1] += count
        else:
            shift = nanoseconds.bit_length() - _BITS
            self._counts[nanoseconds if shift <= 0 else (shift << HALF_BITS) + (nanoseconds >> shift)] += count
        self.count += count
        self.total += nanoseconds * count

    def merge(self, other: "Histogram") -> None:
        """Add all times of `other`."""
        if not other.count:
            return
        self.shortest = min(self.shortest, other.shortest) if self.count else other.shortest
        self.longest = max(self.longest, other.longest)
        self.count += other.count
        self.total += other.total
        for time, count in other.rows():
            self._counts[_index(time)] += count

    @property
    def mean(self) -> float:
        """Exact mean of all times; 0 while the histogram is empty."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> int:
        """Return the time that `percent` (0 to 100) of all times do not exceed; 0 while the histogram is empty.

        The nearest-rank method, accurate to a thousandth: the result is the longest time of the counter at that
        rank, but never longer than `longest`.
        """
        if percent <= 0:
            return self.shortest
        rank = max(1, math.ceil(percent * self.count / 100 - 1e-9))  # 99.9 % of 1,000 is 999.0000000000001
        passed = 0
        for index, count in self._occupied():
            passed += count
            if passed >= rank:
                return max(self.shortest, min(self.longest, _upper(index)))
        return self.longest

    def rows(self) -> Iterator[tuple[int, int]]:
        """Yield the longest time of each counter that is not 0, and its count, in ascending order."""
        for index, count in self._occupied():
            yield _upper(index), count

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int]]) -> "Histogram":
        """Return the histogram that `rows` came from; its mean and extremes have three digits only."""
        made = cls()
        for time, count in rows:
            made.record(time, count)
        return made

    def _occupied(self) -> Iterator[tuple[int, int]]:
        first, last = _index(min(self.shortest, HOUR_NS)), _index(min(self.longest, HOUR_NS))
        counts = enumerate(self._counts[first : last + 1], first)
        return ((index, count) for index, count in counts if count)


def _index(time: int) -> int:
    shift = max(0, time.bit_length() - _BITS)
    return (shift << HALF_BITS) + (time >> shift)


def _upper(index: int) -> int:
    """Return the longest time that the counter at `index` counts."""
    shift = max(0, (index >> HALF_BITS) - 1)
    return ((index - (shift << HALF_BITS) + 1) << shift) - 1
