from dataclasses import astuple, replace

import pytest

from antiphon.errors import CredentialRefused, ServerError, SignInRefused
from antiphon.identity.passwords import Password
from antiphon.identity.scram import (
    ITERATIONS,
    LEAST_ITERATIONS,
    SALT_SIZE,
    SCRAM_SHA_256,
    ClientExchange,
    Verifier,
    check_parameters,
    mock_verifier,
)
from antiphon.identity.scram_server import ServerExchange

SALT = bytes(range(SALT_SIZE))
MOCK_KEY = b"m" * 32
RIGHT = Verifier(SALT, ITERATIONS, b"k" * 32, b"l" * 32)


def test_a_verifier_with_the_parameters_of_the_server_is_taken() -> None:
    check_parameters(RIGHT)


@pytest.mark.parametrize(
    "verifier",
    [
        replace(RIGHT, salt=SALT[1:]),
        replace(RIGHT, salt=SALT + b"x"),
        replace(RIGHT, iterations=ITERATIONS - 1),
        replace(RIGHT, iterations=ITERATIONS + 1),
        replace(RIGHT, stored_key=b""),
        replace(RIGHT, server_key=b"l" * 33),
    ],
)
def test_a_verifier_with_other_parameters_is_refused(verifier: Verifier) -> None:
    with pytest.raises(CredentialRefused):
        check_parameters(verifier)


def test_a_verifier_is_read_as_it_was_written() -> None:
    assert Verifier.decode(RIGHT.encode()) == RIGHT


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x81", RIGHT.encode()[:-1], b"{}"])
def test_what_is_no_verifier_is_the_fault_of_the_server(data: bytes) -> None:
    with pytest.raises(ServerError):
        Verifier.decode(data)


def test_a_verifier_does_not_print() -> None:
    shown = f"{RIGHT} {RIGHT!r} {[RIGHT]}"
    assert "kkk" not in shown
    assert "lll" not in shown


def test_a_name_that_nobody_has_always_gets_the_same_verifier() -> None:
    assert mock_verifier("ann", MOCK_KEY) == mock_verifier("ann", MOCK_KEY)
    assert mock_verifier("ann", MOCK_KEY).salt != mock_verifier("bob", MOCK_KEY).salt
    assert mock_verifier("ann", MOCK_KEY).salt != mock_verifier("ann", b"n" * 32).salt


def challenge_for(verifier: Verifier) -> bytes:
    answering = ServerExchange(SCRAM_SHA_256, None, "s" * 24)
    answering.name_in(b"n,,n=ann,r=abcdefghijklmnopqrst")
    return answering.challenge(verifier)


def test_a_mock_verifier_looks_like_a_real_one() -> None:
    mock = mock_verifier("вадим", MOCK_KEY)
    check_parameters(mock)
    assert len(set(astuple(mock))) == 4
    real, mocked = (challenge_for(verifier) for verifier in (RIGHT, mock))
    assert len(real) == len(mocked)
    assert [part[:2] for part in real.split(b",")] == [part[:2] for part in mocked.split(b",")]
    assert real.rpartition(b",")[2] == mocked.rpartition(b",")[2] == b"i=600000"


def test_no_proof_fits_a_mock_verifier() -> None:
    mock = replace(mock_verifier("ann", MOCK_KEY), iterations=LEAST_ITERATIONS)
    asking = ClientExchange(SCRAM_SHA_256, "ann", Password("open sesame"), None, "c" * 24)
    answering = ServerExchange(SCRAM_SHA_256, None, "s" * 24)
    answering.name_in(asking.first())
    proof = asking.answer(answering.challenge(mock))
    with pytest.raises(SignInRefused):
        answering.verify(proof)
