"""Payloads: they differ, have the given size, depend on the seed only, and match only an equal answer."""

import pytest

from antiphon.ping.payload import Payloads, number_of, same
from antiphon.settings import PING_SIZE_LEAST


@pytest.mark.parametrize("size", [PING_SIZE_LEAST, 17, 64, 16 * 1024])
def test_every_message_has_the_size_and_differs_from_every_other(size: int) -> None:
    payloads = Payloads(size)
    messages = payloads.messages(0, 5000)
    assert {len(message.encode()) for message in messages} == {size}
    assert len(set(messages)) == 5000
    assert [number_of(message) for message in messages] == list(range(5000))
    assert payloads.messages(4090, 20) == messages[4090:4110]


def test_neighbours_differ_in_more_than_their_number() -> None:
    one, two = Payloads(64).messages(1, 2)
    assert one[PING_SIZE_LEAST:] != two[PING_SIZE_LEAST:]


def test_the_same_seed_gives_the_same_messages() -> None:
    assert Payloads(64, 7).messages(3, 1) == Payloads(64, 7).messages(3, 1) != Payloads(64, 8).messages(3, 1)


def test_an_answer_is_right_to_the_last_byte_or_wrong() -> None:
    (message,) = Payloads(64).messages(9, 1)
    assert same(message, message)
    assert same(message.encode(), message)
    for wrong in (message[:-1], message[:-1] + "_", message + "\n", "", message.encode()[:-1]):
        assert not same(wrong, message)
