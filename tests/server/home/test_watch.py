"""Tests of the process watch: who is dead, by the counters, and when that is not known."""

import pytest

from antiphon.server.home.watch import DEAD_SECONDS, GAP_SECONDS, ProcessWatch


def looks(
    watch: ProcessWatch, seconds: float, counter: int, since: float = 100.0, *, moves: bool = False
) -> float:
    """Look at the counter of one process once a second; return the time of the last look."""
    now = since
    while now < since + seconds:
        now += 1
        counter += moves
        watch.seen({"other": counter}, now)
    return now


def test_one_that_stands_still_for_the_death_time_may_be_dead() -> None:
    watch = ProcessWatch()
    now = looks(watch, DEAD_SECONDS, 7)
    assert watch.stands_at("other", now) is None
    watch.seen({"other": 7}, now + 1)
    assert watch.stands_at("other", now + 1) == 7


def test_one_that_moves_lives() -> None:
    watch = ProcessWatch()
    now = looks(watch, 30, 7, moves=True)
    assert watch.stands_at("other", now) is None


def test_one_that_moves_again_lives() -> None:
    watch = ProcessWatch()
    now = looks(watch, 30, 7)
    assert watch.stands_at("other", now) == 7
    watch.seen({"other": 8}, now + 1)
    assert watch.stands_at("other", now + 1) is None


def test_one_that_is_not_in_the_store_is_not_known() -> None:
    watch = ProcessWatch()
    now = looks(watch, 30, 7)
    assert watch.stands_at("stranger", now) is None


def test_after_an_outage_of_the_store_nobody_is_dead_for_the_death_time() -> None:
    watch = ProcessWatch()
    now = looks(watch, 30, 7)
    watch.failed()
    assert watch.stands_at("other", now) is None
    now = looks(watch, DEAD_SECONDS, 7, now)
    assert watch.stands_at("other", now) is None
    watch.seen({"other": 7}, now + 1)
    assert watch.stands_at("other", now + 1) == 7


@pytest.mark.parametrize("gap", [GAP_SECONDS + 0.1, 60.0])
def test_an_observer_that_was_frozen_itself_takes_nobody_for_dead(gap: float) -> None:
    watch = ProcessWatch()
    now = looks(watch, 30, 7) + gap
    assert watch.stands_at("other", now) is None
    watch.seen({"other": 7}, now)
    assert watch.stands_at("other", now) is None
