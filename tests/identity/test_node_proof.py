"""Proof between nodes: what it covers, by taking each thing away."""

import os
from dataclasses import replace

import pytest

from antiphon.identity.keys import KeyRing
from antiphon.identity.node_proof import (
    ANSWER_SIZE,
    CHALLENGE_MOST,
    KEYS_MOST,
    Answer,
    Challenge,
    answer,
    confirmation,
    is_confirmed,
    is_proved,
    proof_keys,
)

RING = KeyRing.generate(os.urandom)
KEYS = proof_keys(RING)
LISTENER, DIALER, CERTIFICATE = b"listener", b"dialer--", bytes(range(32))
CHALLENGE = Challenge.of(LISTENER, b"n" * 32, KEYS)


def said(**changes: object) -> Answer:
    """Return the right answer, with changes."""
    right = answer(CHALLENGE, KEYS, DIALER, b"m" * 32, CERTIFICATE)
    assert right is not None
    return replace(right, **changes)  # type: ignore[arg-type]  # fields of several types


def test_both_ends_of_one_ring_prove() -> None:
    assert is_proved(CHALLENGE, said(), KEYS, CERTIFICATE)
    assert is_confirmed(CHALLENGE, said(), KEYS, CERTIFICATE, confirmation(CHALLENGE, said(), KEYS, CERTIFICATE))
    assert len(said().encode()) == ANSWER_SIZE
    assert Answer.decode(said().encode()) == said()


@pytest.mark.parametrize(
    "changes",
    [{"dialer": b"another-"}, {"nonce": b"o" * 32}, {"proof": bytes(32)}, {"proof": b""}, {"number": 2}],
)
def test_an_answer_of_which_anything_is_changed_proves_nothing(changes: dict[str, object]) -> None:
    assert not is_proved(CHALLENGE, said(**changes), KEYS, CERTIFICATE)


@pytest.mark.parametrize("changes", [{"listener": b"another-"}, {"nonce": b"o" * 32}, {"numbers": (1, 2)}])
def test_a_proof_is_worth_nothing_for_another_challenge(changes: dict[str, object]) -> None:
    another = replace(CHALLENGE, **changes)  # type: ignore[arg-type]  # fields of several types
    assert not is_proved(another, said(), KEYS, CERTIFICATE)


def test_a_proof_is_worth_nothing_on_another_channel_with_another_ring_or_in_the_other_direction() -> None:
    assert not is_proved(CHALLENGE, said(), KEYS, bytes(32))
    another = proof_keys(replace(KeyRing.generate(os.urandom), sealing_keys=RING.sealing_keys))
    assert not is_proved(CHALLENGE, said(), another, CERTIFICATE)
    reflected = confirmation(CHALLENGE, said(), KEYS, CERTIFICATE)
    assert not is_proved(CHALLENGE, said(proof=reflected), KEYS, CERTIFICATE)
    assert not is_confirmed(CHALLENGE, said(), KEYS, CERTIFICATE, said().proof)
    assert not is_confirmed(CHALLENGE, said(), another, CERTIFICATE, reflected)


def test_while_keys_are_replaced_the_newest_that_both_have_proves() -> None:
    both = RING.with_new_key(os.urandom)
    for listener, dialer, number in ((RING, both, 1), (both, RING, 1), (both, both, 2)):
        challenge = Challenge.of(LISTENER, b"n" * 32, proof_keys(listener))
        right = answer(challenge, proof_keys(dialer), DIALER, b"m" * 32, CERTIFICATE)
        assert right is not None
        assert right.number == number
        assert is_proved(challenge, right, proof_keys(listener), CERTIFICATE)
    old = Challenge.of(LISTENER, b"n" * 32, KEYS)
    new = proof_keys(both.with_newest_only())
    assert answer(old, new, DIALER, b"m" * 32, CERTIFICATE) is None
    assert not is_proved(Challenge.of(LISTENER, b"n" * 32, new), said(), new, CERTIFICATE)


def test_a_challenge_is_read_byte_by_byte_and_is_never_longer_than_its_limit() -> None:
    many = Challenge.of(LISTENER, b"n" * 32, dict.fromkeys(range(1, 40)))
    assert many.numbers == tuple(range(39, 39 - KEYS_MOST, -1))
    data = many.encode()
    assert len(data) == CHALLENGE_MOST
    assert [Challenge.decode(data[:size]) for size in range(len(data))] == [None] * len(data)
    assert Challenge.decode(data + b"more") == (many, len(data))


@pytest.mark.parametrize("data", [b"\x02", b"\x01\x00", b"\x01\x11", b"GET / HTTP/1.1", b"\xff" * 100])
def test_what_is_no_challenge_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(ValueError, match="a challenge"):
        Challenge.decode(data)
    with pytest.raises(ValueError, match="another version"):
        Answer.decode(b"\x02" + said().encode()[1:])
