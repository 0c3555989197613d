"""Rows that the readers return: lines that give an account, and lines that give none, with the reason.

No error of a reader repeats a field of the file: what stands there may be a password. It says line and column.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from antiphon.errors import NameInvalid, Problem, UsageError
from antiphon.identity.names import Name, prepare
from antiphon.identity.old_forms import OldForm
from antiphon.identity.passwords import Password
from antiphon.language import N_

LINES_MOST = 10_000
"""Most lines of a file that are not empty."""
EMPTY_MOST = 100_000
"""Most lines of a file, empty ones and those of JSON too: each empty line is listed."""
ROWS_MOST = 1_000
"""Most clients of a file: all become accounts in one transaction, which must end within 2.5 s."""
LONGEST_LINE = 1_000
"""Characters. A name has at most 64, and a hash of any known scheme a few hundred."""

LONGEST_ADDRESS = 45
"""Characters: an IPv6 address that ends in an IPv4 address."""

TOO_LONG = Problem(N_("it has more than {most} characters"))
LINES = Problem(N_("The file has more than {most} lines. Split it, and import the parts one by one."))
_CHARACTER = Problem(N_("it contains a character that no name can have"))


class Why(StrEnum):
    """Why a line gives no account."""

    EMPTY = "empty"
    HEADING = "heading"
    REPEATED = "repeated"
    """A later line is about the same client."""
    UNNAMED = "unnamed"
    """The client is a digest or an address for which no name, or more than one, is known."""
    UNSUPPORTED = "unsupported"
    """The password is empty, or hashed by another scheme."""
    BROKEN = "broken"
    """The line cannot be read."""


class Plain(StrEnum):
    """Value of `Hints.scheme` for passwords in clear."""

    PLAIN = "plain"


Scheme = OldForm | Plain
"""Form of the passwords in a file."""


@dataclass(frozen=True, slots=True)
class Hints:
    """Statements of the operator about a file, for what the file itself does not say."""

    scheme: Scheme | None = None
    separator: str | None = None
    columns: tuple[str, ...] = ()
    """a heading for a file that has none"""


class Field(StrEnum):
    """Content of a field."""

    NAME = N_("name")
    PASSWORD = N_("password")


NO_HINTS = Hints()


class Cell(NamedTuple):
    """A field of a file, and where it begins."""

    text: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A client of a file, with fields that are not checked yet."""

    client: Cell
    """a name, an address, or a digest of either"""
    password: Cell | None
    address: Cell | None = None
    pair: bool = False
    """There are two fields, and nothing says that the second is a password."""


class Said(StrEnum):
    """Words for the passwords in headings or keys."""

    PASSWORD = "password"  # noqa: S105 - a word
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Passed:
    """A line that gives no account."""

    line: int
    why: Why
    error: UsageError | None = None
    """The fault, without anything of a password; None for an empty line and a heading."""
    column: int | None = None
    """Where the field begins that is wrong, in characters from 1; None for a whole line."""
    field: Field | None = None
    """Which field it is."""


@dataclass(frozen=True, slots=True)
class Table:
    """The clients of a file, in its order."""

    entries: list[Entry]
    passed: list[Passed]
    said: Said | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A line that gives an account: a client and its password."""

    line: int
    name: Name
    password: Password
    """What SCRAM uses as the password: what the person types, or its digest in lower-case hexadecimal digits."""


class FieldUnusable(Exception):
    """A field is not what it should be."""

    def __init__(self, cell: Cell, error: UsageError, field: Field | None = None, why: Why = Why.BROKEN) -> None:
        """Say what is wrong with a cell."""
        super().__init__(error)
        self.passed = Passed(cell.line, why, error, cell.column, field)


def check_lines(filled: int) -> None:
    """Check the number of lines that are not empty.

    Raises:
        UsageError: there are more than `LINES_MOST`.
    """
    if filled > LINES_MOST:
        raise UsageError(problem=LINES, most=LINES_MOST)


def checked_name(text: str) -> Name:
    """Return the name of a field.

    Raises:
        UsageError: it can be no name; the error does not repeat it.
    """
    try:
        return prepare(text)
    except NameInvalid as error:
        rule = _CHARACTER if "character" in error.fields else error.fields["problem"]
        raise UsageError(problem=rule, most=error.fields.get("most", 0)) from None


def is_address(text: str) -> bool:
    """Return whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def plain_address(address: str) -> str:
    """Return the canonical spelling of an address."""
    return str(ipaddress.ip_address(address))


def run_together(text: str) -> Iterator[tuple[str, str]]:
    """Yield every way to split a name from an address directly behind it, the longest address first."""
    for at in range(max(1, len(text) - LONGEST_ADDRESS), len(text)):
        if is_address(text[at:]):
            yield text[:at], text[at:]
