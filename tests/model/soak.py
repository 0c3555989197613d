"""`make soak`: run the models for MINUTES (30), each round with the next seed; `SEED=…` runs one round again.

Seeds run in turn over the servers of one folder, over one server with workers, and over nodes on one database;
`TOPOLOGY=servers`, `TOPOLOGY=workers` or `TOPOLOGY=nodes` is for one of the three only.
"""

import asyncio
import hashlib
import os
import random
import sys
import tempfile
import time
from collections import Counter
from functools import cache
from pathlib import Path

from model.machine import BrokenError, Run
from model.nodes import postgres
from model.topics import TopicsWorld
from model.world import Setting
from support.nodes import PORTS

FREEZES, LOCKS = [0.2, 0.8, 3.0, 8.0], [0.3, 5.0, 30.0]
PAUSE = 0.02
STEPS, EXAMPLES = 300, 3
"""Of one round: some minutes at the most, so that a seed is soon run again."""
GIVEN = [
    Setting(servers=servers, talkers=5, hooks=hooks, plain=plain, long_seconds=45)
    for servers in (3, 2, 1)
    for hooks in (True, False)
    for plain in (True, False)
]
WITH_WORKERS = [
    Setting(servers=1, talkers=5, hooks=hooks, plain=plain, long_seconds=45, workers=workers)
    for workers in (2, 3)
    for hooks in (True, False)
    for plain in (True, False)
]
ON_NODES = [
    Setting(servers=servers, talkers=5, hooks=hooks, plain=plain, long_seconds=45, nodes=True)
    for servers in (3, 2)
    for hooks in (True, False)
    for plain in (True, False)
]
TOPOLOGIES = {"servers": GIVEN, "workers": WITH_WORKERS, "nodes": ON_NODES}


def main() -> int:
    """Run rounds until the time is over; return the exit code: 1 if a rule was broken."""
    hashlib.pbkdf2_hmac = cache(hashlib.pbkdf2_hmac)  # type: ignore[assignment] # as in the tests
    again = os.environ.get("SEED")
    seed = int(again or random.SystemRandom().randrange(10**6))
    minutes = float(os.environ.get("MINUTES") or (0 if again else 30))
    ends = time.monotonic() + 60 * minutes
    runs = {name: Run(given, FREEZES, LOCKS, PAUSE) for name, given in TOPOLOGIES.items()}
    only = os.environ.get("TOPOLOGY")
    while True:
        topology = only or list(TOPOLOGIES)[seed % len(TOPOLOGIES)]
        run = runs[topology]
        began, before = time.monotonic(), run.done.copy()
        print(f"seed {seed}, {topology}:", end=" ", flush=True)
        try:
            run.go(seed, steps=STEPS, examples=EXAMPLES)
            _topics(seed, run, topology)
        except BrokenError as broken:
            print(f"broken\n{broken}\nRun it again with: make soak TOPOLOGY={topology} SEED={seed}", flush=True)
            return 1
        done = sorted((run.done - before).items())
        print(
            f"{time.monotonic() - began:.0f} s, {', '.join(f'{what} {times}' for what, times in done)}", flush=True
        )
        if time.monotonic() >= ends:
            break
        seed += 1
    for topology, run in runs.items():
        print(f"In all, {topology}:", ", ".join(f"{what} {times}" for what, times in sorted(run.done.items())))
    return 0


def _topics(seed: int, run: Run, topology: str) -> None:
    """Run the model of topics; over nodes, with those of a database.

    Raises:
        BrokenError: a rule was broken.
    """
    with tempfile.TemporaryDirectory(prefix="model-") as folder:
        database = postgres().database("topics") if topology == "nodes" else None
        options = ("--store", database, "--relay-address", PORTS) if database else ()
        world = TopicsWorld(Path(folder), seed, *options)
        if faults := asyncio.run(world.run(STEPS)):
            raise BrokenError("\n  ".join(faults[:60]))
    run.done += Counter({f"topics {what}": times for what, times in world.done.items()})


if __name__ == "__main__":
    sys.exit(main())
