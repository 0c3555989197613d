"""The guard against getting slower: how much of a blind echo's pace must be left on any machine.

A blind echo on uvloop does in the same minute on the same core what the machine allows, so that its ratio hardly
knows how fast the machine is. The floors stand well below what was measured last: to fall through one is no noise.
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


def fallen(rows: Iterable[Row]) -> list[str]:
    """Return a sentence for each row that lies below its floor."""
    return [
        f"{row.name} is {row.figure.median:.2f}, below its floor of {FLOORS[row.name]:.2f}"
        for row in rows
        if row.name in FLOORS and row.figure is not None and row.figure.median < FLOORS[row.name]
    ]
