"""Word wrap: breaks a line for people at the width of their terminal, between words only."""

import re
import unicodedata
from itertools import accumulate

_WIDE = frozenset("WF")
"""East Asian widths of characters that take two columns."""
_NO_WIDTH = frozenset({"Mn", "Me", "Cf"})
"""Unicode categories of characters that take no column: marks on the character before, and format characters."""


def width_of(text: str) -> int:
    """Return how many columns of a terminal a line takes; it must hold no control characters."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in _NO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1


def wrapped(text: str, columns: int, hang: int = 0) -> list[str]:
    """Return a line as lines of at most `columns` columns, broken at spaces.

    Later lines are indented as the first one is, and `hang` columns more. A word that is longer than a line stays
    whole: the terminal folds it, and it is copied in one piece (an address, a fingerprint).
    """
    if width_of(text) <= columns:
        return [text]
    words = text.lstrip(" ")
    indent = " " * (len(text) - len(words))
    lines = [indent]
    for gap, word in re.findall(r"( *)([^ ]+)", words):
        blank = not lines[-1].strip(" ")
        if not blank and width_of(lines[-1] + gap + word) > columns:
            lines.append(" " * hang + indent + word)
        else:
            lines[-1] += gap + word
    return lines


def cut(text: str, columns: int) -> str:
    """Return the beginning of a line that fits into `columns` columns; `…` stands for what is cut off."""
    if width_of(text) <= columns:
        return text
    room = max(columns - 1, 0)
    fits = sum(total <= room for total in accumulate(map(_columns, text)))
    return text[:fits] + "…"
