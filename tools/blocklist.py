#!/usr/bin/env python3
"""Make the lists of common passwords again: `.venv/bin/python tools/blocklist.py TEN_MILLION ROCKYOU`.

TEN_MILLION is SecLists' 10-million-password-list-top-1000000.txt, ROCKYOU its rockyou.txt, each a line for each
password, the most common first. Nobody needs to run this: what it makes is in the tree.
"""

import sys
from itertools import islice
from pathlib import Path

from antiphon.blocklist import LENGTHS, MOST
from antiphon.errors import PasswordInvalid
from antiphon.identity.passwords import folded

FOLDER = Path(__file__).parents[1] / "src" / "antiphon" / "blocklist"


READ = 2_000_000
"""Lines of a source that are looked at; what comes later is one person's each."""
NO_PASSWORD = frozenset("@<>{}/\\:\ufffd")
"""What forms and scripts have left there, and addresses of mail, which are somebody's own."""


def ranked(source: Path, least: int) -> dict[str, int]:
    """Return the place of each password of a source that has `least` characters or more, as they are compared."""
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
    """Return the most common ones in alphabetical order: those that both have, by both places; then ROCKYOU's.

    The longer passwords of TEN_MILLION that ROCKYOU does not have are one person's each, or a machine's.
    """
    first, second = ranked(ten_million, least), ranked(rockyou, least)
    both = sorted(first.keys() & second.keys(), key=lambda plain: (first[plain] + second[plain], plain))
    return sorted(islice(dict.fromkeys([*both, *second]), MOST))


if __name__ == "__main__":
    for length in LENGTHS:
        lines = chosen(Path(sys.argv[1]), Path(sys.argv[2]), length)
        (FOLDER / f"common-{length}.txt").write_text("\n".join(lines) + "\n", "utf-8")
