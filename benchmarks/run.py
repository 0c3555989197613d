"""`make bench`: measure Antiphon's rate in comparison with other servers, and its costs, as one table.

The server runs on one core, the load on another. README.md explains how to read the tables.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import clients
import guard
import machine
import memory
import relay
import sign_in_cost
import startup
import storm
import throughput
import typed
import workers
from c_programs import build
from plan import Plan
from rows import Row, table
from workloads import TEXT

from antiphon import __version__

SCHEMA_VERSION = 2
"""Version of the JSON report; it is raised when a field changes its meaning or is removed."""
ROUNDS, SECONDS, WARMUP = 5, 2.0, 0.5
QUICK_ROUNDS, QUICK_SECONDS, QUICK_WARMUP = 1, 0.2, 0.05
LIMITED = "! The generator took nearly all of its core: one of the two could have done more."


@dataclass(frozen=True)
class Options:
    """The options of the command line and of BENCH_JSON."""

    rounds: int
    seconds: float
    quick: bool
    guarded: bool
    only: list[str]
    json: Path | None
    markdown: Path | None

    def wanted(self, name: str) -> bool:
        """Return whether to measure a row."""
        return not self.only or any(_chooses(pattern, name) for pattern in self.only)


@dataclass(frozen=True)
class Details:
    """What each server and client did: the tables that are printed during the run."""

    loads: list[dict[str, Any]] = field(default_factory=list)
    clients: list[dict[str, Any]] = field(default_factory=list)
    workers: list[dict[str, Any]] = field(default_factory=list)


def main() -> None:
    """Measure, print the table and write the files; exit with 1 if the guard finds a regression."""
    if not sys.platform.startswith("linux"):
        raise SystemExit("bench: this needs Linux (epoll, and processes that stay on one core).")
    options = read_options()
    build("load")  # a missing compiler is reported now, not when servers have been started
    about = machine.describe()
    begun = datetime.now(UTC)
    first = say_first(about, options)
    print(f"{first}\n", flush=True)
    details = Details()
    with tempfile.TemporaryDirectory(prefix="antiphon-bench-") as folder:
        rows = list(measure(options, about, Path(folder), details))
    parts = [table(rows)]
    if any(row.load_was_limit for row in rows):
        parts.append(LIMITED)
    print("\n" + "\n\n".join(parts), flush=True)
    if options.markdown:
        tables = throughput.table(details.loads), clients.table(details.clients), workers.table(details.workers)
        written = [f"{begun:%Y-%m-%d}. {first}", *parts, *tables]
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
            **asdict(details),
        }
        options.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if options.guarded and (below_floor := guard.below_floor(rows)):
        raise SystemExit(f"bench: slower than it was (benchmarks/guard.py): {'; '.join(below_floor)}.")


def measure(options: Options, about: dict[str, Any], folder: Path, details: Details) -> Iterator[Row]:
    """Measure the wanted rows, in the order of the table."""
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
    yield from throughput.rows(plan, details.loads)
    yield from clients.rows(plan, details.clients)
    yield from workers.rows(plan, details.workers)
    for part in (relay, typed, memory, sign_in_cost, storm, startup):
        yield from part.rows(plan)


def say_first(about: dict[str, Any], options: Options) -> str:
    """Return the conditions of this run as sentences."""
    said = [
        machine.sentence(about),
        f"Rounds: {options.rounds} of {options.seconds:g} s; median (lowest-highest).",
        *machine.doubts(about),
    ]
    if options.quick:
        said.append("A quick run shows that everything works; its figures say nothing.")
    return " ".join(said)


# --- options ------------------------------------------------------------------------------------------------


def read_options() -> Options:
    """Parse the command line and BENCH_JSON."""
    parts = (throughput, clients, workers, relay, typed, memory, sign_in_cost, storm, startup)
    names = [name for part in parts for name in part.names()]
    parser = argparse.ArgumentParser(
        description="Measure Antiphon in comparison with other servers. Example: run.py --only tcp-depth1",
        epilog=f"Rows: {', '.join(names)}",
    )
    parser.add_argument("--rounds", type=int, help=f"rounds for each server and load [default: {ROUNDS}]")
    parser.add_argument("--seconds", type=float, help=f"seconds of a round [default: {SECONDS:g}]")
    parser.add_argument(
        "--only", action="append", default=[], metavar="ROW",
        help="measure only this row, load (tcp-depth1) or pattern ('tcp-*/valkey'); may be repeated",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a short run, to see that everything works; no guard")
    parser.add_argument("--no-guard", action="store_true", help="do not fail on a regression")
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
        if path and not path.absolute().parent.is_dir():  # reported now, not when everything has been measured
            parser.error(f"there is no folder {path.absolute().parent}")
    guarded = not (given.quick or given.no_guard)
    return Options(rounds, seconds, given.quick, guarded, given.only, file, given.markdown)


def _chooses(pattern: str, name: str) -> bool:
    """Return whether the argument of `--only` selects the row `name`."""
    return fnmatchcase(name, pattern) or name.partition("/")[0] == pattern


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit also stops the servers
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
