"""How fast somebody may go on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.services.pace import Pace


def test_some_pass_at_once_and_the_next_ones_wait_for_their_turn() -> None:
    pace = Pace(3, 10)
    assert [round(pace.wait(100.0), 9) for _ in range(6)] == [0, 0, 0, 0.1, 0.2, 0.3]


def test_who_has_waited_long_enough_begins_anew() -> None:
    pace = Pace(2, 1)
    assert [pace.wait(0.0) for _ in range(3)] == [0, 0, 1]
    assert [pace.wait(3.0) for _ in range(3)] == [0, 0, 1]


def test_many_steps_wait_for_those_before_them_only() -> None:
    pace = Pace(1, 10)
    assert pace.wait(0.0, 20) == 0
    assert pace.wait(0.0) == pytest.approx(2.0)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 20))))
def test_in_no_time_does_more_pass_than_may(steps: list[tuple[float, int]]) -> None:
    pace = Pace(5, 2)
    now, passed = 0.0, []
    for pause, count in steps:
        now += pause
        passed.append((now + pace.wait(now, count), count))
    for first, (begin, _) in enumerate(passed):
        for last in range(first, len(passed)):
            before_last = sum(count for _, count in passed[first:last])
            assert before_last <= 5 + 2 * (passed[last][0] - begin) + 1e-6
