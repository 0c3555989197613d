"""The rate limit of the chat."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.services.rate_limit import RateLimit


def test_a_burst_passes_at_once_and_later_steps_wait() -> None:
    limit = RateLimit(3, 10)
    assert [round(limit.wait(100.0), 9) for _ in range(6)] == [0, 0, 0, 0.1, 0.2, 0.3]


def test_after_a_long_pause_a_burst_passes_again() -> None:
    limit = RateLimit(2, 1)
    assert [limit.wait(0.0) for _ in range(3)] == [0, 0, 1]
    assert [limit.wait(3.0) for _ in range(3)] == [0, 0, 1]


def test_steps_wait_for_earlier_steps_only() -> None:
    limit = RateLimit(1, 10)
    assert limit.wait(0.0, 20) == 0
    assert limit.wait(0.0) == pytest.approx(2.0)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 20))))
def test_no_interval_exceeds_the_limit(steps: list[tuple[float, int]]) -> None:
    limit = RateLimit(5, 2)
    now, passed = 0.0, []
    for pause, count in steps:
        now += pause
        passed.append((now + limit.wait(now, count), count))
    for first, (begin, _) in enumerate(passed):
        for last in range(first, len(passed)):
            before_last = sum(count for _, count in passed[first:last])
            assert before_last <= 5 + 2 * (passed[last][0] - begin) + 1e-6
