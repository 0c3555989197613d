"""Cost of a relay: messages and resumes of sessions whose home is another process, beside direct ones.

The home and the relaying process share one core, so a ratio of rates is a ratio of what both spend together.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import workloads
from generator import Run, measure
from idle_connections import resumed_connections
from plan import Plan
from processes import Placement, RunningServer, antiphon, on_core
from rows import Row, Spread
from sessions import seed_sessions
from workloads import Shape

SHAPES = {"relay/depth1": Shape(50, 1, 64), "relay/depth16": Shape(50, 16, 64), "relay/16k": Shape(50, 1, 16384)}
RESUMES = "relay/resumes"
RESUMES_A_ROUND, QUICK_RESUMES = 300, 20


def names() -> list[str]:
    """Return the name of every row."""
    return [*SHAPES, RESUMES]


def rows(plan: Plan) -> Iterator[Row]:
    """Measure the wanted rows, direct and relayed in turns."""
    wanted = [name for name in names() if plan.wanted(name)]
    if not wanted:
        return
    most = max(*(shape.connections for shape in SHAPES.values()), plan.few(RESUMES_A_ROUND, QUICK_RESUMES))
    data = plan.folder / "relay"
    tokens = seed_sessions(data, most)
    with ExitStack() as stack:
        home, relaying = (stack.enter_context(antiphon()(Placement(plan.server_core, data))) for _ in range(2))
        for sock in resumed_connections(home.port, tokens, secure=False):  # now it is their home
            sock.close()
        for name in wanted:
            if name == RESUMES:
                yield _resumes(plan, home, relaying, tokens)
            else:
                yield _messages(plan, name, home, relaying, tokens)


def _messages(plan: Plan, name: str, home: RunningServer, relaying: RunningServer, tokens: list[bytes]) -> Row:
    shape = SHAPES[name]
    connections = plan.few(shape.connections, 10)
    folder = plan.folder / name.replace("/", "-")
    folder.mkdir(exist_ok=True)
    run = Run(connections, plan.seconds, plan.warmup, plan.load_core, folder)
    load = workloads.antiphon(shape, tokens[:connections])

    def rate(server: RunningServer) -> float:
        return measure(load, server, run).batches_per_s

    ratios = []
    for _ in range(plan.rounds):
        direct = rate(home)
        ratios.append(rate(relaying) / direct)
    what = f"relayed messages: {connections} connections, depth {shape.depth}, {shape.size} B, plain TCP"
    return Row(name, what, "direct ones", "ratio", None, Spread(ratios))


def _resumes(plan: Plan, home: RunningServer, relaying: RunningServer, tokens: list[bytes]) -> Row:
    def rate(server: RunningServer) -> float:
        began = time.perf_counter()
        held = resumed_connections(server.port, tokens, secure=False)
        took = time.perf_counter() - began
        for sock in held:
            sock.close()
        return len(tokens) / took

    ratios = []
    with on_core(plan.load_core):
        for _ in range(plan.rounds):
            direct = rate(home)
            ratios.append(rate(relaying) / direct)
    what = f"relayed resumes a second, one after the other, {len(tokens)} sessions, plain TCP"
    return Row(RESUMES, what, "direct ones", "ratio", None, Spread(ratios))
