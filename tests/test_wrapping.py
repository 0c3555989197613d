"""Tests of word wrap: lines end between words, and no word is broken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wrapping import cut, width_of, wrapped

LINES = st.text(st.sampled_from("ab й漢е\u0301 "), max_size=60)


@pytest.mark.parametrize(
    ("text", "columns", "lines"),
    [
        ("", 10, [""]),
        ("one line", 8, ["one line"]),
        ("one line", 7, ["one", "line"]),
        ("  two  gaps stay", 11, ["  two  gaps", "  stay"]),
        ("a longword-that-stays-whole b", 10, ["a", "longword-that-stays-whole", "b"]),
        ("    indented like the first", 16, ["    indented", "    like the", "    first"]),
        ("漢字 漢字", 8, ["漢字", "漢字"]),
        ("ends in spaces   ", 14, ["ends in spaces"]),
    ],
)
def test_a_line_ends_between_words(text: str, columns: int, lines: list[str]) -> None:
    assert wrapped(text, columns) == lines


def test_later_lines_hang_below_the_text() -> None:
    assert wrapped("  /name  corrects your name", 20, 7) == ["  /name  corrects", "         your name"]


@given(LINES, st.integers(1, 30), st.integers(0, 5))
def test_no_word_is_lost_or_broken_and_no_line_is_too_long(text: str, columns: int, hang: int) -> None:
    lines = wrapped(text, columns, hang)
    assert [word for line in lines for word in line.split()] == text.split()
    for line in lines:
        assert width_of(line) <= columns or len(line.split()) <= 1


@given(LINES, st.integers(1, 30))
def test_what_is_cut_fits_and_says_so(text: str, columns: int) -> None:
    beginning = cut(text, columns)
    assert width_of(beginning) <= columns
    assert beginning == text or (beginning[-1] == "…" and text.startswith(beginning[:-1]))
