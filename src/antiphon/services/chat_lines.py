"""Lines of the chat: what people type, made safe and short enough, and how it travels through a topic."""

import hashlib
import textwrap
import unicodedata
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple, Self

from antiphon.errors import NameInvalid
from antiphon.identity.names import prepare
from antiphon.language import N_
from antiphon.printable import printable
from antiphon.services.contract import Session

LINE_LIMIT = 1000
"""Bytes of a line with room and name before it: below the lowest `--message-limit`, also with `Note` around it."""
LINES_MOST = 20
"""Lines of one text: enough for pasted code, too few for a file."""
TAB = 4
"""Columns of a tab."""
ROOM_NAME_MOST = 32
"""Characters of a room's name."""
WIDTH = 200
"""Characters of a line of the answer to /who."""
NAME = "name/"
"""Beginning of the topics that are names; each goes on with a hash of the name, which may be too long."""
ID_SIZE = 16
"""Characters of the mark of a session."""

_TOO_LONG = N_("This line is too long; say it in parts.")
_TOO_MANY = N_("This text has more than {most} lines; say it in parts.")
_NOTHING_SAID = N_("There is no text to say; /help shows how it is done.")
_ROOM_INVALID = N_("A room has a name of up to {most} letters and digits, - and _.")


class Refused(Exception):
    """A command cannot be carried out; `sentence`, filled with `fields`, tells the person why."""

    def __init__(self, sentence: str, **fields: object) -> None:
        """Refuse with a sentence."""
        super().__init__(sentence)
        self.sentence = sentence
        self.fields = fields


class Kind(StrEnum):
    """What a note in a topic tells."""

    LINES = "L"
    """Somebody has said something: lines as they are shown."""
    BEGAN = "B"
    """Somebody has joined an empty room: what was said in it before is no history of it. Their name."""
    JOINED = "J"
    """Somebody has joined. Their name."""
    LEFT = "G"
    """Somebody has left. Their name."""
    PRIVATE = "P"
    """Somebody has said something to one person: their name, then lines."""


class Note(NamedTuple):
    """A message of a topic."""

    kind: Kind
    by: str
    """Mark of the session whose it is, which does not hear it."""
    text: str

    @classmethod
    def read(cls, message: str | bytes) -> Self:
        """Return the note that a message holds."""
        text = str(message)
        return cls(Kind(text[0]), text[1 : 1 + ID_SIZE], text[1 + ID_SIZE :])

    def written(self) -> str:
        """Return the message that holds the note."""
        return self.kind + self.by + self.text


def mark_of(session: Session) -> str:
    """Return a mark of a session, the same in every process that it moves to."""
    whole = f"{session.account}/{session.name}/{session.since.isoformat()}"
    return urlsafe_b64encode(hashlib.blake2b(whole.encode(), digest_size=12).digest()).decode()


def key_of(name: str) -> str:
    """Return the form of a name that is compared; a name with a number added may be too long for `prepare`."""
    try:
        return prepare(name).key
    except NameInvalid:
        return name.casefold()


def topic_of(name: str) -> str:
    """Return the topic of a name."""
    key = key_of(name).encode("utf-8", "surrogatepass")
    return NAME + hashlib.blake2b(key, digest_size=16).hexdigest()


def room_name(text: str) -> str:
    """Return the canonical name of a room; a leading `#` is ignored.

    Raises:
        Refused: it is not a valid name.
    """
    try:
        name = prepare(text.removeprefix("#")).key
    except NameInvalid:
        name = ""
    fits = all(unicodedata.category(character)[0] in "LMN" or character in "-_" for character in name)
    if not (fits and 0 < len(name) <= ROOM_NAME_MOST):
        raise Refused(_ROOM_INVALID, most=ROOM_NAME_MOST)
    return name


def lines_of(text: str) -> list[str]:
    """Return the lines of a text that are not empty, escaped; each is sent as a message of its own.

    Raises:
        Refused: there is none, or there are too many.
    """
    lines = [line.rstrip() for line in text.expandtabs(TAB).splitlines() if line.strip()]
    if not lines:
        raise Refused(_NOTHING_SAID)
    if len(lines) > LINES_MOST:
        raise Refused(_TOO_MANY, most=LINES_MOST)
    return [printable(line) for line in lines]


def check_whole(text: str) -> None:
    """Check the length of a text before it is processed.

    Raises:
        Refused: it is longer than all lines that it may have.
    """
    if len(text) > LINES_MOST * LINE_LIMIT:
        raise Refused(_TOO_LONG)


def check_length(lines: Iterable[str]) -> None:
    """Check the length of each line.

    Raises:
        Refused: one is too long.
    """
    if any(_size(line) > LINE_LIMIT for line in lines):
        raise Refused(_TOO_LONG)


def packed(lines: Iterable[str], before: str = "") -> list[str]:
    """Return texts of at most `LINE_LIMIT` bytes that hold all lines, each text `before` first.

    Lines in one text stay together, whoever speaks meanwhile. Precondition: each fits.
    """
    texts: list[str] = []
    for line in lines:
        if texts and _size(f"{texts[-1]}\n{line}") <= LINE_LIMIT:
            texts[-1] += f"\n{line}"
        else:
            texts.append(before + line)
    return texts


def listed(room: str, names: Iterable[str]) -> list[str]:
    """Return the names of those in a room in lines that fit."""
    wrapped = textwrap.wrap(", ".join(names), WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"[{room}] -- {line}" for line in wrapped]


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))
