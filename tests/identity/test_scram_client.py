import hashlib
from base64 import b64decode, b64encode

import pytest

from antiphon.errors import (
    MechanismUnsupported,
    NameInvalid,
    PasswordInvalid,
    ProtocolError,
    ServerUnproven,
)
from antiphon.identity.passwords import Password
from antiphon.identity.scram import (
    LEAST_ITERATIONS,
    LEAST_NONCE,
    MESSAGE_LIMIT,
    MOST_ITERATIONS,
    SCRAM_SHA_256,
    SCRAM_SHA_256_PLUS,
    ClientExchange,
    make_verifier,
    mechanism_for,
)
from antiphon.identity.scram_server import ServerExchange
from support.scram import (
    ADDRESS,
    BINDING,
    CLIENT_NONCE,
    MESSAGES,
    PASSWORD,
    SALT,
    SERVER_NONCE,
    client,
)


@pytest.mark.parametrize("iterations", [MOST_ITERATIONS + 1, 10_000_000])
def test_a_client_does_not_hash_more_than_a_million_times(
    iterations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[object] = []
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", lambda *args, **_: hashed.append(args))
    asking = client()
    asking.first()
    with pytest.raises(ProtocolError, match=f"asks for {iterations} rounds of hashing; .* at most 1000000"):
        asking.answer(MESSAGES.challenge.replace(b"i=4096", b"i=%d" % iterations))
    with pytest.raises(ProtocolError, match=f"asks for {iterations} rounds of hashing"):
        make_verifier(PASSWORD, SALT, iterations)
    assert hashed == []


def test_a_client_does_not_hash_less_than_4096_times() -> None:
    asking = client()
    asking.first()
    with pytest.raises(ProtocolError):
        asking.answer(MESSAGES.challenge.replace(b"i=4096", b"i=4095"))
    with pytest.raises(ProtocolError, match="at least 4096"):
        make_verifier(PASSWORD, SALT, 4095)


def test_a_server_adds_twenty_characters_to_the_nonce_or_is_given_no_proof() -> None:
    for size in (LEAST_NONCE, LEAST_NONCE - 1, 1):
        asking = client()
        asking.first()
        challenge = MESSAGES.challenge.replace(SERVER_NONCE.encode(), SERVER_NONCE[:size].encode())
        if size == LEAST_NONCE:
            assert asking.answer(challenge).startswith(b"c=")
            continue
        with pytest.raises(ProtocolError, match=f"nonce has {size} characters; this client takes 20 or more"):
            asking.answer(challenge)


@pytest.mark.parametrize(
    "challenge",
    [
        b"",
        b"\xff",
        b"e=other-error",
        MESSAGES.challenge.replace(b"r=Y2", b"r=Z2"),  # another client's nonce
        MESSAGES.challenge.replace(SERVER_NONCE.encode(), b""),  # no nonce of the server's
        MESSAGES.challenge + b",x=" + b"x" * MESSAGE_LIMIT,
    ],
)
def test_a_challenge_that_breaks_the_rfc_is_a_broken_protocol(challenge: bytes) -> None:
    asking = client()
    asking.first()
    with pytest.raises(ProtocolError, match="challenge cannot be read"):
        asking.answer(challenge)


@pytest.mark.parametrize(
    "final",
    [b"", b"\xff", b"e=invalid-proof", b"v=", b"v=AAAA", b"v=" + b64encode(bytes(32)), b"v=" + b"A" * 2000],
)
def test_a_server_that_does_not_know_the_account_is_unproven(final: bytes) -> None:
    asking = client()
    asking.first()
    asking.answer(MESSAGES.challenge)
    with pytest.raises(ServerUnproven, match=ADDRESS):
        asking.verify(final, ADDRESS)


def test_a_signature_has_one_spelling() -> None:
    spelled = MESSAGES.final[:-2] + bytes([MESSAGES.final[-2] + 1]) + b"="
    assert b64decode(spelled[2:]) == b64decode(MESSAGES.final[2:])
    asking = client()
    asking.first()
    asking.answer(MESSAGES.challenge)
    with pytest.raises(ServerUnproven):
        asking.verify(spelled, ADDRESS)


def test_a_server_that_lets_in_without_a_challenge_is_unproven() -> None:
    asking = client()
    asking.first()
    with pytest.raises(ServerUnproven):
        asking.verify(MESSAGES.final, ADDRESS)


def test_a_client_answers_once() -> None:
    asking = client()
    with pytest.raises(ProtocolError):
        asking.answer(MESSAGES.challenge)
    asking = client()
    asking.first()
    asking.answer(MESSAGES.challenge)
    with pytest.raises(ProtocolError):
        asking.answer(MESSAGES.challenge)


@pytest.mark.parametrize(
    ("mechanism", "binding"),
    [(SCRAM_SHA_256, BINDING), (SCRAM_SHA_256_PLUS, None), ("SCRAM-SHA-1", None), ("PLAIN", None), ("", None)],
)
def test_each_kind_of_connection_has_one_mechanism(mechanism: str, binding: bytes | None) -> None:
    with pytest.raises(MechanismUnsupported, match=mechanism_for(binding)):
        ServerExchange(mechanism, binding, SERVER_NONCE)
    with pytest.raises(MechanismUnsupported, match=mechanism_for(binding)):
        ClientExchange(mechanism, "ann", PASSWORD, binding, CLIENT_NONCE)


def test_an_invalid_name_or_password_begins_no_exchange() -> None:
    with pytest.raises(NameInvalid):
        client(name="ann smith")
    with pytest.raises(PasswordInvalid):
        client(password=Password("😀"))
    with pytest.raises(PasswordInvalid):
        make_verifier(Password("😀"), SALT, LEAST_ITERATIONS)
