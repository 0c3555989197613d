"""A row of the table: what was measured, against whom, what came out and what is aimed at."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

Unit = Literal["ratio", "KiB", "ms", "s"]

HEAD = ("row", "what", "against", "measured", "target", "")
MARK = " !"
"""Stands where the generator was the limit."""


@dataclass(frozen=True)
class Spread:
    """The rounds of one figure, in their order."""

    rounds: list[float]

    @property
    def median(self) -> float:
        """The one that counts."""
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
    """What `--only` chooses it by."""
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
        """Whether the target is reached; None where there is none, or no figure."""
        if self.target is None or self.figure is None:
            return None
        measured = self.figure.median
        return measured >= self.target if self.unit == "ratio" else measured <= self.target

    def as_json(self) -> dict[str, Any]:
        """Return the row for a program."""
        figure = self.figure.as_json() if self.figure else None
        return asdict(self) | {"figure": figure, "reached": self.reached}

    def cells(self) -> Iterator[str]:
        """Return the row for a person."""
        yield from (f"`{self.name}`", self.what, self.against)
        if self.figure is None:
            yield f"not measured: {self.missing}"
        else:
            digits = 1 if self.unit == "KiB" else 2
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
    """Return cells as a line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def head(names: Iterable[str]) -> str:
    """Return the two lines with which a Markdown table begins."""
    names = list(names)
    return f"{line(names)}\n{line('---' for _ in names)}"


def table(rows: Iterable[Row]) -> str:
    """Return all rows as a Markdown table."""
    return "\n".join([head(HEAD), *(line(row.cells()) for row in rows)])
