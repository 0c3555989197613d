"""Names in `accounts.csv` that a spreadsheet has rewritten: each is told once, when the file is read."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from antiphon.store.files.account_rows import AccountRow
from antiphon.store.files.spreadsheet import looks_rewritten, may_be_made_of, reads_as_value


@dataclass(frozen=True, slots=True)
class NameRewritten:
    """A name that a spreadsheet has probably made of another one."""

    path: Path
    line: int
    """counted from 1"""
    name: str
    was: str | None
    """the name before; None if it is not known"""


Tell = Callable[[NameRewritten], object]
"""Called in the store's thread, or while it opens."""


class RewrittenNames:
    """The rewritten names of one file. Call `seen` for each row that is read, then `report`."""

    def __init__(self, path: Path, tell: Tell) -> None:
        """Tell of names in the file `path`."""
        self._path = path
        self._tell = tell
        self._seen: dict[int, tuple[int, AccountRow, bool]] = {}
        """Rows of names that a spreadsheet reads as a value: line, row, and whether the cell looks rewritten."""
        self._told: set[NameRewritten] = set()

    def seen(self, line: int, cells: Mapping[str, str], row: AccountRow) -> None:
        """Take note of a row, and of its cells as they stand in the file."""
        if reads_as_value(row.name.display):
            self._seen[row.number] = line, row, looks_rewritten(cells["name"])

    def report(self, before: Iterable[AccountRow], now: Iterable[AccountRow]) -> None:
        """Tell of the rewritten names among the rows `now`; `before` are the rows that were known."""
        seen, self._seen = self._seen, {}
        if not seen:
            return
        names = {row.number: row.name.display for row in before}
        for row in now:
            line, read, suspect = seen.get(row.number, (0, None, False))
            was, name = names.get(row.number), row.name.display
            if read != row or was == name:
                continue
            if was is not None and may_be_made_of(was, name):
                self._once(NameRewritten(self._path, line, name, was))
            elif suspect:
                self._once(NameRewritten(self._path, line, name, None))

    def _once(self, found: NameRewritten) -> None:
        if found not in self._told:
            self._told.add(found)
            self._tell(found)
