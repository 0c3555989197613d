"""The histogram: three digits in constant memory, compared with HdrHistogram's implementation (the oracle)."""

import random
import sys

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.ping.histogram import HOUR_NS, Histogram
from support.leaks import assert_keeps_less

PERCENTS = [0, 10, 50, 90, 99, 99.9, 99.99, 100]
TIMES = st.lists(
    st.one_of(
        st.integers(0, 4096),
        st.integers(0, HOUR_NS),
        st.integers(0, 41).flatmap(lambda bits: st.sampled_from([(1 << bits) - 1, 1 << bits, (1 << bits) + 1])),
    ),
    min_size=1,
    max_size=50,
)


def histogram_of(times: list[int]) -> Histogram:
    made = Histogram()
    for time in times:
        made.record(time)
    return made


def oracle_of(times: list[int]) -> HdrHistogram:
    made = HdrHistogram(1, HOUR_NS, 3)
    for time in times:
        made.record_value(time)
    return made


def nearest_rank(times: list[int], percent: float) -> int:
    return sorted(times)[max(1, -(-round(percent * 1000) * len(times) // 100_000)) - 1]


@settings(max_examples=10)  # the oracle takes a tenth of a second for each
@given(TIMES)
def test_each_counter_is_that_of_the_oracle(times: list[int]) -> None:
    oracle = oracle_of(times)
    counted: dict[int, int] = {}
    for item in oracle.get_recorded_iterator():
        counted[int(item.value_iterated_to)] = int(item.count_at_value_iterated_to)
    assert dict(histogram_of(times).rows()) == counted


@settings(max_examples=30)
@given(TIMES)
def test_each_percentile_is_that_of_the_oracle(times: list[int]) -> None:
    ours, oracle = histogram_of(times), oracle_of(times)
    for rank in range(1, len(times) + 1):
        percent = 100 * rank / len(times)
        theirs = oracle.get_value_at_percentile(percent)
        assert ours.percentile(percent) == max(min(times), min(max(times), theirs))


@given(TIMES)
def test_a_percentile_is_at_most_a_thousandth_above_the_true_one(times: list[int]) -> None:
    ours = histogram_of(times)
    for percent in PERCENTS:
        true = nearest_rank(times, percent)
        assert true <= ours.percentile(percent) <= true * 1.001


@given(TIMES)
def test_count_sum_and_extremes_are_exact(times: list[int]) -> None:
    ours = histogram_of(times)
    assert (ours.count, ours.total, ours.shortest, ours.longest) == (
        len(times),
        sum(times),
        min(times),
        max(times),
    )
    assert ours.mean == sum(times) / len(times)


@given(TIMES, TIMES)
def test_two_merged_are_one_that_has_counted_both(first: list[int], second: list[int]) -> None:
    merged, both = histogram_of(first), histogram_of(first + second)
    merged.merge(histogram_of(second))
    merged.merge(Histogram())
    assert told(merged) == told(both)
    empty = Histogram()
    empty.merge(both)
    assert told(empty) == told(both)


@settings(max_examples=30)
@given(TIMES, st.integers(1, 5))
def test_a_time_that_is_counted_many_times_at_once_is_counted_like_one_after_another(
    times: list[int], count: int
) -> None:
    ours, once = Histogram(), histogram_of([-1, 2 * HOUR_NS, *times] * count)
    for time in (-1, 2 * HOUR_NS, *times):
        ours.record(time, count)
    assert told(ours) == told(once)


def told(ours: Histogram) -> tuple[object, ...]:
    return list(ours.rows()), ours.count, ours.total, ours.shortest, ours.longest


@given(TIMES)
def test_what_is_read_back_from_its_rows_is_the_same_to_three_digits(times: list[int]) -> None:
    ours = histogram_of(times)
    again = Histogram.of(ours.rows())
    assert list(again.rows()) == list(ours.rows())
    assert again.count == ours.count
    for percent in PERCENTS[1:]:
        assert again.percentile(percent) == pytest.approx(ours.percentile(percent), rel=0.001)


def test_none_counted_is_nothing_and_not_a_fault() -> None:
    empty = Histogram()
    assert (empty.percentile(50), empty.mean, list(empty.rows())) == (0, 0.0, [])


def test_what_is_longer_than_an_hour_counts_as_an_hour_and_is_told_as_it_was() -> None:
    ours = histogram_of([1, 2 * HOUR_NS, 3 * HOUR_NS])
    assert ours.percentile(99) == pytest.approx(HOUR_NS, rel=0.001)
    assert ours.longest == 3 * HOUR_NS
    assert ours.count == sum(count for _, count in ours.rows()) == 3


def test_a_clock_that_was_set_back_gives_no_time_below_nothing() -> None:
    assert list(histogram_of([-5]).rows()) == [(0, 1)]


def test_a_million_times_take_no_more_memory_than_the_first() -> None:
    draw = random.Random(5)
    times = [int(draw.lognormvariate(12, 3)) for _ in range(1000)]
    ours = histogram_of(times)
    size = sys.getsizeof(ours._counts)

    def record_again() -> None:
        for time in times:
            ours.record(time)

    assert_keeps_less(record_again, 1024)
    assert sys.getsizeof(ours._counts) == size < 300_000
