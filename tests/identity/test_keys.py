import base64
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import KeyRingUnusable, Problem, ServerError
from antiphon.identity.keys import KEY_SIZE, NONCE_SIZE, KeyRing

NONCE = b"n" * NONCE_SIZE


def countdown() -> Callable[[int], bytes]:
    """Return a source of bytes that never returns the same bytes twice."""
    numbers = count(1)
    return lambda size: bytes([next(numbers)]) * size


RING = KeyRing.generate(countdown())
SEALED = RING.seal(b"verifier", b"account 1", NONCE)


def test_a_new_ring_has_three_different_keys() -> None:
    keys = {*RING.sealing_keys.values(), RING.token_key, RING.mock_key}
    assert len(keys) == 3
    assert {len(key) for key in keys} == {KEY_SIZE}


def test_a_ring_is_read_as_it_was_written() -> None:
    two = replace(RING, sealing_keys={1: b"1" * KEY_SIZE, 2: b"2" * KEY_SIZE})
    assert KeyRing.parse(two.dump()) == two


def changed(**fields: object) -> bytes:
    return json.dumps(json.loads(RING.dump()) | fields).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b'{"more":' + b"[" * 100_000,
        RING.dump()[:-10],
        changed(version=2),
        changed(sealing_keys={}),
        changed(sealing_keys={"0": base64.b64encode(b"k" * 32).decode()}),
        changed(sealing_keys={"4294967296": base64.b64encode(b"k" * 32).decode()}),
        changed(token_key=base64.b64encode(b"k" * 31).decode()),
        changed(mock_key=base64.b64encode(b"k" * 33).decode()),
        changed(mock_key="not base64"),
        changed(mock_key=None),
    ],
)
def test_what_is_not_a_ring_is_refused_with_a_problem_for_people(data: bytes) -> None:
    with pytest.raises(ValueError) as caught:
        KeyRing.parse(data)
    (problem,) = caught.value.args
    assert isinstance(problem, Problem)
    assert "not a key ring" in KeyRingUnusable(path="secret.key", problem=problem).text()


def test_what_was_sealed_opens_at_its_place() -> None:
    assert RING.open(SEALED, b"account 1") == b"verifier"


def test_what_is_sealed_cannot_be_read() -> None:
    assert b"verifier" not in SEALED
    assert SEALED.startswith(bytes([0, 0, 0, 1]) + NONCE)


def test_the_newest_key_seals_and_every_key_opens() -> None:
    newer = replace(RING, sealing_keys=RING.sealing_keys | {10: b"k" * KEY_SIZE, 9: b"j" * KEY_SIZE})
    assert newer.seal(b"verifier", b"account 1", NONCE)[:4] == bytes([0, 0, 0, 10])
    assert newer.open(SEALED, b"account 1") == b"verifier"


def test_what_was_sealed_for_another_account_does_not_open() -> None:
    with pytest.raises(ServerError) as caught:
        RING.open(SEALED, b"account 2")
    assert "altered or moved" in str(caught.value.fields["problem"])


def test_a_key_that_the_ring_does_not_hold_is_told_to_the_log_and_not_to_the_peer() -> None:
    with pytest.raises(ServerError) as caught:
        RING.open(bytes([0, 0, 0, 7]) + SEALED[4:], b"account 1")
    assert "key 7" in str(caught.value.fields["problem"])
    assert "7" not in caught.value.full()


def test_the_same_number_with_another_key_does_not_open() -> None:
    other = replace(RING, sealing_keys={1: b"k" * KEY_SIZE})
    with pytest.raises(ServerError):
        other.open(SEALED, b"account 1")


@pytest.mark.parametrize("size", range(len(SEALED)))
def test_sealed_bytes_cut_short_do_not_open(size: int) -> None:
    with pytest.raises(ServerError):
        RING.open(SEALED[:size], b"account 1")


@given(st.integers(0, len(SEALED) * 8 - 1))
def test_one_altered_bit_is_noticed(bit: int) -> None:
    altered = bytearray(SEALED)
    altered[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ServerError):
        RING.open(bytes(altered), b"account 1")


@pytest.mark.parametrize("size", [0, 11, 13])
def test_a_nonce_of_another_size_is_not_taken(size: int) -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        RING.seal(b"verifier", b"account 1", b"n" * size)


def test_a_ring_does_not_print() -> None:
    shown = f"{RING} {RING!r} {[RING]}"
    for key in (*RING.sealing_keys.values(), RING.token_key, RING.mock_key):
        assert base64.b64encode(key).decode() not in shown
        assert str(key)[2:-1] not in shown
