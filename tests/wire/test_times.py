"""Tests of times: messages by how long they took."""

import pytest

from antiphon.wire.times import add_time, counts_of, new_times


@pytest.mark.parametrize(
    ("seconds", "counts"),
    [(0.0, [1, 0, 0]), (0.5, [1, 0, 0]), (0.6, [0, 1, 0]), (2.0, [0, 1, 0]), (2.1, [0, 0, 1])],
)
def test_a_message_counts_in_the_bucket_of_its_time(seconds: float, counts: list[int]) -> None:
    times = new_times([0.5, 2.0])
    add_time(times, seconds)
    assert (counts_of(times), times[-1]) == (counts, seconds)


def test_several_count_as_their_mean() -> None:
    times = new_times([0.5, 2.0])
    add_time(times, 4.0, 4)
    add_time(times, 1.0, 2)
    assert (counts_of(times), times[-1]) == ([2, 4, 0], 5.0)
