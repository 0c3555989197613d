"""Throttle rules: waits after failed sign-ins, and the keys to count by."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.identity.throttle import LONGEST_DELAY, MOST_FAILURES, delay, name_mark, source_mark, wait

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = bytes(32)


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [
        (0, 0),
        (4, 0),
        (5, 1),
        (6, 2),
        (7, 4),
        (16, 2048),
        (17, 3600),
        (99, 3600),
        (100, math.inf),
        (1000, math.inf),
    ],
)
def test_the_delay_grows_from_the_fifth_failure_on_and_the_hundredth_is_the_last(
    failures: int, seconds: float
) -> None:
    assert delay(failures) == seconds


def test_the_delay_never_shrinks() -> None:
    delays = [delay(failures) for failures in range(MOST_FAILURES + 1)]
    assert delays == sorted(delays)
    assert delays[-2] == LONGEST_DELAY == 3600


def test_the_wait_is_what_is_left_of_the_delay() -> None:
    assert wait(7, NOON, NOON) == 4
    assert wait(7, NOON, NOON + timedelta(seconds=1.5)) == 2.5
    assert wait(7, NOON, NOON + timedelta(seconds=4)) == 0
    assert wait(7, NOON, NOON + timedelta(days=1)) == 0
    assert wait(MOST_FAILURES, NOON, NOON + timedelta(days=10_000)) == math.inf


@given(st.integers(0, 99), st.integers(-(10**6), 10**6))
def test_a_clock_that_is_set_makes_nobody_wait_longer_than_the_delay(failures: int, seconds: int) -> None:
    assert 0 <= wait(failures, NOON, NOON + timedelta(seconds=seconds)) <= delay(failures)


def test_a_clock_that_was_a_day_ahead_locks_nobody_out() -> None:
    assert wait(99, NOON + timedelta(days=1), NOON) == 0


def test_marks_tell_names_addresses_and_key_rings_apart_and_hide_them() -> None:
    ann, bob = name_mark("ann", KEY), name_mark("bob", KEY)
    marks = [
        ann,
        bob,
        name_mark("ann", b"another key"),
        source_mark(ann, b"here", KEY),
        source_mark(ann, b"there", KEY),
        source_mark(bob, b"here", KEY),
        source_mark(ann, b"here", b"another key"),
    ]
    assert len(set(marks)) == len(marks)
    assert {len(mark) for mark in marks} == {32}
    assert name_mark("ann", KEY) == ann
