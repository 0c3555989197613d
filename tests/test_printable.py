"""Tests of `printable`: no control character from outside reaches a terminal or a log."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.printable import printable

OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Characters that move a cursor, end a line or change the direction of text."""
JOINERS = "\u200c\u200d"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann",
        "Вадим",
        "日本語",
        "نام",
        "é",
        "e\u0301",
        "👋",
        "👩\u200d🚀",
        "می\u200cخواهم",
        "a\u00a0b",
        "tilde ~ and \\",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nb", r"a\r\nb"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x00\x7f\x9b", r"\x00\x7f\x9b"),
        ("a\tb", r"a\tb"),
        ("\u2028\u2029\x85", r"\u2028\u2029\x85"),
        ("\u202eevil\u2066", r"\u202eevil\u2066"),
        ("\u200b\ufeff\u00ad", r"\u200b\ufeff\xad"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("\ue000", r"\ue000"),
    ],
)
def test_what_a_terminal_or_a_log_would_obey_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_whatever_comes_stays_on_one_line_and_obeys_nobody(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert not [c for c in shown if unicodedata.category(c) in OBEYED and c not in JOINERS]
    shown.encode()


@given(st.text(st.characters()))
def test_what_has_been_made_safe_is_not_changed_again(text: str) -> None:
    assert printable(printable(text)) == printable(text)


def test_only_the_characters_to_keep_stay() -> None:
    assert printable("a\tb\nc\rd\x1be", keep="\n\t") == "a\tb\nc\\rd\\x1be"
