from base64 import b64decode, b64encode

import pytest

from antiphon.errors import SignInRefused
from antiphon.identity.passwords import Password
from antiphon.identity.scram import (
    ITERATIONS,
    LEAST_ITERATIONS,
    LEAST_NONCE,
    MESSAGE_LIMIT,
    check_parameters,
    make_verifier,
)
from support.leaks import assert_takes_less
from support.scram import (
    BINDING,
    CLIENT_NONCE,
    MESSAGES,
    PASSWORD,
    SALT,
    SERVER_NONCE,
    VERIFIER,
    challenged,
    client,
    exchange,
    server,
    signed_by_hand,
)

# --- the RFCs -----------------------------------------------------------------------------------------------


def test_the_example_of_rfc_7677_passes() -> None:
    password = Password("pencil")
    verifier = make_verifier(password, b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    messages = exchange(
        client(None, name="user", password=password, nonce="rOprNGfwEbeRWgbNEkqO"),
        server(None, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"),
        verifier,
    )
    assert messages == (
        b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        (
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        ),
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    )


def test_a_sign_in_with_the_parameters_of_the_server_passes() -> None:
    verifier = make_verifier(PASSWORD, SALT, ITERATIONS)
    check_parameters(verifier)
    messages = exchange(client(), server(), verifier)
    assert messages.first.startswith(b"p=tls-server-end-point,,n=ann,r=")
    assert messages.challenge.endswith(b",i=600000")


@pytest.mark.parametrize("name", ["Вадим", "a,b=c", "=2C", "山田たろう"])
def test_a_name_arrives_as_it_is(name: str) -> None:
    answering = server()
    assert answering.name_in(client(name=name).first()) == name
    answering.challenge(VERIFIER)


def test_the_longest_name_fits_into_a_message() -> None:
    first = client(name="한" * 64).first()
    assert server().name_in(first) == "한" * 64
    assert server().name_in(client(name="=" * 64).first()) == "=" * 64


@pytest.mark.parametrize("password", ["пароль пароль", "e\u0301" * 8, "\u00a0 \u00ad spaces"])
def test_a_password_that_saslprep_changes_signs_in(password: str) -> None:
    verifier = make_verifier(Password(password), SALT, LEAST_ITERATIONS)
    assert exchange(client(password=Password(password)), server(), verifier)


def test_a_password_with_a_zero_width_space_is_the_same_without_it() -> None:
    verifier = make_verifier(Password("pass\u200bword"), SALT, LEAST_ITERATIONS)
    for typed in ("password", "pass\u200bword", "\u200bpassword"):
        assert exchange(client(password=Password(typed)), server(), verifier)
    with pytest.raises(SignInRefused):
        exchange(client(password=Password("pass word")), server(), verifier)


# --- refusals of the server ---------------------------------------------------------------------------------


def test_a_wrong_password_is_refused() -> None:
    asking, answering = client(password=Password("open sesame, now")), server()
    answering.name_in(asking.first())
    proof = asking.answer(answering.challenge(VERIFIER))
    with pytest.raises(SignInRefused):
        answering.verify(proof)


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"\xff",
        b"p=tls-server-end-point,,",
        b"p=tls-server-end-point,,r=" + CLIENT_NONCE.encode() + b",n=ann",
        b"p=tls-server-end-point,,n=" + b"a" * 65 + b",r=" + CLIENT_NONCE.encode(),
        b"p=tls-server-end-point,,n=ann,r=" + b"r" * MESSAGE_LIMIT,
    ],
)
def test_a_first_message_that_holds_no_name_is_refused(first: bytes) -> None:
    with pytest.raises(SignInRefused):
        server().name_in(first)


@pytest.mark.parametrize("escape", ["=2c", "=3d", "=", "=2", "=3d2C", "=41", "%2C"])
def test_of_a_name_only_two_escapes_are_read_and_in_capitals(escape: str) -> None:
    first = f"p=tls-server-end-point,,n=ann{escape},r={CLIENT_NONCE}".encode()
    if "=" not in escape:
        assert server().name_in(first) == f"ann{escape}"
        return
    with pytest.raises(SignInRefused):
        server().name_in(first)


