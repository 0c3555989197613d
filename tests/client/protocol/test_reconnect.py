"""The reconnect policy, with a clock of the test's own and without randomness."""

import pytest

from antiphon.client.protocol.reconnect import LONGEST_PAUSE, ReconnectPolicy, temporary
from antiphon.errors import ConnectionLost, ServerStopping, SessionEnded, TryLater

LOST = ConnectionLost(address="here")


def policy(give_up: float = 60) -> ReconnectPolicy:
    return ReconnectPolicy(give_up, lambda: 1.0)


def moments(tried: ReconnectPolicy, count: int) -> list[float]:
    """Return when each try is due, where every one fails at once."""
    found = []
    for _ in range(count):
        found.append(round(tried.next_try, 6))
        tried.failed(LOST, tried.next_try)
    return found


def test_the_first_try_comes_at_once_and_pauses_double_up_to_the_longest() -> None:
    tried = policy(1000)
    tried.lost(LOST, 0)
    assert moments(tried, 5) == [0, 0.1, 0.3, 0.7, 1.5]
    moments(tried, 10)
    first, second = moments(tried, 2)
    assert second - first == pytest.approx(LONGEST_PAUSE)


def test_pauses_start_short_again_only_after_a_connection_that_was_of_use() -> None:
    tried = policy()
    tried.lost(LOST, 0)
    moments(tried, 3)
    tried.restored()
    tried.lost(LOST, 10)
    assert tried.next_try == pytest.approx(10.8)
    tried.restored()
    tried.used = True
    tried.lost(LOST, 20)
    assert tried.next_try == 20


def test_a_server_that_asks_for_a_pause_gets_it() -> None:
    tried = policy()
    tried.lost(LOST, 0)
    tried.failed(TryLater(wait=7), 1)
    assert tried.next_try == 8


def test_the_reason_of_the_loss_is_told_when_the_time_is_over() -> None:
    tried = policy(3)
    tried.lost(LOST, 0)
    tried.failed(TryLater(wait=7), 1)
    assert tried.next_try == 3
    tried.check(2.9)
    with pytest.raises(ConnectionLost) as caught:
        tried.check(3)
    assert caught.value is LOST
    assert not tried.trying


def test_what_is_final_is_not_tried_again() -> None:
    tried = policy()
    tried.lost(LOST, 0)
    with pytest.raises(SessionEnded):
        tried.failed(SessionEnded(), 0)
    assert not tried.trying
    assert [temporary(each) for each in (LOST, ServerStopping(), SessionEnded(), None)] == [
        True,
        True,
        False,
        False,
    ]
