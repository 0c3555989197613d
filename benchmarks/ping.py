"""Cost of `antiphon ping` itself: it and the load generator in C, in turns, against one echo server in C.

The echo server (answer.c) does next to nothing, so the figures show the cost of the two clients. It lets everybody
in without a name, over plain TCP; both clients send the same frames. docs/ping.md has the last figures.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from generator import Load, Run, measure
from processes import ANTIPHON, RunningServer, answer, cores, environment, pinned
from workloads import TEXT

from antiphon.identity.scram import ITERATIONS, SALT_SIZE
from antiphon.identity.tokens import TOKEN_SIZE
from antiphon.wire.bodies import Hello, Identify, Lifetimes, Limits, Scram, Welcome
from antiphon.wire.conversation import ClientConversation, ServerConversation
from antiphon.wire.frames import encode_message
from antiphon.wire.kinds import MESSAGE_LIMIT, Flag, Kind

TOKEN = bytes(TOKEN_SIZE)
HEAD = (
    "| connections | depth | ping, messages/s | C, messages/s | ratio | ping p50, us | C p50, us "
    "| ping, CPU us a message | C, CPU us a message |"
)
CASES = ((1, 1), (1, 16), (10, 1), (10, 16))
"""Connections and depth."""


@dataclass(frozen=True)
class Figure:
    """What one of the two clients has reached in one round."""

    messages_per_s: float
    p50_us: float
    cpu_us: float
    """Microseconds of processor time for a message; other work on the machine changes it little."""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="Measure what antiphon ping itself costs.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds for each case [default: 5]")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of a round [default: 2]")
    parser.add_argument("--quick", action="store_true", help="one case only, to see that it works")
    given = parser.parse_args()
    if given.rounds < 1 or not 0.05 <= given.seconds <= 3600:
        parser.error("--rounds must be at least 1, --seconds from 0.05 to 3600")
    server_core, load_core = cores()
    print(f"Load average before: {os.getloadavg()[0]:.2f}. Rounds: {given.rounds} of {given.seconds:g} s.\n")
    print(HEAD)
    print("|" + " --- |" * HEAD.count(" |"), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with serving(folder, server_core) as server:
            for case in CASES[: 1 if given.quick else None]:
                rounds = [
                    (
                        by_ping(server.port, case, given.seconds, load_core, folder),
                        by_c(server, case, given.seconds, load_core, folder),
                    )
                    for _ in range(given.rounds)
                ]
                print(row(case, rounds), flush=True)


def serving(folder: Path, core: int) -> AbstractContextManager[RunningServer]:
    """Start the echo server in C; its greeting is written to `folder`."""
    (folder / "greeting").write_bytes(greeting())
    (folder / "welcome").write_bytes(welcome())
    return answer(folder / "greeting", folder / "welcome", core)


def greeting() -> bytes:
    """Return the HELLO of a server that lets everybody in."""
    hello = Hello(
        versions=[1],
        product="echo",
        access="anyone",
        mechanisms=[],
        features=[],
        limits=Limits(message=MESSAGE_LIMIT, heartbeat=3600.0, silence=7200.0),
        registration=False,
        scram=Scram(salt_length=SALT_SIZE, iterations=ITERATIONS),
        password_minimum=15,
    )
    return ServerConversation().hello(hello)


def welcome() -> bytes:
    """Return the WELCOME that answers the first request."""
    body = Welcome(
        name="",
        first=True,
        last_visit=None,
        last_address=None,
        refusals=0,
        token=TOKEN,
        lifetimes=Lifetimes(unheld=60.0, total=86400.0),
        must_change=False,
        greeting="",
        data=None,
    )
    return ServerConversation().welcome(1, body, TOKEN)


def by_ping(port: int, case: tuple[int, int], seconds: float, core: int, folder: Path) -> Figure:
    """Run the installed `antiphon ping`; subtract the time of a run with one message, which is mostly start-up."""
    result, spent = ping(port, case, ["--duration", str(seconds)], core, folder)
    _, start = ping(port, case, ["--count", "1"], core, folder)
    cpu_us = max(0.0, spent - start) / result["answered"] * 1e6
    return Figure(result["messages_per_s"], result["latency"]["percentiles_us"]["p50"], cpu_us)


def ping(
    port: int, case: tuple[int, int], options: list[str], core: int, folder: Path
) -> tuple[dict[str, Any], float]:
    """Return the figures of one run and its processor time in seconds."""
    connections, depth = case
    command = ["ping", f"tcp://127.0.0.1:{port}", "--connections", connections, "--depth", depth, "--interval", 0]
    command += ["--size", len(TEXT), "--json", "-", "--quiet", "--no-input", *options]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        pinned(core, ANTIPHON, *map(str, command)),
        env=environment() | {"HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"bench: antiphon ping failed: {done.stderr.strip()}")
    return json.loads(done.stdout), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def by_c(server: RunningServer, case: tuple[int, int], seconds: float, core: int, folder: Path) -> Figure:
    """Run the load generator with the same frames."""
    connections, depth = case
    frames = b"".join(encode_message(id, TEXT, token=TOKEN) for id in range(1, depth + 1))
    identify = ClientConversation().request(Kind.IDENTIFY, Identify())[1]
    load = Load(
        requests=frames * connections,
        replies=b"".join(encode_message(id, TEXT, Flag.LAST) for id in range(1, depth + 1)),
        prologues=identify * connections,
        prologue_frames=2,
    )
    run = Run(connections, seconds, warmup=min(0.2, seconds), core=core, folder=folder)
    figures = measure(load, server, run)
    rate = figures.batches_per_s * depth
    return Figure(rate, figures.p50_us, figures.load_core_share / rate * 1e6)


def row(case: tuple[int, int], rounds: list[tuple[Figure, Figure]]) -> str:
    """Return the table row of a case: medians, and the range of the ratio."""
    ratios = [ping.messages_per_s / other.messages_per_s for ping, other in rounds]
    cells = [
        *map(str, case),
        *(f"{median(pair[side].messages_per_s for pair in rounds):,.0f}" for side in (0, 1)),
        f"**{median(ratios):.2f}** ({min(ratios):.2f}-{max(ratios):.2f})",
        *(f"{median(pair[side].p50_us for pair in rounds):,.0f}" for side in (0, 1)),
        *(f"{median(pair[side].cpu_us for pair in rounds):.1f}" for side in (0, 1)),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
