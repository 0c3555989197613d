"""Output of the operator's commands: sentences and tables for people, tabbed lines and JSON for programs."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from antiphon.printable import printable
from antiphon.terminal.console import Console

Record = dict[str, Any]
"""One result, with its fields named as in `--json`."""


class OutputOptions(Protocol):
    """Options of a command whose result programs may read."""

    @property
    def json(self) -> bool:
        """Whether the result is printed as JSON."""


def iso_time(at: datetime | None) -> str | None:
    """Return a time in ISO 8601, UTC, to the second."""
    return None if at is None else at.isoformat(timespec="seconds")


def report_result(console: Console, options: OutputOptions, record: Record, *sentences: str) -> None:
    """Report what a command has done: the record on standard output, or the sentences on standard error."""
    if options.json:
        print(json.dumps(record, ensure_ascii=False), flush=True)
    else:
        for sentence in sentences:
            console.tell(sentence)


def show_records(options: OutputOptions, rows: Sequence[Record], headings: dict[str, str]) -> None:
    """Print records: a table on a terminal, one tab-separated line for each in a pipe, or one JSON array.

    `headings` maps each field that is shown to its heading.
    """
    if options.json:
        print(json.dumps(rows, ensure_ascii=False), flush=True)
        return
    cells = [[_cell(row[key]) for key in headings] for row in rows]
    if not sys.stdout.isatty():
        for line in cells:
            print("\t".join(line))
        return
    from rich import box  # noqa: PLC0415 - loaded only when a table is drawn
    from rich.console import Console as Screen  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*headings.values(), box=box.SIMPLE_HEAD)
    for line in cells:
        table.add_row(*map(Text, line))  # Text takes a cell literally: a name may look like rich's markup
    Screen().print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value))
