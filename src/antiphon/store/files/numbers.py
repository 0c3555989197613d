"""Record of the highest number given to a row, so that none is given again when its row was removed by hand."""

from collections.abc import Iterable
from dataclasses import dataclass

from antiphon.store.files.layout import NUMBER, TEXT, Layout
from antiphon.store.files.sheet import Sheet

NUMBERS_FILE = "numbers.csv"


@dataclass(frozen=True)
class NumberRow:
    """The highest number of one file."""

    file: str
    highest: int


NUMBERS = Layout(row=NumberRow, columns={"file": TEXT, "highest": NUMBER}, unique={"file": lambda row: row.file})


class Numbers:
    """Gives out unused numbers. Precondition of every call: the caller holds the lock."""

    def __init__(self, sheet: Sheet[NumberRow]) -> None:
        """Record them in `sheet`, which has the layout `NUMBERS`."""
        self._sheet = sheet

    def highest(self, file: str, used: Iterable[int]) -> int:
        """Return the highest number that a row of `file` ever had; `used` are the numbers of its present rows."""
        return max([0, *used, *(row.highest for row in self._sheet.rows() if row.file == file)])

    def keep(self, file: str, highest: int) -> None:
        """Record that numbers up to `highest` are given out; call it before a row with one of them is written."""
        others = [row for row in self._sheet.rows() if row.file != file]
        self._sheet.write([*others, NumberRow(file, highest)])
