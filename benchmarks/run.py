"""What `make bench` runs: Antiphon's echo beside a blind one on uvloop, and the ratio of the two.

One core serves and another one loads. Rounds are interleaved (A B A B), so that a machine that changes its pace
changes it for both; README.md says how to read what is printed.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import ssl
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from generator import Figures, build, measure
from processes import antiphon, blind, cores
from sessions import TEXT, blind_load, echo_load, sign_in

from antiphon import __version__
from antiphon.address import parse

SCHEMA_VERSION = 1
"""Of the JSON; a field that changes its meaning or goes away raises it."""
CONNECTIONS = 50
QUICK_CONNECTIONS = 10
LIMIT_SHARE = 0.95
"""Where the generator took more of its core than this, it was the limit and not the server."""
BUSY = 0.5
"""Load average of a machine that had something else to do as well."""


@dataclass(frozen=True)
class Options:
    """How long and how often; what the command line says."""

    rounds: int
    seconds: float
    warmup: float
    connections: int
    quick: bool
    json: Path | None


@dataclass(frozen=True)
class Case:
    """What is measured: `depth` messages at a time on each of `connections`."""

    secure: bool
    connections: int
    depth: int


def main() -> None:
    """Measure, print the table, and write the JSON where that is asked for."""
    if not sys.platform.startswith("linux"):
        raise SystemExit("bench: this needs Linux (epoll, and processes that stay on one core).")
    options = read_options()
    build()
    machine = describe_machine()
    begun = datetime.now(UTC)
    say_first(machine, options)
    cases = []
    for case in measure_all(options, machine["server_core"], machine["load_core"]):
        print(row(case), flush=True)
        cases.append(case)
    say_last(cases)
    if options.json:
        report = {
            "schema_version": SCHEMA_VERSION,
            "antiphon_version": __version__,
            "begun_at": begun.isoformat(timespec="seconds"),
            "machine": machine,
            "quick": options.quick,
            "rounds": options.rounds,
            "round_seconds": options.seconds,
            "warmup_seconds": options.warmup,
            "message_bytes": len(TEXT),
            "cases": cases,
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


def read_options() -> Options:
    """Return what the command line and BENCH_JSON ask for."""
    parser = argparse.ArgumentParser(description="Measure Antiphon's echo beside a blind one.")
    parser.add_argument("--rounds", type=int, help="rounds for each server and case [default: 5]")
    parser.add_argument("--seconds", type=float, help="seconds of a round [default: 2]")
    parser.add_argument("--quick", action="store_true", help="a short run, to see that it works")
    parser.add_argument("--json", type=Path, help="write the figures to this file [default: $BENCH_JSON]")
    given = parser.parse_args()
    rounds = given.rounds if given.rounds is not None else 1 if given.quick else 5
    seconds = given.seconds if given.seconds is not None else 0.3 if given.quick else 2.0
    if rounds < 1 or not 0.05 <= seconds <= 3600:
        parser.error("--rounds must be at least 1, --seconds from 0.05 to 3600")
    named = os.environ.get("BENCH_JSON")
    file = given.json or (Path(named) if named else None)
    if file and not file.absolute().parent.is_dir():  # said now, not when everything has been measured
        parser.error(f"there is no folder {file.absolute().parent}")
    return Options(
        rounds=rounds,
        seconds=seconds,
        warmup=0.1 if given.quick else 0.5,
        connections=QUICK_CONNECTIONS if given.quick else CONNECTIONS,
        quick=given.quick,
        json=file,
    )


# --- measuring ----------------------------------------------------------------------------------------------


def measure_all(options: Options, server_core: int, load_core: int) -> Iterator[dict[str, Any]]:
    """Measure every case; plain first, then TLS on the same data folder, where the same sessions are resumed."""
    tokens: list[bytes] = []
    with tempfile.TemporaryDirectory(prefix="antiphon-bench-") as name:
        folder = Path(name)
        data = folder / "data"
        for secure in (False, True):
            with (
                antiphon(data, server_core, secure=secure) as start,
                blind(data, server_core, secure=secure) as other,
            ):
                if not tokens:
                    address = parse(start["addresses"][0])
                    tokens = asyncio.run(sign_in(address, options.connections, folder))
                for connections, depth in ((1, 1), (options.connections, 1), (options.connections, 16)):
                    case = Case(secure, connections, depth)
                    ports = (start["port"], other["port"])
                    held = tokens[:connections]
                    yield measure_case(case, options, held, ports, load_core=load_core, folder=folder)


def measure_case(
    case: Case, options: Options, tokens: list[bytes], ports: tuple[int, int], *, load_core: int, folder: Path
) -> dict[str, Any]:
    """Measure one case on both servers in turn; `ports` are Antiphon's and the blind echo's."""
    loads = (echo_load(tokens, case.depth), blind_load(tokens, case.depth))
    ours: list[Figures] = []
    blinds: list[Figures] = []
    for _ in range(options.rounds):
        for load, port, figures in zip(loads, ports, (ours, blinds), strict=True):
            figures.append(
                measure(
                    load,
                    port,
                    connections=case.connections,
                    secure=case.secure,
                    seconds=options.seconds,
                    warmup=options.warmup,
                    core=load_core,
                    folder=folder,
                )
            )
    shares = [figures.load_core_share for figures in ours + blinds]
    return {
        "transport": "tls" if case.secure else "tcp",
        "connections": case.connections,
        "depth": case.depth,
        "antiphon": summary(ours, case.depth),
        "blind": summary(blinds, case.depth),
        "ratio": spread([a.batches_per_s / b.batches_per_s for a, b in zip(ours, blinds, strict=True)]),
        "load_was_limit": max(shares) > LIMIT_SHARE,
    }


def summary(figures: list[Figures], depth: int) -> dict[str, Any]:
    """Return what the rounds of one server come to."""
    return {
        "messages_per_s": spread([one.batches_per_s * depth for one in figures]),
        "batch_p50_us": spread([one.p50_us for one in figures]),
        "batch_p99_us": spread([one.p99_us for one in figures]),
        "load_core_share": spread([one.load_core_share for one in figures]),
    }


def spread(values: list[float]) -> dict[str, Any]:
    """Return the median, the extremes and each round's value, in the order of the rounds."""
    return {"median": median(values), "min": min(values), "max": max(values), "rounds": values}


