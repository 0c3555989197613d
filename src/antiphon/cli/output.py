"""Output of the operator's commands: sentences and tables for people, tabbed lines and JSON for programs."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol

from antiphon import streams
from antiphon.errors import OutputFailed, Problem, SecretNotShown
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
        streams.stdout.line(json.dumps(record, ensure_ascii=False))
    else:
        for sentence in sentences:
            console.tell(sentence)


def show_records(options: OutputOptions, rows: Sequence[Record], headings: dict[str, str]) -> None:
    """Print records: a table on a terminal, one tab-separated line for each in a pipe, or one JSON array.

    `headings` maps each field that is shown to its heading.
    """
    if options.json:
        streams.stdout.line(json.dumps(rows, ensure_ascii=False))
        return
    cells = [[_cell(row[key]) for key in headings] for row in rows]
    if not streams.stdout.isatty():
        streams.stdout.write("".join("\t".join(line) + "\n" for line in cells))
        return
    from rich import box  # noqa: PLC0415 - loaded only when a table is drawn
    from rich.console import Console as Screen  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*headings.values(), box=box.SIMPLE_HEAD)
    for line in cells:
        table.add_row(*map(Text, line))  # Text takes a cell literally: a name may look like rich's markup
    screen = Screen()
    with screen.capture() as drawn:
        screen.print(table)
    streams.stdout.write(drawn.get())


@contextlib.contextmanager
def secret_shown(secret: Problem, **fields: str) -> Iterator[None]:
    """Report output that fails in the block as a secret that was not shown: it is in force already.

    Raises:
        SecretNotShown: output failed, also because its reader has gone.
    """
    try:
        yield
    except OutputFailed as error:
        raise SecretNotShown(wait=0, secret=secret, problem=error.fields["problem"], **fields) from error


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value))
