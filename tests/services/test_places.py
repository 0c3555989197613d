"""Places for programs: in all, for a person, and for those that are ending."""

from types import SimpleNamespace
from typing import Any

import pytest

from antiphon.services.places import Places, person_of


def test_one_person_has_a_quarter_of_the_places_and_everybody_together_all() -> None:
    places = Places(8)
    assert [places.take("ann") is not None for _ in range(3)] == [True, True, False]
    others = [places.take(f"person {number // 2}") for number in range(6)]
    assert None not in others
    assert places.take("one more") is None


def test_one_place_is_enough_for_one_person() -> None:
    places = Places(1)
    assert places.take("ann") is not None
    assert places.take("bob") is None


def test_a_program_that_is_ending_holds_no_place_and_is_counted() -> None:
    places = Places(4)
    ending = [places.take("ann"), None]
    assert ending[0] is not None
    ending[0].give_back()
    ending[0].give_back()
    assert (places.running, places.started) == (0, 1)
    ending[1] = places.take("ann")
    assert ending[1] is not None
    ending[1].give_back()
    assert places.take("ann") is None  # two are ending: as many as this person may have at once, twice
    assert places.take("bob") is not None
    ending[0].ended()
    assert places.take("ann") is not None


def test_no_more_are_ending_in_all_than_may_run() -> None:
    places = Places(2)
    for number in range(4):
        place = places.take(str(number))
        assert place is not None
        place.give_back()
    assert places.take("4") is None


def test_nobody_is_kept_in_the_table_after_the_end() -> None:
    places = Places(4)
    place = places.take("ann")
    assert place is not None
    place.ended()
    place.ended()
    assert (places.running, places.started, dict(places._started)) == (0, 0, {})


@pytest.mark.parametrize(
    ("account", "address", "name", "person"),
    [
        (7, "192.0.2.1:5000", "ann", "account 7"),
        (-1, "192.0.2.1:5000", "ann", "192.0.2.1 ann"),
        (-1, "[2001:db8:1:2:3:4:5:6]:5000", "ann", "2001:db8:1:2::/64 ann"),
        (0, "[fe80::1%eth0]:5000", "", "fe80::/64 "),
        (0, "in memory", "", " "),
    ],
)
def test_a_person_is_an_account_or_a_source_with_a_name(
    account: int, address: str, name: str, person: str
) -> None:
    session: Any = SimpleNamespace(account=account, address=address, name=name)
    assert person_of(session) == person
