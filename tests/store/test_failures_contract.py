"""What every store does about sign-ins that fail: how they are counted, and when they are forgiven."""

import asyncio
import math
from datetime import UTC, datetime, timedelta

import pytest

from antiphon.errors import TryLater
from antiphon.identity.throttle import MOST_FAILURES, delay
from antiphon.store.contracts import KNOWN_SOURCES, LoginFailures, Store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANN, BOB = b"a" * 32, b"b" * 32
HOME, WORK, AWAY = b"h" * 32, b"w" * 32, b"x" * 32


async def fail(failures: LoginFailures, times: int, source: bytes = AWAY, *, first: datetime = NOON) -> datetime:
    """Fail for ann, once an hour, and return the time of the last failure."""
    for number in range(times):
        assert await failures.attempt(ANN, source, first + number * HOUR) == 0
    return first + (times - 1) * HOUR


async def test_each_attempt_is_counted_before_it_is_looked_at(failures: LoginFailures) -> None:
    waits = [await failures.attempt(ANN, AWAY, NOON) for _ in range(8)]
    assert waits == [0] * 5 + [1] * 3


async def test_an_attempt_that_is_refused_is_not_counted(failures: LoginFailures) -> None:
    for _ in range(50):
        await failures.attempt(ANN, AWAY, NOON)
    assert await failures.attempt(ANN, AWAY, NOON + timedelta(seconds=1)) == 0
    assert await failures.attempt(ANN, AWAY, NOON + timedelta(seconds=1)) == 2


async def test_the_wait_grows_as_the_rules_say_until_the_name_is_locked(failures: LoginFailures) -> None:
    for number in range(1, MOST_FAILURES + 1):
        at = NOON + number * HOUR
        assert await failures.attempt(ANN, AWAY, at) == 0
        if number > 4:
            assert await failures.attempt(ANN, AWAY, at) == delay(number)
    assert await failures.attempt(ANN, AWAY, NOON + timedelta(days=10_000)) == math.inf


async def test_of_fifty_attempts_at_once_five_pass(failures: LoginFailures) -> None:
    waits = await asyncio.gather(*(failures.attempt(ANN, AWAY, NOON) for _ in range(50)))
    assert (waits.count(0), waits.count(1)) == (5, 45)


async def test_names_are_counted_apart(failures: LoginFailures) -> None:
    await fail(failures, MOST_FAILURES)
    assert await failures.attempt(BOB, AWAY, NOON) == 0


async def test_all_new_addresses_are_counted_together(failures: LoginFailures) -> None:
    waits = [await failures.attempt(ANN, b"%032d" % number, NOON) for number in range(6)]
    assert waits == [0] * 5 + [1]


async def test_a_success_begins_the_count_again(failures: LoginFailures) -> None:
    last = await fail(failures, 50)
    await failures.succeeded(ANN, HOME, last)
    assert [await failures.attempt(ANN, AWAY, last) for _ in range(6)] == [0] * 5 + [1]


async def test_the_guesses_of_others_do_not_lock_out_at_an_address_that_is_known(failures: LoginFailures) -> None:
    await failures.succeeded(ANN, HOME, NOON)
    last = await fail(failures, MOST_FAILURES)
    assert await failures.attempt(ANN, AWAY, last + HOUR) == math.inf
    assert await failures.attempt(ANN, HOME, last) == 0
    await failures.succeeded(ANN, HOME, last)
    assert await failures.attempt(ANN, AWAY, last) == 0


async def test_a_known_address_has_a_count_of_its_own_with_the_same_rules(failures: LoginFailures) -> None:
    await failures.succeeded(ANN, HOME, NOON)
    await failures.succeeded(ANN, WORK, NOON)
    last = await fail(failures, MOST_FAILURES, HOME)
    assert await failures.attempt(ANN, HOME, last + 24 * HOUR) == math.inf
    assert await failures.attempt(ANN, WORK, last) == 0
    assert await failures.attempt(ANN, AWAY, last) == 0


async def test_an_address_is_known_to_the_name_that_signed_in_there_and_to_no_other(
    failures: LoginFailures,
) -> None:
    await failures.succeeded(BOB, HOME, NOON)
    last = await fail(failures, MOST_FAILURES)
    assert await failures.attempt(ANN, HOME, last + HOUR) == math.inf


