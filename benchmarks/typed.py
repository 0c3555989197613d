"""Cost of typed messages: an echo of values beside one of the same text.

Both servers are on one core and take turns. A ratio is one of processor time, so that other programs do not count.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import workloads
from generator import Load, Run, measure
from plan import Plan
from processes import Placement, RunningServer, antiphon
from rows import Row, Spread
from sessions import seed_sessions
from workloads import Shape

COUNT = '{"count":3}'
ORDER = '{"item":"a violin","count":3,"urgent":true,"note":"to the door"}'
"""Messages of `handlers.Count` and `handlers.Order`, as msgspec writes them."""
CONNECTIONS, DEPTH = 50, 16


@dataclass(frozen=True)
class Case:
    """A typed handler of handlers.py, beside another one that is sent the same."""

    typed: str
    beside: str
    text: str
    target: float | None = None


CASES = {
    "typed/depth16": Case("small", "plain", COUNT, 0.8),
    "typed/fields-depth16": Case("typed", "plain", ORDER),
    "typed/by-hand-depth16": Case("typed", "by_hand", ORDER, 1),
}


@dataclass(frozen=True)
class Values(Shape):
    """A load of the same value."""

    value: str = ""

    @property
    def text(self) -> str:
        """One message."""
        return self.value


def names() -> list[str]:
    """Return the name of every row."""
    return list(CASES)


def rows(plan: Plan) -> Iterator[Row]:
    """Measure the wanted rows, the two servers of each in turns."""
    wanted = {name: case for name, case in CASES.items() if plan.wanted(name)}
    connections = plan.few(CONNECTIONS, 10)
    servers: dict[str, tuple[RunningServer, list[bytes]]] = {}
    with ExitStack() as stack:
        for handler in dict.fromkeys(each for case in wanted.values() for each in (case.beside, case.typed)):
            data = plan.folder / f"typed-{handler}"
            tokens = seed_sessions(data, connections)
            server = stack.enter_context(antiphon(handler)(Placement(plan.server_core, data)))
            servers[handler] = server, tokens
        for name, case in wanted.items():
            folder = plan.folder / name.replace("/", "-")
            folder.mkdir()
            run = Run(connections, plan.seconds, plan.warmup, plan.load_core, folder)
            yield _row(plan, name, case, servers, run)


def _row(
    plan: Plan, name: str, case: Case, servers: dict[str, tuple[RunningServer, list[bytes]]], run: Run
) -> Row:
    shape = Values(run.connections, DEPTH, len(case.text), case.text)
    spent: dict[str, list[float]] = {case.beside: [], case.typed: []}
    for _ in range(plan.rounds):
        for handler, each in spent.items():
            server, tokens = servers[handler]
            each.append(_microseconds(server, workloads.antiphon(shape, tokens), run))
    for handler, each in spent.items():
        plan.say(f"{name}: {handler} takes {Spread(each).median:.2f} µs of the server's processor time a message")
    ratios = [less / more for less, more in zip(spent[case.beside], spent[case.typed], strict=True)]
    what = f"typed messages: {run.connections} connections, depth {DEPTH}, {shape.size} B of JSON, processor time"
    return Row(name, what, f"`{case.beside}`", "ratio", case.target, Spread(ratios))


def _microseconds(server: RunningServer, load: Load, run: Run) -> float:
    """Return the processor time that a message takes the server, kernel included."""
    figures = measure(load, server, run)
    return 1e6 * figures.server_core_share / (figures.batches_per_s * DEPTH)
