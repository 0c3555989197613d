"""Lines of fields: the separator of a file, its headings, and the client of each line."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from antiphon.errors import Problem, UsageError
from antiphon.identity.legacy.columns import (
    FIELDS,
    Role,
    entry_by_columns,
    entry_by_content,
    is_heading,
    is_heading_row,
    role,
    said_by,
)
from antiphon.identity.legacy.formats import Text
from antiphon.identity.legacy.rows import (
    LONGEST_LINE,
    TOO_LONG,
    Cell,
    Entry,
    Field,
    FieldUnusable,
    Hints,
    Passed,
    Table,
    Why,
    check_lines,
    checked_name,
    is_address,
)
from antiphon.identity.legacy.schemes import MARK
from antiphon.language import N_

SEPARATORS = ";\t,|: "
"""Separators that are tried; the first counts where several read no line."""
SEPARATOR_WORDS = {"tab": "\t", "space": " "}
"""Words for separators that are hard to type."""

_QUOTES = Problem(N_("its quotation marks do not match"))
_HEADING = Problem(N_("it is a heading, which can only be the first line"))
_SEPARATORS = Problem(
    N_("More than one separator may stand between the fields of {path}. Name the right one with --separator.")
)
_MANY = Problem(N_("it has more than {most} fields"))
_MARKS = Problem(N_("it contains a separator, an equals sign, a bracket or a quotation mark"))
FIELDS_MOST = 30
"""Most fields of a line, so that a file of separators takes little memory."""
_NOT_IN_NAMES = re.compile(r'[;,|:="\[\]{}()<>]')
"""Characters that stand in no name of a line: where one is, the line was split at the wrong place."""


class _Reading(NamedTuple):
    """The lines of a file, split at one separator."""

    entries: list[Entry]
    passed: list[Passed]
    columns: Sequence[Role]
    separator: str
    headed: bool
    """A heading was found, which was split at the same separator."""

    def fields(self) -> list[tuple[str, str]]:
        """Return what the clients are made of, to compare two readings."""
        return [(entry.client.text, entry.password.text if entry.password else "") for entry in self.entries]

    def is_doubtful(self) -> bool:
        """Return whether another separator stands in every password: it may be the one between the fields.

        “Ann Smith;secret” is no account “Ann” with the password “Smith;secret”.
        """
        if self.headed:
            return False
        secrets = [entry.password.text for entry in self.entries if entry.password]
        secrets = [text for text in secrets if not is_address(text) and not MARK.match(text)]
        others = (each for each in SEPARATORS if each not in (self.separator, " "))
        return bool(secrets) and any(all(other in text for text in secrets) for other in others)


def read_lines(source: Text, hints: Hints) -> Table:
    """Return the clients of the lines of a text, each line split at the separator that reads the most of them.

    Raises:
        UsageError: there are too many lines, or more than one separator may be the right one.
    """
    passed: list[Passed] = []
    lines = list(_filled(source.text, passed))
    candidates = hints.separator or "".join(each for each in SEPARATORS if any(each in line for _, line in lines))
    readings = [_read(lines, separator, hints.columns) for separator in candidates or SEPARATORS[0]]
    sound = [reading for reading in readings if hints.separator or not reading.is_doubtful()]
    best = max(sound or readings, key=lambda reading: len(reading.entries))
    for rival in readings:
        as_good = len(rival.entries) == len(best.entries) and rival in sound
        if rival.fields() != best.fields() and (as_good or len(rival.entries) > len(best.entries)):
            raise UsageError(problem=_SEPARATORS, path=source.path)
    if best not in sound:
        raise UsageError(problem=_SEPARATORS, path=source.path)
    return Table(best.entries, passed + best.passed, said_by(best.columns))


def _filled(text: str, passed: list[Passed]) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line to split; add empty and overlong ones to `passed`."""
    lines = text.split("\n")
    filled = 0
    for number, line in enumerate(lines if lines[-1] else lines[:-1], 1):
        filled += bool(line.strip())
        check_lines(filled)
        if not line.strip():
            passed.append(Passed(number, Why.EMPTY))
        elif len(line) > LONGEST_LINE:
            passed.append(Passed(number, Why.BROKEN, UsageError(problem=TOO_LONG, most=LONGEST_LINE)))
        else:
            yield number, line


