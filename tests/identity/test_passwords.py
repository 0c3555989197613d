import traceback
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.blocklist import LENGTHS, MOST, common_passwords
from antiphon.errors import PasswordInvalid
from antiphon.identity.passwords import LONGEST, Password, check, folded, passphrase, saslprepared


def checked(password: str, minimum: int = 8, name: str = "ann") -> Password:
    """Check a password without a list of common passwords."""
    return check(password, minimum, name=name, common=())


def problem_of(password: str, minimum: int = 8) -> str:
    with pytest.raises(PasswordInvalid) as caught:
        checked(password, minimum)
    assert password not in "".join(traceback.format_exception(caught.value)) or not password
    return caught.value.text()


@pytest.mark.parametrize(
    "password",
    ["aaaaaaaa", "12345678", "        ", "пароль пароль", "é" * 8, "a" * 64, "a" * LONGEST, "日本語日本語日本語"],
)
def test_length_is_the_only_rule(password: str) -> None:
    assert checked(password).text == password


def test_one_character_less_than_the_minimum_is_refused() -> None:
    assert checked("a" * 15, 15).text == "a" * 15
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
        ("correct horse 😀", "it contains an emoji or another character that cannot be used to sign in"),
        ("secret\0secret", "it contains an emoji or another character that cannot be used to sign in"),
        ("secret\ud800secret", "it contains an emoji or another character that cannot be used to sign in"),
    ],
)
def test_what_scram_cannot_hash_is_refused_with_the_reason(password: str, problem: str) -> None:
    assert problem_of(password) == f"This password cannot be used: {problem}."


@given(st.text(st.characters(), max_size=40))
def test_a_text_is_a_password_or_is_refused_as_one(text: str) -> None:
    try:
        password = checked(text)
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
    assert check(first.text, 15, name="lusab", common=common_passwords()) == first


# --- guessable passwords ------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", LENGTHS)
def test_each_list_holds_three_thousand_passwords_that_are_long_enough_and_as_they_are_compared(
    length: int,
) -> None:
    text = resources.files("antiphon.blocklist").joinpath(f"common-{length}.txt").read_text("utf-8")
    lines = text.splitlines()
    assert len(lines) == MOST == 3000
    assert lines == sorted(set(lines))
    assert all(len(line) >= length and folded(line) == line for line in lines)
    assert set(lines) <= common_passwords()


def test_the_lists_hold_what_everybody_would_try() -> None:
    assert {"password", "12345678", "iloveyou", "passwordpassword", "123456789012345"} <= common_passwords()
    assert {"qwertyuiopasdfgh", "qwertyuiopasdfghjkl", "111111111111111"} <= common_passwords()


@pytest.mark.parametrize(
    "password",
    [
        "passwordpassword",
        "PasswordPassword",
        "password password",
        "ｐａｓｓｗｏｒｄpassword",
        "pass\u00adword  password",
    ],
)
def test_a_common_password_is_refused_however_it_is_written(password: str) -> None:
    with pytest.raises(PasswordInvalid) as caught:
        check(password, 15, name="ann", common=common_passwords())
    assert caught.value.text() == "This password cannot be used: it is among the passwords that are guessed first."
    assert check(password + " of mine", 15, name="ann", common=common_passwords())


@pytest.mark.parametrize(
    ("password", "name", "problem"),
    [
        ("konstantin12345", "Konstantin", "without the account's name in it too little is left"),
        ("KONSTANTIN konstantin", "Konstantin", "without the account's name in it too little is left"),
        ("вадим вадим 2026", "Вадим", "without the account's name in it too little is left"),
        ("Antiphon-123456", "ann", "without this program's name in it too little is left"),
        ("anti phon anti phon", "ann", "without this program's name in it too little is left"),
    ],
)
def test_the_names_that_everybody_knows_count_for_nothing(password: str, name: str, problem: str) -> None:
    with pytest.raises(PasswordInvalid) as caught:
        checked(password, 15, name)
    assert caught.value.text() == f"This password cannot be used: {problem}."


@pytest.mark.parametrize(
    ("password", "name"),
    [
        ("konstantin was born here", "Konstantin"),  # enough is left
        ("correct horse battery", "a"),  # occurs inside many words
        ("konstantin12345", "ann"),
        ("an antiphon sung by two", "ann"),
    ],
)
def test_a_name_does_no_harm_where_enough_is_left_without_it(password: str, name: str) -> None:
    assert checked(password, 15, name).text == password


def test_a_name_of_a_letter_or_two_takes_nothing_away() -> None:
    assert checked("manhattan", 8, "an").text == "manhattan"
    assert "too little is left" in problem_of("annannann")


def test_the_password_that_one_has_is_no_new_one() -> None:
    old = Password("open sesame, please")
    with pytest.raises(PasswordInvalid) as caught:
        check("open sesame, please", 15, name="ann", common=(), old=old)
    assert caught.value.text() == "This password cannot be used: it is the one that you have now."
    assert check("open sesame, pretty please", 15, name="ann", common=(), old=old)
