"""Mutated SCRAM exchanges: none signs in, and each raises the documented error and no other."""

import random
from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from antiphon.errors import (
    ProtocolError,
    ServerUnproven,
    SignInRefused,
)
from support.scram import (
    ADDRESS,
    MESSAGES,
    VERIFIER,
    challenged,
    client,
    mutated,
    server,
)

Mutation = Callable[[bytes], bytes]
BYTES = st.one_of(
    st.binary(min_size=1, max_size=3), st.sampled_from([b",", b"=", b"\0", b"A", b"0", b",m=1", b",x=y"])
)


@st.composite
def mutations(draw: st.DrawFn) -> Mutation:
    """Draw a mutation of a message at one place: bytes removed, inserted or both."""
    place, length = draw(st.integers(0, 400)), draw(st.integers(0, 3))
    put_in = draw(st.just(b"") | BYTES)

    def mutate(message: bytes) -> bytes:
        start = place % (len(message) + 1)
        return message[:start] + put_in + message[start + length :]

    return mutate


@given(st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_of_ten_thousand_mutated_exchanges_none_signs_in(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        first, proof = mutated(MESSAGES.first, MESSAGES.proof, chance)
        answering = server()
        with pytest.raises(SignInRefused):  # noqa: PT012 - which of the steps sees it does not matter
            answering.name_in(first)
            answering.challenge(VERIFIER)
            answering.verify(proof)


@given(mutations(), mutations(), st.sampled_from(["first", "proof", "both"]))
@settings(max_examples=400, deadline=None)
def test_no_mutated_exchange_signs_in(one: Mutation, other: Mutation, which: str) -> None:
    first = MESSAGES.first if which == "proof" else one(MESSAGES.first)
    proof = MESSAGES.proof if which == "first" else other(MESSAGES.proof)
    assume((first, proof) != (MESSAGES.first, MESSAGES.proof))
    answering = server()
    with pytest.raises(SignInRefused):  # noqa: PT012 - which of the steps sees it does not matter
        answering.name_in(first)
        answering.challenge(VERIFIER)
        answering.verify(proof)


@given(mutations())
@settings(max_examples=100, deadline=None)
def test_no_mutated_challenge_gives_a_proof_that_signs_in(mutate: Mutation) -> None:
    challenge = mutate(MESSAGES.challenge)
    assume(challenge != MESSAGES.challenge)
    asking = client()
    asking.first()
    with pytest.raises((ProtocolError, SignInRefused)):
        challenged().verify(asking.answer(challenge))


@given(mutations())
@settings(max_examples=200, deadline=None)
def test_no_mutated_signature_proves_a_server(mutate: Mutation) -> None:
    final = mutate(MESSAGES.final)
    assume(final != MESSAGES.final)
    asking = client()
    asking.first()
    asking.answer(MESSAGES.challenge)
    with pytest.raises(ServerUnproven):
        asking.verify(final, ADDRESS)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_noise_is_refused_and_nothing_else_comes_out(first: bytes, final: bytes) -> None:
    answering = server()
    with pytest.raises(SignInRefused):  # noqa: PT012 - which of the two steps sees it does not matter
        answering.name_in(first)
        answering.challenge(VERIFIER)
    with pytest.raises(SignInRefused):
        challenged().verify(final)
    asking = client()
    asking.first()
    with pytest.raises(ProtocolError):
        asking.answer(first)