# --- telling ------------------------------------------------------------------------------------------------

HEAD = (
    "| transport | connections | depth | Antiphon, messages/s | blind, messages/s | ratio "
    "| Antiphon p50 / p99, us | blind p50 / p99, us | load's core |"
)


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on beside the code."""
    server_core, load_core = cores()
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "server_core": server_core,
        "load_core": load_core,
        "load_average_1min": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "uvloop": version("uvloop"),
        "openssl": ssl.OPENSSL_VERSION,
    }


def cpu_model() -> str:
    """Return the processor's name, where the system tells it."""
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def say_first(machine: dict[str, Any], options: Options) -> None:
    """Print the conditions and the head of the table."""
    print(
        "Antiphon {version} on {cpu}, {cores} cores; {system}, Python {python}, uvloop {uvloop}, {openssl}. "
        "Server on core {server_core}, load on core {load_core}; load average before: {load_average_1min}. "
        "Messages of {size} bytes; rounds: {rounds} of {seconds:g} s; median (lowest-highest).\n".format(
            **machine, version=__version__, size=len(TEXT), rounds=options.rounds, seconds=options.seconds
        )
    )
    if options.quick:
        print("A quick run shows that everything works; its figures say nothing.\n")
    if machine["server_core"] == machine["load_core"]:
        print("Only one core can be used here: server and load share it, and the figures say little.\n")
    if machine["load_average_1min"] > BUSY:
        print("The machine is not quiet: rely on the ratios only, and on them only where their range is narrow.\n")
    print(HEAD)
    print("|" + " --- |" * HEAD.count(" |"), flush=True)


def row(case: dict[str, Any]) -> str:
    """Return a case as a line of the table."""
    ours, other, ratio = case["antiphon"], case["blind"], case["ratio"]
    shares = [side["load_core_share"]["max"] for side in (ours, other)]
    cells = [
        case["transport"].upper(),
        str(case["connections"]),
        str(case["depth"]),
        thousands(ours["messages_per_s"]),
        thousands(other["messages_per_s"]),
        f"**{ratio['median']:.2f}** ({ratio['min']:.2f}-{ratio['max']:.2f})",
        latency(ours),
        latency(other),
        " / ".join(f"{share:.2f}{' !' if share > LIMIT_SHARE else ''}" for share in shares),
    ]
    return f"| {' | '.join(cells)} |"


def thousands(value: dict[str, Any]) -> str:
    """Return a rate with its range."""
    return f"{value['median']:,.0f} ({value['min']:,.0f}-{value['max']:,.0f})"


def latency(side: dict[str, Any]) -> str:
    """Return the medians of half and of all but one in a hundred."""
    return f"{side['batch_p50_us']['median']:,.0f} / {side['batch_p99_us']['median']:,.0f}"


def say_last(cases: list[dict[str, Any]]) -> None:
    """Print what must be known of the table."""
    if any(case["load_was_limit"] for case in cases):
        print("\n! The generator took nearly all of its core: that server could have done more.")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers are stopped then, too
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
