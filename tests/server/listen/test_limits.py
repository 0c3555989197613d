import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.server.listen.limits import AdmissionLimits, RegistrationLimits


def sources(count: int) -> list[str]:
    return [f"10.0.{number // 250}.{number % 250}" for number in range(count)]


def filled(
    count: int, draw: float = 0.0, *, begin: int = 64, rate: float = 30, most: int = 256
) -> AdmissionLimits:
    """Return limits in which `count` connections wait, and whose next draw is `draw`."""
    draws = [1.0]  # a draw of 1 never drops
    limits = AdmissionLimits(begin, rate, most, 40, lambda: draws[-1])
    for address in sources(count):
        assert limits.admit(address)
    draws.append(draw)
    return limits


def test_below_the_beginning_none_is_dropped() -> None:
    assert filled(63, draw=0.0).admit("192.0.2.1")


def test_from_the_beginning_on_the_rate_is_dropped() -> None:
    assert not filled(64, draw=0.299).admit("192.0.2.1")
    assert filled(64, draw=0.301).admit("192.0.2.1")


def test_half_way_up_the_rate_has_risen_half_way() -> None:
    assert not filled(160, draw=0.649).admit("192.0.2.1")
    assert filled(160, draw=0.651).admit("192.0.2.1")


def test_at_the_most_all_are_dropped() -> None:
    limits = filled(256, draw=1.0)
    assert not limits.admit("192.0.2.1")
    limits.release("10.0.0.0")
    assert limits.admit("192.0.2.1")


def test_the_beginning_may_be_the_most() -> None:
    limits = filled(3, draw=1.0, begin=3, most=3)
    assert not limits.admit("192.0.2.1")


def test_dropping_is_as_frequent_as_said() -> None:
    limits = filled(160, draw=0.0)
    limits._random = random.Random(7).random
    admitted = 0
    for _ in range(10_000):
        if limits.admit("192.0.2.1"):
            admitted += 1
            limits.release("192.0.2.1")
    assert 3300 < admitted < 3700


def test_one_source_gets_its_share_and_no_more() -> None:
    limits = AdmissionLimits(64, 30, 256, 40, lambda: 1.0)
    assert [limits.admit("10.0.0.1") for _ in range(41)] == [True] * 40 + [False]
    assert limits.admit("10.0.0.2")
    limits.release("10.0.0.1")
    assert limits.admit("10.0.0.1")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("", "10.0.0.2", False),
    ],
)
def test_what_is_one_source(one: str, other: str, same: bool) -> None:
    limits = AdmissionLimits(64, 30, 256, 1, lambda: 1.0)
    assert limits.admit(one)
    assert limits.admit(other) is not same


def test_the_table_of_sources_is_bounded() -> None:
    limits = AdmissionLimits(64, 30, 256, 40, lambda: 1.0, table=2)
    assert limits.admit("10.0.0.1")
    assert limits.admit("10.0.0.2")
    assert not limits.admit("10.0.0.3")
    assert limits.admit("10.0.0.2")
    limits.release("10.0.0.1")
    assert limits.admit("10.0.0.3")


def test_those_who_are_dropped_are_counted_once_whatever_the_limit() -> None:
    limits = AdmissionLimits(2, 0, 2, 1, lambda: 1.0)
    assert limits.take_dropped() == 0
    told = [limits.admit(address) for address in ("10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3")]
    assert told == [True, False, True, False]
    assert (limits.take_dropped(), limits.take_dropped()) == (2, 0)
    assert limits.count == 2


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([*sources(6), "::1", "::2", "?"])), max_size=200),
    st.randoms(use_true_random=False),
)
def test_counts_stay_within_their_bounds(steps: list[tuple[bool, str]], dice: random.Random) -> None:
    limits = AdmissionLimits(4, 30, 8, 3, dice.random, table=5)
    for arriving, address in steps:
        if arriving:
            limits.admit(address)
        else:
            limits.release(address)  # also of what was never admitted
        assert 0 <= limits.count <= 8
        assert len(limits._sources) <= 5
        assert limits.count == sum(limits._sources.values())
        assert all(0 < held <= 3 for held in limits._sources.values())


# --- registrations ------------------------------------------------------------------------------------------


def test_registrations_are_counted_by_source_and_begin_again_after_an_hour() -> None:
    limits = RegistrationLimits(2, 100)
    assert [limits.admit("192.0.2.1", now) for now in (50, 60, 70)] == [0, 0, 3580]
    assert limits.admit("192.0.2.2", 70) == 0
    assert [limits.admit("192.0.2.1", now) for now in (3649, 3650, 3650, 3651)] == [1, 0, 0, 3599]


def test_a_registration_that_is_forgiven_makes_room_once_and_never_below_nothing() -> None:
    limits = RegistrationLimits(1, 100)
    assert [limits.admit("192.0.2.1", 0), limits.admit("192.0.2.1", 0)] == [0, 3600]
    limits.forgive("192.0.2.1")
    limits.forgive("192.0.2.1")
    limits.forgive("192.0.2.2")
    assert [limits.admit("192.0.2.1", 0), limits.admit("192.0.2.1", 0)] == [0, 3600]


def test_an_ipv6_64_is_one_source_of_registrations() -> None:
    limits = RegistrationLimits(1, 100)
    waits = [limits.admit(address, 0) for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")]
    assert waits == [0, 3600, 0]


def test_registrations_are_limited_in_all_whatever_their_sources() -> None:
    limits = RegistrationLimits(2, 5)
    waits = [limits.admit(f"192.0.2.{number}", 0) for number in range(7)]
    assert waits == [0] * 5 + [3600] * 2
