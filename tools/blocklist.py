#!/usr/bin/env python3
"""Generate the lists of common passwords: `.venv/bin/python tools/blocklist.py TEN_MILLION ROCKYOU`.

TEN_MILLION is SecLists' 10-million-password-list-top-1000000.txt, ROCKYOU its rockyou.txt; both have one password
on each line, the most common first. The generated lists are in the tree: run this only to change them.
"""

import sys
from itertools import islice
from pathlib import Path

from antiphon.blocklist import LENGTHS, MOST
from antiphon.errors import PasswordInvalid
from antiphon.identity.passwords import folded

FOLDER = Path(__file__).parents[1] / "src" / "antiphon" / "blocklist"


READ = 2_000_000
"""Lines read from a source; later lines are passwords of single people."""
NO_PASSWORD = frozenset("@<>{}/\\:\ufffd")
"""Characters of lines to skip: remains of forms and scripts, and mail addresses, which belong to single people."""


def ranked(source: Path, least: int) -> dict[str, int]:
    """Return the rank of each password of at least `least` characters in a source, folded as for comparison."""
    places: dict[str, int] = {}
    with source.open(encoding="utf-8", errors="replace") as lines:
        for place, line in enumerate(islice(lines, READ)):
            if len(line) <= least or NO_PASSWORD & set(line):
                continue
            try:
                plain = folded(line.rstrip("\r\n"))
            except PasswordInvalid:
                continue
            if len(plain) >= least:
                places.setdefault(plain, place)
    return places


def chosen(ten_million: Path, rockyou: Path, least: int) -> list[str]:
    """Return the most common passwords, sorted: chosen from both sources by their ranks, then from ROCKYOU.

    Long passwords of TEN_MILLION that are not in ROCKYOU belong to single people or machines, and are left out.
    """
    first, second = ranked(ten_million, least), ranked(rockyou, least)
    both = sorted(first.keys() & second.keys(), key=lambda plain: (first[plain] + second[plain], plain))
    return sorted(islice(dict.fromkeys([*both, *second]), MOST))


if __name__ == "__main__":
    for length in LENGTHS:
        lines = chosen(Path(sys.argv[1]), Path(sys.argv[2]), length)
        (FOLDER / f"common-{length}.txt").write_text("\n".join(lines) + "\n", "utf-8")
