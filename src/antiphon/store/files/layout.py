"""Layout of a file: its columns, and the conversion of rows from text and to text."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from antiphon.errors import NameInvalid, Problem, RowInvalid
from antiphon.identity.names import Name, prepare
from antiphon.language import N_
from antiphon.store.files.cells import LineUnreadable, read_cells, write_cells
from antiphon.store.files.spreadsheet import plain

Row = TypeVar("Row")
Seen = Callable[[int, dict[str, str], Row], object]
"""Gets the line of a row, its cells as they stand in the file, by column, and the row."""

_NO_HEAD = Problem(N_("these columns must be named there, and no others: {columns}"))
_NOT_AS_MANY = Problem(N_("it has {found} fields instead of {expected}"))
_UNREADABLE = Problem(N_("what stands under “{column}” cannot be read"))
_TWICE = Problem(N_("“{column}” is the same as in line {earlier}"))

_FLAGS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False, "": False}
"""The first of each is what is written; spreadsheets and people have words of their own."""


class Kind(NamedTuple):
    """Kind of value in a column."""

    show: Callable[[Any], str]
    read: Callable[[str], Any]
    """raises ValueError where it cannot"""
    text: bool = False
    """whether it must stay as it is spelt: a spreadsheet must not read it as a number"""


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):  # what 64 bits hold
        raise ValueError
    return int(text)


def _flag(text: str) -> bool:
    try:
        return _FLAGS[text.strip().lower()]
    except KeyError:
        raise ValueError from None


def _moment(text: str) -> datetime:
    at = datetime.fromisoformat(text.strip())
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:  # in the year 1 or 9999, and in UTC outside of what a datetime holds
        raise ValueError from None


@lru_cache(maxsize=65_536)  # to prepare a name takes 0.1 ms, and a file that was edited is read whole
def _name(text: str) -> Name:
    try:
        return prepare(text)
    except NameInvalid as error:
        raise ValueError from error


def _text(text: str) -> str:
    if not text:
        raise ValueError
    return text


def _or_none(kind: Kind) -> Kind:
    return Kind(
        lambda value: "" if value is None else kind.show(value), lambda text: kind.read(text) if text else None
    )


TEXT = Kind(str, _text)
NAME = Kind(lambda name: str(name.display), _name, text=True)
NUMBER = Kind(str, _number)
FLAG = Kind(lambda flag: "yes" if flag else "no", _flag)
BYTES = Kind(lambda data: b64encode(data).decode(), lambda text: b64decode(text, validate=True))
MOMENT = Kind(lambda at: str(at.astimezone(UTC).isoformat()), _moment)
TEXT_OR_NONE = _or_none(TEXT)
MOMENT_OR_NONE = _or_none(MOMENT)


@dataclass(frozen=True, kw_only=True)
class Layout(Generic[Row]):
    """The columns of a file, and what a row of it becomes."""

    row: Callable[..., Row]
    """made with the columns' names and values"""
    columns: dict[str, Kind]
    unique: dict[str, Callable[[Row], Hashable]]
    """what no two rows may share, by the column to speak of"""
    delimiter: str = ","
    later: dict[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)
    """columns that files of earlier versions lack, each with what makes its value of those of the others"""

    def dump(self, rows: Iterable[Row]) -> bytes:
        """Return the file for `rows`, a head with the columns' names before them."""
        lines = ([kind.show(getattr(row, column)) for column, kind in self.columns.items()] for row in rows)
        texts = {at for at, kind in enumerate(self.columns.values()) if kind.text}
        return write_cells([list(self.columns), *lines], self.delimiter, texts).encode()

    def parse(self, path: Path, data: bytes, seen: Seen[Row] | None = None) -> list[Row]:
        """Return the rows of the file `path`, which holds `data`; columns may stand in another order.

        `seen` is called for each row.

        Raises:
            RowInvalid: with the line, and what is wrong there. What stands there is not repeated, for it may be
                a secret.
        """
        try:
            cells = read_cells(data)
            line, head = next(cells, (1, []))
            head = [plain(column).strip() for column in head]
            if sorted({*head, *self.later}) != sorted(self.columns) or len(set(head)) < len(head):
                raise RowInvalid(path=str(path), line=line, problem=_NO_HEAD, columns=", ".join(self.columns))
            rows = {}
            for line, row in cells:
                rows[line] = self._row(path, line, head, row)
                if seen is not None:
                    seen(line, dict(zip(head, row, strict=True)), rows[line])
        except LineUnreadable as error:
            raise RowInvalid(path=str(path), line=error.line, problem=error.problem) from None
        self._check_unique(path, rows)
        return list(rows.values())

    def _row(self, path: Path, line: int, head: list[str], cells: list[str]) -> Row:
        if len(cells) != len(head):
            raise RowInvalid(path=str(path), line=line, problem=_NOT_AS_MANY, found=len(cells), expected=len(head))
        values = {}
        for column, cell in zip(head, cells, strict=True):
            try:
                values[column] = self.columns[column].read(plain(cell))
            except ValueError:
                raise RowInvalid(path=str(path), line=line, problem=_UNREADABLE, column=column) from None
        missing = {column: make(values) for column, make in self.later.items() if column not in values}
        return self.row(**values, **missing)

    def _check_unique(self, path: Path, rows: dict[int, Row]) -> None:
        for column, share in self.unique.items():
            seen: dict[Hashable, int] = {}
            for line, row in rows.items():
                earlier = seen.setdefault(share(row), line)
                if earlier != line:
                    raise RowInvalid(path=str(path), line=line, problem=_TWICE, column=column, earlier=earlier)
