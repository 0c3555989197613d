"""Rows of cells as CSV text, safe against what a name may hold, and against spreadsheets that run formulas."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from types import SimpleNamespace

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # OWASP: CSV injection
"""A cell that begins with one of these may be run by a spreadsheet, which passes over spaces before it."""
_GUARD = "'"
"""Stands before such a cell, and before one that begins with itself, so that it can be taken away again."""
_DELIMITERS = ",;\t"
"""Spreadsheets write the one that their country is used to."""
_END = "\r\n"
"""Until Python 3.13 the writer puts quotes only around what the end of its own lines holds."""


def write_cells(rows: Iterable[Sequence[str]], delimiter: str) -> str:
    """Return CSV text, a line for each row unless a cell holds a line's end."""
    lines: list[str] = []
    writer = csv.writer(SimpleNamespace(write=lines.append), delimiter=delimiter, lineterminator=_END)
    writer.writerows([_guarded(cell) for cell in row] for row in rows)
    return "".join(line.removesuffix(_END) + "\n" for line in lines)


def read_cells(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not empty, with the number of the line where it begins.

    Raises:
        csv.Error: quotes are not as CSV has them.
    """
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(_DELIMITERS, key=head.count), strict=True)
    line = 1
    for row in reader:
        if any(row):
            yield line, [cell.removeprefix(_GUARD) for cell in row]
        line = reader.line_num + 1


def _guarded(cell: str) -> str:
    return _GUARD + cell if cell.lstrip(" ").startswith(_FORMULA) or cell.startswith(_GUARD) else cell
