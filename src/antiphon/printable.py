"""Escaping of foreign text, which a peer or a person sent, before it reaches a terminal or a log line.

No other module escapes text for display.
"""

import unicodedata

_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Unicode categories that move the cursor, end a line, change the direction of text, or have no visible shape.
Unassigned characters (Cn) are not among them: a newer Unicode than Python's may define one as an emoji."""

_JOINERS = frozenset("\u200c\u200d")
"""Format characters that Persian and Hindi words, and emoji, need."""


def printable(text: str, *, keep: str = "") -> str:
    r"""Return `text` on one line, with every character escaped that a terminal or a log could act on.

    Characters in `keep` are not escaped: a terminal that prints answers keeps tabs and line ends. An escape looks
    as in Python: ``\x1b``, ``\u2028``.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character, keep) for character in text)


def _shown(character: str, keep: str) -> str:
    if character in keep or character in _JOINERS or unicodedata.category(character) not in _UNSAFE:
        return character
    return character.encode("unicode_escape").decode("ascii")
