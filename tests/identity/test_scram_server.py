"""The server's side of SCRAM beside scramp's: on the same messages, honest or not, both say the same."""

import random
from base64 import b64encode

import pytest
from scramp import ScramException, ScramMechanism

from antiphon.errors import SignInRefused
from antiphon.identity.scram import LEAST_NONCE, mechanism_for
from support.scram import BINDING, SERVER_NONCE, VERIFIER, client, server, signed_by_hand

PUT_IN = [
    "", ",", "=", "A", "0", ",m=1", ",x=y", ",y=z", ",X=1", ",x=", ",a=1", ",e=1", "n,,", "y,,", "p=", ",r=",
    ",p=", ",c=", "=2C", "=3D", "é", "\u00ad", "\u0627", "\0", "\n", "\x7f", "\u200b", " ",
]  # fmt: skip
ROUNDS = 1500


def altered(message: str, chance: random.Random) -> str:
    at, cut = chance.randrange(len(message) + 1), chance.choice([0, 0, 1, 2])
    return message[:at] + chance.choice(PUT_IN) + message[at + cut :]


def answers_of_ours(binding: bytes | None, first: str, final: str) -> list[str]:
    exchange, answers = server(binding), []
    try:
        exchange.name_in(first.encode())
        answers.append(exchange.challenge(VERIFIER).decode())
        answers.append(exchange.verify(final.encode()).decode())
    except SignInRefused:
        answers.append("refused")
    return answers


def answers_of_scramp(binding: bytes | None, first: str, final: str) -> list[str]:
    exchange = ScramMechanism(mechanism_for(binding)).make_server(
        lambda _: (VERIFIER.salt, VERIFIER.stored_key, VERIFIER.server_key, VERIFIER.iterations),
        channel_binding=None if binding is None else ("tls-server-end-point", binding),
        s_nonce=SERVER_NONCE,
    )
    answers = []
    try:
        exchange.set_client_first(first)
        answers.append(exchange.get_server_first())
        exchange.set_client_final(final)
        answers.append(exchange.get_server_final())
    except ScramException:
        answers.append("refused")
    return answers


@pytest.mark.parametrize("binding", [None, BINDING])
def test_of_altered_messages_ours_and_scramps_take_the_same(binding: bytes | None) -> None:
    chance = random.Random(7)
    taken = 0
    for _ in range(ROUNDS):
        first = client(binding, name=chance.choice(["ann", "Вадим", "a,b=c"])).first().decode()
        first += chance.choice(["", "", ",x=1", ",X=abc,y=é"])
        if chance.random() < 0.5:
            first = altered(first, chance)
        flag, bare = first.partition(",,")[::2]
        nonce = bare.partition(",r=")[2].partition(",")[0]
        if len(nonce) < LEAST_NONCE:  # which only ours refuses
            continue
        nonce += SERVER_NONCE
        challenge = f"r={nonce},s={b64encode(VERIFIER.salt).decode()},i={VERIFIER.iterations}"
        without = f"c={b64encode(f'{flag},,'.encode() + (binding or b'')).decode()},r={nonce}"
        if chance.random() < 0.5:
            without = altered(without, chance)
        final = signed_by_hand(bare, challenge, without)
        ours = answers_of_ours(binding, first, final)
        assert ours == answers_of_scramp(binding, first, final), (first, final)
        taken += ours[-1] != "refused"
    assert ROUNDS / 5 < taken < ROUNDS / 2


@pytest.mark.parametrize("proof", [b64encode(bytes(31)), b64encode(bytes(32)), b64encode(bytes(33))])
def test_a_proof_of_another_size_is_a_wrong_password_and_not_a_broken_message(proof: bytes) -> None:
    exchange = server(None)
    exchange.name_in(client(None).first())
    nonce = exchange.challenge(VERIFIER).partition(b",")[0]
    with pytest.raises(SignInRefused) as refused:
        exchange.verify(b"c=biws," + nonce + b",p=" + proof)
    assert not refused.value.fields
