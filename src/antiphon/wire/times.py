"""Times of messages: how many took how long, in an array that `wire.batch` and its twin in C write to.

The array holds the upper bounds of the buckets, the messages in each bucket and beyond the last one, and the sum
of the seconds.
"""

from array import array
from collections.abc import MutableSequence, Sequence

Times = MutableSequence[float]
"""See the module; `new_times` makes one."""

TIME_BOUNDS = (
    0.00001, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    60.0,
)  # fmt: skip
"""Seconds by which the times of handlers are counted: from what an echo takes to the default limit."""


def new_times(bounds: Sequence[float]) -> Times:
    """Return times without a message; `bounds` are the seconds up to which a bucket reaches, in order."""
    return array("d", [*bounds, *[0.0] * (len(bounds) + 2)])


def add_time(times: Times, seconds: float, messages: int = 1) -> None:
    """Add `messages` that have taken `seconds` together: each counts as their mean."""
    bounds = (len(times) - 2) // 2
    mean, at = seconds / messages, 0
    while at < bounds and mean > times[at]:
        at += 1
    times[bounds + at] += messages
    times[-1] += seconds


def counts_of(times: Times) -> list[int]:
    """Return how many messages each bucket holds, and at the end those beyond the last."""
    return [int(count) for count in times[(len(times) - 2) // 2 : -1]]
