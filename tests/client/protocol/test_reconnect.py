"""The reconnect policy, with a clock of the test's own and without randomness."""

from functools import partial

import pytest

from antiphon.client.protocol.reconnect import LONGEST_PAUSE, MOVE_PAUSE, ReconnectPolicy, temporary
from antiphon.errors import (
    AntiphonError,
    ConnectionLost,
    PeerSilent,
    ServerKeyUnknown,
    ServerStopping,
    SessionEnded,
    TryLater,
)

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


# --- several addresses --------------------------------------------------------------------------------------


def tries(tried: ReconnectPolicy, *errors: AntiphonError) -> list[tuple[float, int]]:
    """Return when and where each try is due, where one fails after the other with `errors`."""
    found = []
    for error in errors:
        found.append((round(tried.next_try, 6), tried.at))
        tried.failed(error, tried.next_try)
    return found


def test_the_next_address_comes_after_a_varied_pause_and_the_first_one_again_behind_the_last() -> None:
    for factor in (0.5, 1.5):
        tried = ReconnectPolicy(60, partial(float, factor), 3)
        tried.lost(LOST, 0)
        moved = MOVE_PAUSE * factor
        assert tries(tried, LOST, LOST, LOST, LOST) == [
            (0, 0),
            (moved, 1),
            (moved + 0.2 * factor, 2),
            (moved + 0.6 * factor, 0),
        ]


def test_an_address_whose_server_stops_or_is_silent_is_left_at_once() -> None:
    for reason in (ServerStopping(), PeerSilent(seconds="40")):
        tried = ReconnectPolicy(60, lambda: 1.0, 2)
        tried.lost(reason, 0)
        assert (tried.next_try, tried.at) == (MOVE_PAUSE, 1)
        tried.restored()
        tried.used = True
        tried.lost(LOST, 10)
        assert (tried.next_try, tried.at) == (10, 1)


def test_who_is_asked_to_wait_tries_elsewhere_meanwhile_and_not_there_before() -> None:
    tried = ReconnectPolicy(60, lambda: 1.0, 2)
    tried.lost(LOST, 0)
    assert tries(tried, TryLater(wait=7), LOST, LOST) == [(0, 0), (MOVE_PAUSE, 1), (7, 0)]


def test_a_wrong_key_ends_it_only_where_no_other_address_is_left() -> None:
    tried, wrong = ReconnectPolicy(60, lambda: 1.0, 3), ServerKeyUnknown(host="there", fingerprint="sha256:x")
    tried.lost(LOST, 0)
    assert [at for _, at in tries(tried, LOST, wrong, LOST, LOST, wrong)] == [0, 1, 2, 0, 2]
    with pytest.raises(ServerKeyUnknown):
        tried.failed(wrong, 0)
    alone = policy()
    alone.lost(LOST, 0)
    with pytest.raises(ServerKeyUnknown):
        alone.failed(wrong, 0)
