"""Guard against regressions: the smallest ratio of Antiphon's rate to that of a blind echo, on any machine.

A blind echo on uvloop, measured in the same minute on the same core, shows what the machine can do, so the ratio
depends little on the machine. The floors are well below the last measurements: noise alone does not go below them.
"""

from collections.abc import Iterable

from rows import Row

FLOORS = {
    "tcp-single/blind": 0.60,
    "tcp-depth1/blind": 0.70,
    "tcp-depth16/blind": 0.55,
    "tcp-16k/blind": 0.55,
    "tls-depth1/blind": 0.65,
    "tls-depth16/blind": 0.60,
    "tls-16k/blind": 0.60,
}


def below_floor(rows: Iterable[Row]) -> list[str]:
    """Return one sentence for each row below its floor."""
    return [
        f"{row.name} is {row.figure.median:.2f}, below its floor of {FLOORS[row.name]:.2f}"
        for row in rows
        if row.name in FLOORS and row.figure is not None and row.figure.median < FLOORS[row.name]
    ]
