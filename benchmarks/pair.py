"""Two servers of one data folder, each on a core of its own, beside one: what two workers would come to.

`antiphon serve` has no workers yet; servers that share a folder share what workers would (the store, the log of
revocations). Their load runs on the same two cores, so what counts is how much each server does in a second of
its processor time.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import loads
from generator import Figures, Run, measure
from loads import Shape
from plan import Plan
from processes import Place, antiphon
from rows import Row, Spread
from sessions import seed_sessions

NAME = "workers/two"
SHAPE = Shape(50, 16, 64)
"""For each server: the one in which it does most by itself, and the kernel least."""


def names() -> list[str]:
    """Return the name of the row."""
    return [NAME]


def rows(plan: Plan) -> Iterator[Row]:
    """Measure one server by itself and two at once, in turns."""
    if not plan.wanted(NAME):
        return
    data, connections = plan.folder / "pair", plan.few(SHAPE.connections, 10)
    tokens = seed_sessions(data, 2 * connections)
    cores = plan.server_core, plan.load_core
    shares = tokens[:connections], tokens[connections:]
    with ExitStack() as stack, ThreadPoolExecutor(2) as both:
        servers = [stack.enter_context(antiphon()(Place(core, data))) for core in cores]

        def load(number: int) -> Figures:
            folder = plan.folder / f"pair{number}"
            folder.mkdir(exist_ok=True)
            run = Run(connections, plan.seconds, plan.warmup, cores[1 - number], folder)
            server = servers[number]
            return measure(loads.antiphon(SHAPE, shares[number]), server.port, server.pid, run)

        ratios = []
        for _ in range(plan.rounds):
            alone = _pace(load(0))
            ratios.append(sum(map(_pace, both.map(load, range(2)))) / alone)
    what = "two servers of one data folder on two cores: 50 connections each, depth 16, 64 B"
    yield Row(NAME, what, "one server, by its processor time", "ratio", None, Spread(ratios))


def _pace(figures: Figures) -> float:
    """Return the batches that the server answers in a second of its processor time."""
    return figures.batches_per_s / figures.server_core_share