def test_an_escape_is_read_once() -> None:
    first = f"p=tls-server-end-point,,n==3D2C=2C=3D,r={CLIENT_NONCE}".encode()
    assert server().name_in(first) == "=2C,="


def test_a_nonce_of_twenty_characters_is_taken_and_a_shorter_one_is_refused() -> None:
    first = b"p=tls-server-end-point,,n=ann,r="
    for rest in (b"", b",x=a field of a later version"):
        answering = server()
        assert answering.name_in(first + CLIENT_NONCE[:LEAST_NONCE].encode() + rest) == "ann"
        assert answering.challenge(VERIFIER)
        with pytest.raises(SignInRefused) as refused:
            server().name_in(first + CLIENT_NONCE[: LEAST_NONCE - 1].encode() + rest)
        assert refused.value.fields == {"why": "malformed"}


def test_a_first_message_of_the_limit_is_read_and_one_byte_more_is_not() -> None:
    first = b"p=tls-server-end-point,,n=ann,r="
    limit = first.ljust(MESSAGE_LIMIT, b"r")
    answering = server()
    assert answering.name_in(limit) == "ann"
    assert answering.challenge(VERIFIER)
    with pytest.raises(SignInRefused):
        server().name_in(limit + b"r")


def test_a_name_of_a_megabyte_costs_nothing() -> None:
    first = b"n,,n=" + b"a" * 1_000_000 + b",r=abc"

    def read() -> None:
        with pytest.raises(SignInRefused):
            server(None).name_in(first)

    assert_takes_less(read, 64 * 1024)


@pytest.mark.parametrize("flag", [b"n", b"y", b"p=tls-unique", b"p=tls-exporter", b"p=", b""])
def test_over_tls_what_is_not_bound_to_the_channel_is_refused(flag: bytes) -> None:
    answering = server()
    answering.name_in(flag + b",,n=ann,r=" + CLIENT_NONCE.encode())
    with pytest.raises(SignInRefused):
        answering.challenge(VERIFIER)


@pytest.mark.parametrize(
    "first",
    [
        b"p=tls-server-end-point,,n=ann,r=abcdefghijklmnopqrst",  # no TLS channel to bind to
        b"n,a=bob,n=ann,r=abcdefghijklmnopqrst",  # with an authorisation identity: on behalf of bob
        b"n,,n=ann",
        b"n,,n=ann,R=abcdefghijklmnopqrst",
        b"n,,n=ann,r=",
        b"n,,n=ann,m=ext,r=abcdefghijklmnopqrst",
        b"n,,n=a=2c,r=abcdefghijklmnopqrst",
        b"n,,n=a=3d,r=abcdefghijklmnopqrst",
        b"n,,n=a=nn,r=abcdefghijklmnopqrst",
        b"n,,n=,r=abcdefghijklmnopqrst",
        b"n,,n=\xd7\x90a,r=abcdefghijklmnopqrst",
        b"n,,n=a\0,r=abcdefghijklmnopqrst",
        b"n,,n=ann,r=abcdefghijklmnopqrs\x7f",
    ],
)
def test_a_first_message_that_breaks_the_rfc_is_refused(first: bytes) -> None:
    answering = server(None)
    with pytest.raises(SignInRefused):  # noqa: PT012 - which of the two steps sees it does not matter
        answering.name_in(first)
        answering.challenge(VERIFIER)


def test_a_relay_with_another_certificate_is_refused() -> None:
    asking, answering = client(b"hash of the certificate of a relay"), server()
    answering.name_in(asking.first())
    proof = asking.answer(answering.challenge(VERIFIER))
    with pytest.raises(SignInRefused):
        answering.verify(proof)


def signed(channel: bytes, nonce: str) -> bytes:
    """Return a proof with the right password over any `c=` and `r=`, which no honest client makes."""
    bare = MESSAGES.first.decode().removeprefix("p=tls-server-end-point,,")
    return signed_by_hand(bare, MESSAGES.challenge.decode(), f"c={b64encode(channel).decode()},r={nonce}").encode()


