"""What `make bench` runs: Antiphon beside others of its kind, and what it costs, as one table.

One core serves and another one loads; README.md says how to read what is printed.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import entry
import guard
import machine
import memory
import pair
import startup
import throughput
from compiled import build
from loads import TEXT
from plan import Plan
from rows import Row, table

from antiphon import __version__

SCHEMA_VERSION = 2
"""Of the JSON; a field that changes its meaning or goes away raises it."""
ROUNDS, SECONDS, WARMUP = 5, 2.0, 0.5
QUICK_ROUNDS, QUICK_SECONDS, QUICK_WARMUP = 1, 0.2, 0.05
LIMITED = "! The generator took nearly all of its core: one of the two could have done more."


@dataclass(frozen=True)
class Options:
    """What the command line and BENCH_JSON say."""

    rounds: int
    seconds: float
    quick: bool
    guarded: bool
    only: list[str]
    json: Path | None
    markdown: Path | None

    def wanted(self, name: str) -> bool:
        """Return whether a row is to be measured."""
        return not self.only or any(_chooses(pattern, name) for pattern in self.only)


def main() -> None:
    """Measure, print the table, and write the files that are asked for; leave with 1 where the guard says so."""
    if not sys.platform.startswith("linux"):
        raise SystemExit("bench: this needs Linux (epoll, and processes that stay on one core).")
    options = read_options()
    build("load")  # said now, not when servers have been started
    about = machine.describe()
    begun = datetime.now(UTC)
    first = say_first(about, options)
    print(f"{first}\n", flush=True)
    details: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="antiphon-bench-") as folder:
        rows = list(measure(options, about, Path(folder), details))
    parts = [table(rows)]
    if any(row.load_was_limit for row in rows):
        parts.append(LIMITED)
    print("\n" + "\n\n".join(parts), flush=True)
    if options.markdown:
        written = [f"{begun:%Y-%m-%d}. {first}", *parts, throughput.table(details)]
        options.markdown.write_text("\n\n".join(written) + "\n", "utf-8")
    if options.json:
        report = {
            "schema_version": SCHEMA_VERSION,
            "antiphon_version": __version__,
            "begun_at": begun.isoformat(timespec="seconds"),
            "machine": about,
            "quick": options.quick,
            "rounds": options.rounds,
            "round_seconds": options.seconds,
            "message_bytes": len(TEXT),
            "rows": [row.as_json() for row in rows],
            "loads": details,
        }
        options.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if options.guarded and (fallen := guard.fallen(rows)):
        raise SystemExit(f"bench: slower than it was (benchmarks/guard.py): {'; '.join(fallen)}.")


def measure(options: Options, about: dict[str, Any], folder: Path, details: list[dict[str, Any]]) -> Iterator[Row]:
    """Measure every row that is wanted, in the order of the table."""
    plan = Plan(
        rounds=options.rounds,
        seconds=options.seconds,
        warmup=QUICK_WARMUP if options.quick else WARMUP,
        quick=options.quick,
        server_core=about["server_core"],
        load_core=about["load_core"],
        folder=folder,
        wanted=options.wanted,
        say=lambda line: print(line, flush=True),
    )
    yield from throughput.rows(plan, details)
    for part in (pair, memory, entry, startup):
        yield from part.rows(plan)


def say_first(about: dict[str, Any], options: Options) -> str:
    """Return under what conditions this was measured."""
    said = [
        machine.sentence(about),
        f"Rounds: {options.rounds} of {options.seconds:g} s; median (lowest-highest).",
        *machine.doubts(about),
    ]
    if options.quick:
        said.append("A quick run shows that everything works; its figures say nothing.")
    return " ".join(said)


# --- what is asked for --------------------------------------------------------------------------------------


def read_options() -> Options:
    """Return what the command line and BENCH_JSON ask for."""
    names = [name for part in (throughput, pair, memory, entry, startup) for name in part.names()]
    parser = argparse.ArgumentParser(
        description="Measure Antiphon beside others of its kind.", epilog=f"Rows: {', '.join(names)}"
    )
    parser.add_argument("--rounds", type=int, help=f"rounds for each server and load [default: {ROUNDS}]")
    parser.add_argument("--seconds", type=float, help=f"seconds of a round [default: {SECONDS:g}]")
    parser.add_argument(
        "--only", action="append", default=[], metavar="ROW",
        help="measure this row, or all of a load (tcp-depth1), or of a pattern ('tcp-*/valkey'); may be repeated",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a short run, to see that it works; no guard")
    parser.add_argument("--no-guard", action="store_true", help="do not fail where it is slower than it was")
    parser.add_argument("--json", type=Path, help="write the figures to this file [default: $BENCH_JSON]")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file")
    given = parser.parse_args()
    rounds = given.rounds if given.rounds is not None else QUICK_ROUNDS if given.quick else ROUNDS
    seconds = given.seconds if given.seconds is not None else QUICK_SECONDS if given.quick else SECONDS
    if rounds < 1 or not 0.05 <= seconds <= 3600:
        parser.error("--rounds must be at least 1, --seconds from 0.05 to 3600")
    for pattern in given.only:
        if not any(_chooses(pattern, name) for name in names):
            parser.error(f"there is no row {pattern}; --help names them all")
    named = os.environ.get("BENCH_JSON")
    file = given.json or (Path(named) if named else None)
    for path in (file, given.markdown):
        if path and not path.absolute().parent.is_dir():  # said now, not when everything has been measured
            parser.error(f"there is no folder {path.absolute().parent}")
    guarded = not (given.quick or given.no_guard)
    return Options(rounds, seconds, given.quick, guarded, given.only, file, given.markdown)


def _chooses(pattern: str, name: str) -> bool:
    """Return whether what follows `--only` means the row `name`."""
    return fnmatchcase(name, pattern) or name.partition("/")[0] == pattern


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers are stopped then, too
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