def _read(lines: Sequence[tuple[int, str]], separator: str, given: Sequence[str]) -> _Reading:
    """Split the lines at a separator."""
    entries: list[Entry] = []
    passed: list[Passed] = []
    rows: list[tuple[Cell, list[Cell]]] = []
    columns = [role(word) for word in given]
    headed = False
    for count, (number, line) in enumerate(lines):
        try:
            cells = list(islice(_split(number, line, separator), FIELDS_MOST + 1))
            if len(cells) > FIELDS_MOST:
                raise FieldUnusable(cells[0], UsageError(problem=_MANY, most=FIELDS_MOST))  # noqa: TRY301 - as `_split`
        except FieldUnusable as error:
            passed.append(error.passed)
            continue
        texts = [cell.text for cell in cells]
        if count == 0 and (is_heading(line) or is_heading_row(texts)):
            passed.append(Passed(number, Why.HEADING))
            headed = is_heading_row(texts)
            if not columns and headed:
                columns = [role(text) for text in _trimmed(texts)]
        else:
            rows.append((cells[0], cells))
    expected = len(columns) or _most_common_count(cells for _, cells in rows)
    for start, cells in rows:
        try:
            entries.append(_entry(cells, columns, expected, start))
        except FieldUnusable as error:
            passed.append(error.passed)
    return _Reading(entries, passed, columns, separator, headed)


def _entry(cells: list[Cell], columns: Sequence[Role], expected: int, start: Cell) -> Entry:
    """Return the client of a line.

    Raises:
        FieldUnusable: the line gives none.
    """
    texts = [cell.text for cell in cells]
    if is_heading_row(texts):
        raise FieldUnusable(start, UsageError(problem=_HEADING))
    count = len(_trimmed(texts))
    if not count <= expected <= len(cells):
        raise FieldUnusable(start, UsageError(problem=FIELDS, count=count, expected=expected))
    cells = cells[:expected]
    entry = entry_by_columns(cells, columns, start) if columns else entry_by_content(cells, start)
    text = entry.client.text
    if not is_address(text):
        if _NOT_IN_NAMES.search(text):
            raise FieldUnusable(entry.client, UsageError(problem=_MARKS), Field.NAME)
        try:
            checked_name(text)
        except UsageError as error:
            raise FieldUnusable(entry.client, error, Field.NAME) from None
    return entry


def _most_common_count(rows: Iterator[list[Cell]]) -> int:
    """Return how many fields most lines have, without empty ones at the end; of two numbers three, or the larger.

    A line that lacks a field must not pass for a whole one with a field less.
    """
    counts = Counter(len(_trimmed([cell.text for cell in cells])) for cells in rows)
    return max(2, max(counts, key=lambda count: (counts[count], count == 3, count), default=2))


def _trimmed(texts: list[str]) -> list[str]:
    """Return the texts without the empty ones at the end."""
    last = max((index for index, text in enumerate(texts) if text), default=-1)
    return texts[: last + 1]


def _split(number: int, line: str, separator: str) -> Iterator[Cell]:
    """Yield the fields of a line; a field may stand in quotation marks, and a hashed password runs to the end.

    Raises:
        FieldUnusable: the quotation marks do not match.
    """
    at = 0
    line = line.rstrip(" " if separator == "\t" else None)
    while True:
        while line[at : at + 1] in (" ", "\t") and (line[at] != separator or separator == " "):
            at += 1
        start, column = at, at + 1
        if line[at : at + 1] == '"':
            quoted = re.compile(r'"((?:[^"]|"")*)"[ \t]*').match(line, at)
            if quoted is None:
                raise FieldUnusable(Cell("", number, column), UsageError(problem=_QUOTES))
            text, at = quoted[1].replace('""', '"').strip(), quoted.end()
            if separator == " " and line[at - 1 : at] in (" ", "\t"):
                at -= 1
            if at < len(line) and line[at] != separator:
                raise FieldUnusable(Cell("", number, column), UsageError(problem=_QUOTES))
        else:
            found = len(line) if MARK.match(line, at) else line.find(separator, at)
            at = len(line) if found < 0 else found
            text = line[start:at].strip()
        yield Cell(text, number, column)
        if at >= len(line):
            return
        at += 1
