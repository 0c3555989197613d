"""What the ends of a link say to each other before bytes go over it."""

import pytest

from antiphon.errors import AntiphonError, SessionEnded, TokenRefused, TryLater
from antiphon.server.relay.opening import Opening, decode_opening, refusal_in, refusal_of

OPENING = Opening(
    version=1,
    process="one",
    address="192.0.2.1:5",
    host="192.0.2.1",
    binding=b"hash",
    accepted_at=1.5,
    can_half_close=True,
    resume=b"a frame with a token",
)


def test_an_opening_comes_as_it_was_and_shows_no_token() -> None:
    assert decode_opening(OPENING.encode()) == OPENING
    assert "token" not in repr(OPENING)


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x91\x01"])
def test_what_is_no_opening_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_opening(payload)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SessionEnded(), SessionEnded),
        (TryLater(), TryLater),
        (TryLater(wait=60), TryLater),
        (TokenRefused(), TryLater),
    ],
)
def test_a_session_that_is_not_over_is_to_be_tried_again_within_a_second(
    error: AntiphonError, told: type[AntiphonError]
) -> None:
    said = refusal_in(refusal_of(error))
    assert type(said) is told
    assert said.wait <= 1
