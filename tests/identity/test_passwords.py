import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import PasswordInvalid
from antiphon.identity.passwords import LONGEST, Password, check, passphrase, saslprepared


def problem_of(password: str, minimum: int = 8) -> str:
    with pytest.raises(PasswordInvalid) as caught:
        check(password, minimum)
    assert password not in "".join(traceback.format_exception(caught.value)) or not password
    return caught.value.text()


@pytest.mark.parametrize(
    "password",
    ["aaaaaaaa", "12345678", "        ", "пароль пароль", "é" * 8, "a" * 64, "a" * LONGEST, "日本語日本語日本語"],
)
def test_length_is_the_only_rule(password: str) -> None:
    assert check(password, 8).text == password


def test_one_character_less_than_the_minimum_is_refused() -> None:
    assert check("a" * 15, 15).text == "a" * 15
    assert problem_of("a" * 14, 15) == "This password cannot be used: it has fewer than 15 characters."


def test_the_minimum_counts_code_points_and_not_bytes() -> None:
    assert "fewer than 8" in problem_of("пароль")


def test_one_character_that_stands_for_many_counts_once() -> None:
    assert "fewer than 8" in problem_of("\ufdfa")  # 18 letters in NFKC


def test_characters_that_are_hashed_as_nothing_do_not_count() -> None:
    assert "fewer than 8" in problem_of("\u00ad" * 20 + "secret")


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("", "it is empty"),
        ("a" * (LONGEST + 1), "it has more than 1024 characters"),
        ("correct horse 😀", "it contains an emoji or another character that cannot be signed in with"),
        ("secret\0secret", "it contains an emoji or another character that cannot be signed in with"),
        ("secret\ud800secret", "it contains an emoji or another character that cannot be signed in with"),
    ],
)
def test_what_scram_cannot_hash_is_refused_with_the_reason(password: str, problem: str) -> None:
    assert problem_of(password) == f"This password cannot be used: {problem}."


@given(st.text(st.characters(), max_size=40))
def test_a_text_is_a_password_or_is_refused_as_one(text: str) -> None:
    try:
        password = check(text, 8)
    except PasswordInvalid:
        return
    assert password.text == text
    assert len(saslprepared(text)) >= 8


def test_a_password_does_not_print() -> None:
    password = Password("open sesame")
    for shown in (repr(password), str(password), f"{password}", f"{[password]}", f"{password!r:>40}"):
        assert "sesame" not in shown


def test_passwords_typed_twice_are_compared_by_their_text() -> None:
    assert Password("one") == Password("one")
    assert Password("one") != Password("two")


def test_a_passphrase_is_five_proquints() -> None:
    # the addresses of arXiv:0901.4016: 127.0.0.1, 63.84.220.193, and half of 63.118.7.35
    bits = bytes([127, 0, 0, 1, 63, 84, 220, 193, 63, 118])
    assert passphrase(lambda size: bits[:size]).text == "lusab-babad-gutih-tugad-gutuk"


@given(st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_a_passphrase_keeps_all_eighty_bits_and_may_be_chosen(one: bytes, other: bytes) -> None:
    first, second = passphrase(lambda size: one[:size]), passphrase(lambda size: other[:size])
    assert (first == second) is (one == other)
    assert len(first.text) == 29
    assert check(first.text, 15) == first
