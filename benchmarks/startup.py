"""Start-up times in seconds of wall clock, from the start of a process until it is ready."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from plan import Plan
from processes import ANTIPHON, Placement, antiphon, environment, on_core
from rows import Row, Spread

TIMES = 7
IMPORT = "import antiphon.client; from antiphon import connect"
HELP_S, SERVE_S, IMPORT_S = 0.3, 1.0, 0.25
WARM_UP = 1
"""Runs that are not counted, after which the files are in the system's cache."""


def names() -> list[str]:
    """Return the name of every row."""
    return ["start/help", "start/serve", "start/import"]


def rows(plan: Plan) -> Iterator[Row]:
    """Measure the wanted rows."""
    given: list[tuple[str, float, Callable[[int], float]]] = [
        ("`antiphon --help`", HELP_S, lambda _: _run(str(ANTIPHON), "--help")),
        (
            "`antiphon serve` with an empty data folder, until it listens",
            SERVE_S,
            lambda number: _serve(plan, number),
        ),
        (
            "`import antiphon.client` and `from antiphon import connect`, in a fresh Python",
            IMPORT_S,
            lambda _: _run(sys.executable, "-c", IMPORT),
        ),
    ]
    for name, (what, target, work) in zip(names(), given, strict=True):
        if plan.wanted(name):
            with on_core(plan.server_core):
                seconds = [work(number) for number in range(WARM_UP + plan.few(TIMES, 1))]
            yield Row(name, what, "", "s", target, Spread(seconds[WARM_UP:]))


def _run(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment(), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def _serve(plan: Plan, number: int) -> float:
    place = Placement(plan.server_core, plan.folder / f"start{number}", secure=True)
    began = time.perf_counter()
    with antiphon()(place):
        return time.perf_counter() - began