async def test_a_success_anywhere_unlocks_the_known_addresses_too(failures: LoginFailures) -> None:
    await failures.succeeded(ANN, HOME, NOON)
    last = await fail(failures, MOST_FAILURES, HOME)
    await failures.succeeded(ANN, WORK, last)
    assert await failures.attempt(ANN, HOME, last) == 0


async def test_the_operator_can_forgive(failures: LoginFailures) -> None:
    await failures.succeeded(ANN, HOME, NOON)
    await fail(failures, MOST_FAILURES, HOME)
    last = await fail(failures, MOST_FAILURES)
    await failures.forgive(ANN)
    await failures.forgive(BOB)
    assert [await failures.attempt(ANN, HOME, last) for _ in range(6)] == [0] * 5 + [1]
    assert [await failures.attempt(ANN, AWAY, last) for _ in range(6)] == [0] * 5 + [1]


async def test_the_address_that_was_used_longest_ago_is_forgotten(failures: LoginFailures) -> None:
    for number in range(KNOWN_SOURCES):
        await failures.succeeded(ANN, b"%d" % number, NOON + number * HOUR)
    await failures.succeeded(ANN, b"0", NOON + 20 * HOUR)  # used again: now 1 is the oldest
    await failures.succeeded(ANN, b"new", NOON + 21 * HOUR)
    last = await fail(failures, MOST_FAILURES, first=NOON + 22 * HOUR)
    waits = {source: await failures.attempt(ANN, source, last) for source in (b"0", b"1", b"2", b"7", b"new")}
    assert waits == {b"0": 0, b"1": math.inf, b"2": 0, b"7": 0, b"new": 0}


async def test_an_address_that_was_used_twice_is_forgotten_in_its_turn(failures: LoginFailures) -> None:
    await failures.succeeded(ANN, HOME, NOON)
    await failures.succeeded(ANN, HOME, NOON + HOUR)
    for number in range(KNOWN_SOURCES):
        await failures.succeeded(ANN, b"%d" % number, NOON + (2 + number) * HOUR)
    last = await fail(failures, MOST_FAILURES, first=NOON + 22 * HOUR)
    waits = {source: await failures.attempt(ANN, source, last) for source in (HOME, b"0", b"7")}
    assert waits == {HOME: math.inf, b"0": 0, b"7": 0}


async def test_at_an_unknown_address_nothing_is_counted_when_only_known_ones_are_tried(
    failures: LoginFailures,
) -> None:
    await failures.succeeded(ANN, HOME, NOON)
    assert [await failures.attempt(ANN, AWAY, NOON, only_known=True) for _ in range(9)] == [None] * 9
    assert [await failures.attempt(BOB, HOME, NOON, only_known=True) for _ in range(9)] == [None] * 9
    assert [await failures.attempt(ANN, HOME, NOON, only_known=True) for _ in range(6)] == [0] * 5 + [1]
    assert [await failures.attempt(ANN, AWAY, NOON) for _ in range(6)] == [0] * 5 + [1]


async def test_fifty_refusals_at_once_count_fifty_for_that_name(failures: LoginFailures) -> None:
    assert await failures.refusals() == {}
    await asyncio.gather(*(failures.refused(ANN, NOON) for _ in range(50)), failures.refused(BOB, NOON))
    assert await failures.refusals() == {ANN: 50, BOB: 1}


async def test_refusals_are_no_failures_and_are_not_forgiven_with_them(failures: LoginFailures) -> None:
    last = await fail(failures, MOST_FAILURES)
    for _ in range(3):
        await failures.refused(ANN, last)
    await failures.succeeded(ANN, HOME, last)
    await failures.forgive(ANN)
    assert await failures.refusals() == {ANN: 3}
    assert [await failures.attempt(ANN, AWAY, last) for _ in range(6)] == [0] * 5 + [1]
    assert await failures.refusals() == {ANN: 3}


async def test_a_closed_store_counts_nothing_and_lets_nobody_pass(store: Store, failures: LoginFailures) -> None:
    await store.close()
    with pytest.raises(TryLater):
        await failures.attempt(ANN, AWAY, NOON)
    with pytest.raises(TryLater):
        await failures.succeeded(ANN, AWAY, NOON)
    with pytest.raises(TryLater):
        await failures.forgive(ANN)
    with pytest.raises(TryLater):
        await failures.refused(ANN, NOON)
    with pytest.raises(TryLater):
        await failures.refusals()
