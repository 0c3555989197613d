"""What a client checks of a message before it sends it, and how many it sends."""

from typing import Any

import pytest

from antiphon.client.protocol.window import WINDOW, WINDOW_BYTES, Window, check_message
from antiphon.errors import MessageTooLarge, NotText
from antiphon.wire.bodies import Limits

LIMITS = Limits(message=8, heartbeat=20, silence=40)


@pytest.mark.parametrize(("message", "size"), [("", 0), ("abc", 3), ("да", 4), (b"", 0), (b"\xff" * 8, 8)])
def test_the_size_is_that_of_the_bytes_on_the_wire(message: str | bytes, size: int) -> None:
    assert check_message(message, LIMITS) == size


@pytest.mark.parametrize("message", ["x" * 9, "дада5", bytes(9)])
def test_more_than_the_server_takes_is_refused(message: str | bytes) -> None:
    with pytest.raises(MessageTooLarge):
        check_message(message, LIMITS)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(NotText):
        check_message("\ud800", LIMITS)


@pytest.mark.parametrize(
    ("message", "name"), [(5, "int"), (None, "NoneType"), (bytearray(b"x"), "bytearray"), (["x"], "list")]
)
def test_what_is_neither_text_nor_bytes_is_refused_by_its_type(message: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"a message is str or bytes, not {name}"):
        check_message(message, LIMITS)


@pytest.mark.parametrize("size", [0, 1, 64, 1023, 1024, 1025, 100_000, WINDOW_BYTES - 1, WINDOW_BYTES, 10**7])
def test_the_room_is_what_can_be_sent_one_after_another(size: int) -> None:
    one_by_one, together = Window(), Window()
    for already in (0, 3):
        for window in (one_by_one, together):
            window.add(1000 * already, already)
        count = 0
        while not one_by_one.full:
            one_by_one.add(size)
            count += 1
        assert together.room(size) == count
        together.add(size * count, count)
        assert together.full
        assert together.room(size) == 0
        for window in (one_by_one, together):
            window.remove(size * count + 1000 * already, count + already)
    assert together.room(0) == WINDOW
