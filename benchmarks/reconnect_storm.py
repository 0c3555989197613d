#!/usr/bin/env python3
"""Simulation of a reconnect storm: all clients of a node that was killed come to the others at once.

Each client waits as the real ones do (`client/protocol/reconnect.py`). What a try costs a process and the database
is given: `database.py` and `make bench` measure it. Nothing is sent. `docs/scaling.md` has the outcome.
"""

import argparse
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass

from antiphon.client.protocol.reconnect import ReconnectPolicy
from antiphon.errors import AntiphonError, TimedOut, TryLater

DEAD_SECONDS = 7.0
"""Time from a death until the first claim: 6 s without a heartbeat, and the second that may have begun before."""
TIMEOUT = 10.0
"""Seconds after which a client gives a try up (`--timeout`)."""
GIVE_UP = 600.0
ENTRY_MOST = 64
"""Connections that are not signed in yet at which a process drops new ones: `--entry-most` for four workers."""


@dataclass(frozen=True)
class Costs:
    """Milliseconds of one processor for one try."""

    resume_ms: float
    """of a process, for a resume that claims the session"""
    refusal_ms: float
    """of a process, for one that is told to try later"""
    database_ms: float
    """of the database, for a claim"""


class Queue:
    """Processors that take what comes, in order."""

    def __init__(self, processors: int) -> None:
        self._free = [0.0] * processors

    def wait(self, at: float) -> float:
        """Return how long something waits that comes at a time."""
        return max(0.0, self._free[0] - at)

    def done(self, at: float, ms: float) -> float:
        """Return when something that comes at a time and takes `ms` is done."""
        ends = max(at, heapq.heappop(self._free)) + ms / 1000
        heapq.heappush(self._free, ends)
        return ends


def storm(clients: int, processes: int, processors: int, costs: Costs, seed: int = 1) -> tuple[list[float], int]:
    """Return when each client is back, in order, and how many tries they have made."""
    chance = random.Random(seed)
    served = [Queue(1) for _ in range(processes)]
    database = Queue(processors)
    back: list[float] = []
    tries = 0
    vary: Callable[[], float] = lambda: chance.uniform(0.5, 1.5)  # noqa: E731 - as the clients do
    events: list[tuple[float, int, ReconnectPolicy]] = []
    for number in range(clients):
        policy = ReconnectPolicy(GIVE_UP, vary)
        policy.lost(TimedOut(address="", seconds=""), 0.0)
        heapq.heappush(events, (policy.next_try, number, policy))
    while events:
        now, number, policy = heapq.heappop(events)
        tries += 1
        process, claims = chance.choice(served), now >= DEAD_SECONDS
        ms = costs.resume_ms if claims else costs.refusal_ms
        if process.wait(now) > ENTRY_MOST * ms / 1000:
            policy.failed(TimedOut(address="", seconds=""), now)
            heapq.heappush(events, (policy.next_try, number, policy))
            continue
        done = process.done(now, ms)
        if claims:
            done = max(done, database.done(now, costs.database_ms))
        late = done - now > TIMEOUT
        if claims and not late:
            back.append(done)
            continue
        error: AntiphonError = TimedOut(address="", seconds="") if late else TryLater(wait=1)
        policy.failed(error, min(done, now + TIMEOUT))
        heapq.heappush(events, (policy.next_try, number, policy))
    return sorted(back), tries


def main() -> None:
    """Simulate, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--processes", type=int, default=8, help="processes that serve on the nodes that are left")
    parser.add_argument("--processors", type=int, default=4, help="of the database")
    parser.add_argument("--resume-ms", type=float, required=True)
    parser.add_argument("--refusal-ms", type=float, required=True)
    parser.add_argument("--database-ms", type=float, required=True)
    given = parser.parse_args()
    costs = Costs(given.resume_ms, given.refusal_ms, given.database_ms)
    print(
        "| clients of the dead node | half are back after | 99 of 100 | all | tries of each |",
        "|" + " --- |" * 5,
        sep="\n",
    )
    for clients in given.clients:
        back, tries = storm(clients, given.processes, given.processors, costs)
        half, most, last = (back[min(len(back) - 1, int(len(back) * part))] for part in (0.5, 0.99, 1))
        print(f"| {clients:,} | {half:.1f} s | {most:.1f} s | {last:.1f} s | {tries / clients:.1f} |")


if __name__ == "__main__":
    main()
