"""Two servers of one data folder, each on its own core, compared with one: an estimate for two workers.

`antiphon serve` has no workers yet; servers of one folder share what workers would share (the store and the
revocation log). Their load runs on the same two cores, so the figure is what each does in a second of its
processor time.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import workloads
from generator import Figures, Run, measure
from plan import Plan
from processes import Placement, antiphon
from rows import Row, Spread
from sessions import seed_sessions
from workloads import Shape

NAME = "workers/two"
SHAPE = Shape(50, 16, 64)
"""The load of each server: the shape with the largest share of the server's own work and the least kernel work."""


def names() -> list[str]:
    """Return the name of the row."""
    return [NAME]


def rows(plan: Plan) -> Iterator[Row]:
    """Measure one server alone and two at the same time, in turns."""
    if not plan.wanted(NAME):
        return
    data, connections = plan.folder / "pair", plan.few(SHAPE.connections, 10)
    tokens = seed_sessions(data, 2 * connections)
    cores = plan.server_core, plan.load_core
    shares = tokens[:connections], tokens[connections:]
    with ExitStack() as stack, ThreadPoolExecutor(2) as both:
        servers = [stack.enter_context(antiphon()(Placement(core, data))) for core in cores]

        def load(number: int) -> Figures:
            folder = plan.folder / f"pair{number}"
            folder.mkdir(exist_ok=True)
            run = Run(connections, plan.seconds, plan.warmup, cores[1 - number], folder)
            server = servers[number]
            return measure(workloads.antiphon(SHAPE, shares[number]), server.port, server.pid, run)

        ratios = []
        for _ in range(plan.rounds):
            alone = _pace(load(0))
            ratios.append(sum(map(_pace, both.map(load, range(2)))) / alone)
    what = "two servers of one data folder on two cores: 50 connections each, depth 16, 64 B"
    yield Row(NAME, what, "one server, by its processor time", "ratio", None, Spread(ratios))


def _pace(figures: Figures) -> float:
    """Return the batches that the server answers in a second of its processor time."""
    return figures.batches_per_s / figures.server_core_share
