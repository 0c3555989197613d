"""Invitations: a code survives encoding and decoding, copying errors are found, and the secret never prints."""

import re
import secrets
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.address import Address, parse
from antiphon.errors import InvitationInvalid
from antiphon.identity.invitations import SECRET_SIZE, Code, Secret, fingerprint, read_place
from antiphon.identity.tokens import Token
from antiphon.identity.tokens import fingerprint as token_fingerprint

PIN = "sha256:" + urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")
TWO_PINS = f"{PIN}+sha256:{'A' * 43}"
SECRET = Secret(bytes(range(0xB0, 0xC0)))
CODE = Code(Address("tls", "school.example", 7862, "Вадим", PIN), SECRET)


@pytest.mark.parametrize("host", ["school.example", "школа.рф", "192.0.2.7", "[2001:db8::7]", "[fe80::1%eth0]"])
@pytest.mark.parametrize("name", ["ann", "Вадим", "李", "o'neil", "a%2Fb", "a%25"])
@pytest.mark.parametrize("server", ["tls://{}@{}:7862#" + PIN, "tls://{}@{}:7862#" + TWO_PINS, "tcp://{}@{}:1"])
def test_a_code_comes_back_as_it_was_made(server: str, name: str, host: str) -> None:
    code = Code.make(parse(server.format(name, host)), secrets.token_bytes)
    assert Code.read(code.written()) == code
    assert read_place(code.written()) == code


def test_a_usual_code_is_one_short_word_that_shows_where_it_leads() -> None:
    written = CODE.written()
    assert len(written) <= 120
    assert written.startswith("antiphon1://Вадим@school.example:7862/")
    assert not re.search(r"[\s'\"#$&()*;<>?\\`|~]", written), "a shell would take it for something else"


def test_white_space_of_a_mail_does_not_count() -> None:
    written = CODE.written()
    assert Code.read(f"  {written[:50]}\r\n {written[50:]}\n") == CODE


@settings(deadline=None)
@given(st.integers(0, len(CODE.written()) - 1), st.characters(codec="utf-8"))
def test_another_character_is_told_and_the_code_is_not_repeated(at: int, character: str) -> None:
    written = CODE.written()
    slip = written[:at] + character + written[at + 1 :]
    if slip == written or (slip.lower() == written.lower() and at < written.rindex("/")):
        return  # nothing has changed, or only the case of a letter of the host
    with pytest.raises(InvitationInvalid) as caught:
        Code.read(slip)
    assert written[-20:-10] not in str(caught.value)


@pytest.mark.parametrize("at", range(len(CODE.written())))
def test_a_character_that_is_missing_or_comes_twice_is_told(at: int) -> None:
    written = CODE.written()
    for slip in (written[:at] + written[at + 1 :], written[:at] + written[at] + written[at:], written[:at]):
        with pytest.raises(InvitationInvalid):
            Code.read(slip)


def test_two_characters_that_changed_places_are_told() -> None:
    written = CODE.written()
    for at in range(len(written) - 1):
        if written[at] != written[at + 1]:
            with pytest.raises(InvitationInvalid):
                Code.read(written[:at] + written[at + 1] + written[at] + written[at + 2 :])


def test_every_bit_of_the_data_counts() -> None:
    place, _, data = Code(Address("tcp", "localhost", 1, "ann"), SECRET).written().rpartition("/")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others = [last for last in alphabet if last != data[-1]]
    for last in others:  # including the bits after the last byte
        with pytest.raises(InvitationInvalid):
            Code.read(f"{place}/{data[:-1]}{last}")


def test_a_code_of_a_later_version_is_told_as_such() -> None:
    with pytest.raises(InvitationInvalid, match="it is from another version of this program"):
        Code.read(CODE.written().replace("antiphon1:", "antiphon2:"))


@pytest.mark.parametrize(
    "text", ["localhost", "antiphon:7862", "antiphon1:7862", "tls://ann@antiphon1:7862#" + PIN]
)
def test_an_address_is_no_code(text: str) -> None:
    assert read_place(text) == parse(text)


@pytest.mark.parametrize("cut", [1, 8, 9, 11, 20])
def test_a_code_that_lost_its_head_is_not_repeated_as_an_address_would_be(cut: int) -> None:
    with pytest.raises(InvitationInvalid) as caught:
        read_place(CODE.written()[cut:])
    assert CODE.written()[-20:] not in str(caught.value)


def test_the_secret_does_not_print() -> None:
    shown = f"{CODE!r} {CODE} {CODE.secret} {[CODE.secret]}"
    assert str(bytes(SECRET))[2:-1] not in shown
    assert CODE.written()[-20:-5] not in shown


def test_a_secret_is_stored_as_a_hash_that_no_token_has() -> None:
    mark = fingerprint(SECRET, b"k" * 32)
    assert len(mark) == 32
    assert mark != token_fingerprint(Token(bytes(SECRET)), b"k" * 32)
    assert mark != fingerprint(SECRET, b"l" * 32)
    assert mark != fingerprint(Secret(bytes(SECRET_SIZE)), b"k" * 32)


def test_a_secret_has_128_bits() -> None:
    assert SECRET_SIZE == 16
    asked = []
    Code.make(CODE.address, lambda size: asked.append(size) or bytes(size))  # type: ignore[func-returns-value]
    assert asked == [16]