RIGHT_CHANNEL = b"p=tls-server-end-point,," + BINDING
RIGHT_NONCE = CLIENT_NONCE + SERVER_NONCE


def test_a_proof_made_by_hand_is_taken_when_everything_is_right() -> None:
    assert signed(RIGHT_CHANNEL, RIGHT_NONCE) == MESSAGES.proof
    assert challenged().verify(signed(RIGHT_CHANNEL, RIGHT_NONCE)) == MESSAGES.final


@pytest.mark.parametrize(
    ("channel", "nonce"),
    [
        (b"n,,", RIGHT_NONCE),
        (b"y,,", RIGHT_NONCE),
        (b"p=tls-server-end-point,,", RIGHT_NONCE),
        (RIGHT_CHANNEL + b"x", RIGHT_NONCE),
        (RIGHT_CHANNEL, CLIENT_NONCE),
        (RIGHT_CHANNEL, RIGHT_NONCE + "x"),
        (RIGHT_CHANNEL, SERVER_NONCE + CLIENT_NONCE),
    ],
)
def test_a_right_password_over_another_channel_or_nonce_is_refused(channel: bytes, nonce: str) -> None:
    with pytest.raises(SignInRefused):
        challenged().verify(signed(channel, nonce))


@pytest.mark.parametrize("proof", [b"", b"=", b"AAAA", b"not base64!", b64encode(bytes(32)), b64encode(bytes(33))])
def test_an_empty_short_or_unreadable_proof_is_refused(proof: bytes) -> None:
    without = MESSAGES.proof.rpartition(b",p=")[0]
    with pytest.raises(SignInRefused):
        challenged().verify(without + b",p=" + proof)


def test_a_proof_has_one_spelling() -> None:
    """Of 44 characters, the last but one has two bits that decoders ignore."""
    spelled = MESSAGES.proof[:-2] + bytes([MESSAGES.proof[-2] + 1]) + b"="
    assert b64decode(spelled.rpartition(b",p=")[2]) == b64decode(MESSAGES.proof.rpartition(b",p=")[2])
    with pytest.raises(SignInRefused):
        challenged().verify(spelled)


def test_a_final_message_over_the_limit_is_refused() -> None:
    without, _, proof = MESSAGES.proof.rpartition(b",p=")
    with pytest.raises(SignInRefused):
        challenged().verify(without + b",x=" + b"x" * MESSAGE_LIMIT + b",p=" + proof)


def test_a_replayed_final_message_is_refused() -> None:
    answering = challenged()
    answering.verify(MESSAGES.proof)
    with pytest.raises(SignInRefused):
        answering.verify(MESSAGES.proof)
    with pytest.raises(SignInRefused):
        challenged(nonce=b64encode(b"t" * 24).decode()).verify(MESSAGES.proof)


@pytest.mark.parametrize(
    "steps",
    [
        ["challenge"],
        ["verify"],
        ["name_in", "verify"],
        ["name_in", "name_in"],
        ["name_in", "challenge", "challenge"],
        ["name_in", "challenge", "name_in"],
        ["name_in", "challenge", "verify", "name_in"],
        ["name_in", "challenge", "verify", "challenge"],
    ],
)
def test_steps_out_of_order_are_refused(steps: list[str]) -> None:
    answering = server()
    arguments = {"name_in": MESSAGES.first, "challenge": VERIFIER, "verify": MESSAGES.proof}
    for step in steps[:-1]:
        getattr(answering, step)(arguments[step])
    with pytest.raises(SignInRefused):
        getattr(answering, steps[-1])(arguments[steps[-1]])


def test_after_a_refusal_the_exchange_is_over() -> None:
    answering = server()
    with pytest.raises(SignInRefused):
        answering.name_in(b"")
    with pytest.raises(SignInRefused):
        answering.name_in(MESSAGES.first)
    answering = challenged()
    with pytest.raises(SignInRefused):
        answering.verify(b"")
    with pytest.raises(SignInRefused):
        answering.verify(MESSAGES.proof)
