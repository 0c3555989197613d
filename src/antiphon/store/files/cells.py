"""Rows of cells as CSV text, safe against what a name may hold, and against spreadsheets (`spreadsheet.py`)."""

import csv
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from types import SimpleNamespace

from antiphon.errors import Problem
from antiphon.language import N_
from antiphon.store.files.spreadsheet import guarded
from antiphon.wire.kinds import KIB

_DELIMITERS = ",;\t"
"""Separators: spreadsheets write the one of their locale."""
LINE_LIMIT = 64 * KIB
"""Bytes of a line; our rows have some hundred. A longer line is refused before it is decoded."""
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_BOM = b"\xef\xbb\xbf"

_NOT_TEXT = Problem(N_("it is not UTF-8 text"))
_NOT_CSV = Problem(N_("its quotes are not in order"))
_TOO_LONG = Problem(N_("it is longer than 64 KiB"))

_END = "\r\n"
"""End of a line; before Python 3.13 the writer quotes only cells that hold a part of its own."""


def write_cells(rows: Iterable[Sequence[str]], delimiter: str, texts: Container[int] = ()) -> str:
    """Return CSV text, a line for each row unless a cell holds a line's end.

    `texts` are the columns, counted from 0, that spreadsheets must not read as numbers, dates or the like.
    """
    lines: list[str] = []
    writer = csv.writer(SimpleNamespace(write=lines.append), delimiter=delimiter, lineterminator=_END)
    writer.writerows([guarded(cell, text=at in texts) for at, cell in enumerate(row)] for row in rows)
    return "".join(line.removesuffix(_END) + "\n" for line in lines)


class LineUnreadable(ValueError):
    """A line that is not CSV: its number, and the problem."""

    def __init__(self, line: int, problem: Problem) -> None:
        """Report `problem` in `line`, counted from 1."""
        super().__init__(line, problem)
        self.line = line
        self.problem = problem


def read_cells(data: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not empty, as it stands there, with the number of the line where it begins.

    `spreadsheet.plain` removes the guard of a cell.

    The data is decoded line by line, and so takes little more memory than it has.

    Raises:
        LineUnreadable: a line is not UTF-8 text or too long, or quotes are not as CSV has them.
    """
    head = next(_lines(data), "")
    reader = csv.reader(_lines(data), delimiter=max(_DELIMITERS, key=head.count), strict=True)
    line = 1
    try:
        for row in reader:
            if any(row):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        problem = _TOO_LONG if "field limit" in str(error) else _NOT_CSV  # of a cell: 128 KiB, in many lines
        raise LineUnreadable(line, problem) from None


def _lines(data: bytes) -> Iterator[str]:
    """Yield line by line, ends included, without the mark that some editors put in front."""
    start = len(_BOM) if data.startswith(_BOM) else 0
    for number, found in enumerate(_LINE.finditer(data, start), 1):
        if found.end() - found.start() > LINE_LIMIT:
            raise LineUnreadable(number, _TOO_LONG)
        try:
            text = found.group().decode()
        except UnicodeDecodeError:
            raise LineUnreadable(number, _NOT_TEXT) from None
        if text:
            yield text
