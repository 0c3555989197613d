"""Values: what becomes a payload as it is, what becomes JSON, and what neither can hold.

tests/services/test_typed.py has what a type makes of payloads.
"""

import enum

import pytest
from msgspec import Struct

from antiphon.wire.values import payload_of


class Order(Struct):
    item: str


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "payload"),
    [
        ("text", "text"), (b"\0", b"\0"), (bytearray(b"\0"), b"\0"), (memoryview(b"\0"), b"\0"), (7, "7"),
        (Order("чай"), '{"item":"чай"}'), ({1: None}, '{"1":null}'), (Colour.RED, '"red"'),
    ],
)  # fmt: skip
def test_a_value_that_is_no_payload_becomes_json(value: object, payload: str | bytes) -> None:
    assert payload_of(value) == payload


def test_what_json_cannot_hold_is_no_value() -> None:
    endless: list[object] = []
    endless.append(endless)
    for value, error in (
        (None, TypeError),
        (object(), TypeError),
        (endless, ValueError),
        (["\ud800"], ValueError),
    ):
        with pytest.raises(error):
            payload_of(value)
