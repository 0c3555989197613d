"""What a peer or a person sent, made safe to show.

Terminals and log lines pass every foreign text through here; nothing else is escaped anywhere.
"""

import unicodedata

_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Unicode categories that move a cursor, end a line, turn the direction of text or have no shape; what this Python
does not know yet (a new emoji) is not among them."""

_JOINERS = frozenset("\u200c\u200d")
"""Format characters that ordinary words (Persian, Hindi) and emoji are written with."""


def printable(text: str, *, keep: str = "") -> str:
    r"""Return `text` on one line, with every character that a terminal or a log could obey escaped.

    `keep` lists control characters that may stay (a terminal that prints answers keeps tabs and line ends).
    An escape reads as in Python: ``\x1b``, ``\u2028``.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character, keep) for character in text)


def _shown(character: str, keep: str) -> str:
    if character in keep or character in _JOINERS or unicodedata.category(character) not in _UNSAFE:
        return character
    return character.encode("unicode_escape").decode("ascii")
