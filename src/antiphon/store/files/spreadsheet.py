"""Spreadsheets: which cells they run or read as a value, the guard against it, and what they have rewritten.

A spreadsheet that opens a CSV file reads `007` as 7, `1e5` as 100000, `may1` as a date, and saves these values.
"""

import contextlib
import math
import re

GUARD = "'"
"""Guard written before a cell that a spreadsheet would change, and before one that begins with the guard, so that
it can be removed. Some spreadsheets keep it as a part of the text; others (Gnumeric) remove it, no more."""

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # OWASP: CSV injection
"""First characters of a cell that a spreadsheet may run as a formula; it ignores spaces before them."""

_MONTHS = (
    "jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?|nov(ember)?"
    "|dec(ember)?|янв(арь)?|фев(раль)?|мар(т)?|апр(ель)?|май|июнь?|июль?|авг(уст)?|сен(тябрь)?|окт(ябрь)?"
    "|ноя(брь)?|дек(абрь)?"
)
_MONTH_AND_NUMBER = re.compile(rf"({_MONTHS})[-./]?\d{{1,4}}", re.IGNORECASE)
"""A date: English and Russian, the languages of this program."""
_TRUTH = frozenset({"true", "false", "истина", "ложь", "wahr", "falsch", "vrai", "faux", "verdadero", "falso"})

_REWRITTEN = re.compile(
    r"\d([.,]\d+)?E[+-]\d{2,3}"  # 1E+05
    r"|\d{15}0+"  # 15 digits are kept of a number, and zeros stand for the rest
    r"|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{4}[-/]\d\d[-/]\d\d"  # dates
    r"|\d{1,2}-[A-Z][a-z]{2}(-\d\d){0,2}|[A-Z][a-z]{2}-\d\d"
    r"|\d{1,2}:\d\d(:\d\d)?"
)
"""Spellings of numbers, dates and times that spreadsheets choose, and people hardly do."""
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14}|[1-9]\d{14}0*)([.,]\d+)?|-?\d([.,]\d+)?E[+-]\d{2,3}")
"""A number as spreadsheets spell it."""
_CURRENCIES = "$€£₽"
_ROUNDED = 0.00001
"""The share of a number by which a spreadsheet may change it: it shows six digits of a long one."""


def guarded(cell: str, *, text: bool = False) -> str:
    """Return a cell as it is written; with `text`, no spreadsheet may read it as anything else either."""
    runs = cell.lstrip(" ").startswith(FORMULAS) or cell.startswith(GUARD)
    return GUARD + cell if runs or (text and reads_as_value(cell)) else cell


def plain(cell: str) -> str:
    """Return what `guarded` was given. Cells of earlier versions, without a guard, are returned as they are."""
    return cell.removeprefix(GUARD)


def reads_as_value(text: str) -> bool:
    """Return whether a spreadsheet may read a text as a number, a date, a time or a truth value.

    Any text counts that begins with something else than a letter and holds a digit: signs of currencies, brackets
    and separators differ by country.
    """
    if not text[:1].isalpha():
        return any(character.isdigit() for character in text)
    return text.lower() in _TRUTH or _MONTH_AND_NUMBER.fullmatch(text) is not None


def looks_rewritten(cell: str) -> bool:
    """Return whether a cell, as it stands in a file, has a spelling that spreadsheets choose for a value."""
    return _REWRITTEN.fullmatch(cell) is not None or (cell.isupper() and cell.lower() in _TRUTH)


def may_be_made_of(was: str, name: str) -> bool:
    """Return whether a spreadsheet may have made `name` of the text `was`: the same value, in its own spelling."""
    if not reads_as_value(was):
        return False
    if _NUMBER.fullmatch(name) is None:
        return looks_rewritten(name) and (_REWRITTEN.fullmatch(name) is not None or was.lower() == name.lower())
    after = float(name.replace(",", "."))
    return any(abs(before - after) <= abs(before) * _ROUNDED for before in _values(was))


def _values(text: str) -> list[float]:
    """Return the numbers for which a text may be taken; a comma is of decimals or of thousands, by country."""
    body = text.strip(_CURRENCIES)
    if body.startswith("(") and body.endswith(")"):
        body = f"-{body[1:-1]}"
    share = 100 if body.endswith("%") else 1
    numbers = []
    for spelling in {body.rstrip("%").replace(",", mark) for mark in (".", "")}:
        with contextlib.suppress(ValueError):
            numbers.append(float(spelling) / share)
    return [number for number in numbers if math.isfinite(number)]
