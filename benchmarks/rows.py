"""A row of the table: what was measured, against what, the figure and the target."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

Unit = Literal["ratio", "KiB", "MiB", "ms", "s", "µs", "of the mean", "% of a core"]

HEAD = ("row", "what", "against", "measured", "target", "")
MARK = " !"
"""Marks a figure for which the load generator was the limit."""


@dataclass(frozen=True)
class Spread:
    """The values of one figure in all rounds, in order."""

    rounds: list[float]

    @property
    def median(self) -> float:
        """The median, which is the figure that counts."""
        return median(self.rounds)

    def as_json(self) -> dict[str, Any]:
        """Return the median, the extremes, and every round."""
        return {
            "median": self.median,
            "min": min(self.rounds),
            "max": max(self.rounds),
            "rounds": self.rounds,
        }


@dataclass(frozen=True)
class Row:
    """One figure; a ratio should be at least the target, anything else at most."""

    name: str
    """The name for `--only`."""
    what: str
    against: str
    unit: Unit
    target: float | None = None
    figure: Spread | None = None
    missing: str = ""
    """Why it was not measured."""
    load_was_limit: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None without a target or a figure."""
        if self.target is None or self.figure is None:
            return None
        measured = self.figure.median
        return measured >= self.target if self.unit == "ratio" else measured <= self.target

    def as_json(self) -> dict[str, Any]:
        """Return the row for the JSON report."""
        figure = self.figure.as_json() if self.figure else None
        return asdict(self) | {"figure": figure, "reached": self.reached}

    def cells(self) -> Iterator[str]:
        """Return the cells of the row in the table."""
        yield from (f"`{self.name}`", self.what, self.against)
        if self.figure is None:
            yield f"not measured: {self.missing}"
        else:
            digits = 1 if self.unit in ("KiB", "MiB") else 2
            shown = [f"{value:,.{digits}f}" for value in (self.figure.median, *_ends(self.figure))]
            unit = "" if self.unit == "ratio" else f" {self.unit}"
            spread = f" ({shown[1]}-{shown[2]})" if len(self.figure.rounds) > 1 else ""
            yield f"**{shown[0]}**{unit}{spread}{MARK if self.load_was_limit else ''}"
        if self.target is None:
            yield ""
        elif self.unit == "ratio":
            yield f"≥ {self.target:g}"
        else:
            yield f"≤ {self.target:g} {self.unit}"
        yield {True: "reached", False: "missed", None: ""}[self.reached]


def _ends(figure: Spread) -> tuple[float, float]:
    return min(figure.rounds), max(figure.rounds)


def line(cells: Iterable[str]) -> str:
    """Return a line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def head(names: Iterable[str]) -> str:
    """Return the heading of a Markdown table."""
    names = list(names)
    return f"{line(names)}\n{line('---' for _ in names)}"


def table(rows: Iterable[Row]) -> str:
    """Return all rows as a Markdown table."""
    return "\n".join([head(HEAD), *(line(row.cells()) for row in rows)])
