"""Workers: a server with two of them beside a server with one, and what they cost at rest.

Two workers and the load share two cores, so the servers are compared by their pace: what a server does in a second
of the processor time of all its processes, supervisor included. With a core for each worker it can do that as many
times as it has workers: a ratio is twice the pace with two workers, divided by the pace with one.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import workloads
from generator import Run, measure
from idle_connections import resumed_connections
from memory import files_for
from plan import Plan
from processes import Cores, Placement, RunningServer, antiphon, on_core
from rows import Row, Spread, Unit, head, line
from sessions import seed, seed_sessions
from sign_in_cost import hashed_once, known_servers, signed_in
from workloads import Shape

COUNTS = (1, 2)
DEPTHS = {"depth1": 1, "depth16": 16}
CONNECTIONS, SIZE = 50, 64
"""The load for each worker: connections, and bytes of a message."""
TARGET = 1.8
SIGN_INS, RESUMES = ("sign-ins",), ("resumes", "resumes-again")
SIGNED_IN, QUICK_SIGNED_IN = 200, 10
RESUMED, QUICK_RESUMED = 500, 20
ROUNDS_MOST = 8
"""Largest number of rounds of sign-ins: an account has at most ten sessions."""
AT_ONCE = 16
"""Sign-ins at once: fewer than the connections of one source that may be without a session."""
HELD, QUICK_HELD = 1000, 40
WARM_UP = 1
"""Starts that are not counted, after which the files are in the system's cache."""
READY_SECONDS = 30
WORKS = {
    **{name: f"messages: {CONNECTIONS} connections for each, depth {depth}" for name, depth in DEPTHS.items()},
    "sign-ins": f"sign-ins, {AT_ONCE} at once",
    "resumes": "resumes of sessions without a home, 32 at once",
    "resumes-again": "resumes of sessions with a home, 32 at once",
}
EVENNESS, WORKER, SUPERVISOR, START = "evenness", "memory-worker", "memory-supervisor", "start"
OTHERS = (EVENNESS, WORKER, SUPERVISOR, START)
HEAD = ("work", "workers", "a second", "server's µs each", "server's cores", "load's core")


@dataclass(frozen=True)
class Round:
    """The measurements of one round of one server."""

    per_s: float
    cpu_us: float
    """Microseconds of the server's processor time for a message, a sign-in or a resume, kernel included."""
    server_cores: float
    load_core: float
    """Share of a core that the load used."""


Work = Callable[[int, int], Round]
"""Does a round of the given number with the server that has the given number of workers."""


def names() -> list[str]:
    """Return the name of every row."""
    return [f"workers/{name}" for name in (*WORKS, *OTHERS)]


def rows(plan: Plan, details: list[dict[str, Any]]) -> Iterator[Row]:
    """Measure the wanted rows; append to `details` what each server did."""
    wanted = {name for name in (*WORKS, *OTHERS) if plan.wanted(f"workers/{name}")}
    if not wanted:
        return
    plan.say(f"\n{head(HEAD)}")
    bench = Bench(plan)
    for names, measured in ((DEPTHS, bench.messages), (SIGN_INS, bench.sign_ins), (RESUMES, bench.resumes)):
        its = [name for name in names if name in wanted]
        if its:
            done = measured(its)
            for name in its:
                yield _row(plan, name, done[name], details)
    if not wanted.isdisjoint(OTHERS):
        yield from bench.others()


def _row(plan: Plan, name: str, rounds: dict[int, list[Round]], details: list[dict[str, Any]]) -> Row:
    for count, each in rounds.items():
        details.append(_detail(name, count, each))
        plan.say(_line(details[-1]))
    one, two = (rounds[count] for count in COUNTS)
    ratios = [COUNTS[-1] * alone.cpu_us / both.cpu_us for alone, both in zip(one, two, strict=True)]
    against = "one worker, by processor time"
    target = TARGET if name in DEPTHS else None
    return Row(f"workers/{name}", f"two workers: {WORKS[name]}, TCP", against, "ratio", target, Spread(ratios))


class Bench:
    """The rounds of the servers with one worker and with two, by turns."""

    def __init__(self, plan: Plan) -> None:
        """Start nothing yet."""
        self._plan = plan
        self.both: Cores = tuple(dict.fromkeys((plan.server_core, plan.load_core)))
        """The cores that servers and loads share."""

    def messages(self, shapes: list[str]) -> dict[str, dict[int, list[Round]]]:
        """Measure the loads, each round on servers of its own: what is not acknowledged is kept for a minute."""
        plan = self._plan
        done: dict[str, dict[int, list[Round]]] = {name: {count: [] for count in COUNTS} for name in shapes}
        for number in range(plan.rounds):
            for count in COUNTS:
                many = count * plan.few(CONNECTIONS, 5)
                data = plan.folder / f"workers-messages-{number}-{count}"
                tokens = seed_sessions(data, many * len(shapes))
                with self._serving(data, count) as running:
                    for place, name in enumerate(shapes):
                        figures = self._load(name, running, tokens[place * many :][:many], data)
                        done[name][count].append(figures)
        return done

    def _load(self, name: str, running: RunningServer, tokens: list[bytes], folder: Path) -> Round:
        shape = Shape(len(tokens), DEPTHS[name], SIZE)
        run = Run(len(tokens), self._plan.seconds, self._plan.warmup, self.both, folder)
        figures = measure(workloads.antiphon(shape, tokens), running, run)
        rate, share = figures.batches_per_s * shape.depth, figures.server_core_share
        return Round(rate, share / rate * 1e6, share, figures.load_core_share)

    def sign_ins(self, _: list[str]) -> dict[str, dict[int, list[Round]]]:
        """Measure sign-ins."""
        plan = self._plan
        many = plan.few(SIGNED_IN, QUICK_SIGNED_IN)
        with ExitStack() as stack:
            stack.enter_context(on_core(self.both))
            stack.enter_context(hashed_once())
            servers = {}
            for count in COUNTS:
                data = plan.folder / f"workers-sign-ins-{count}"
                seed(data, many)
                servers[count] = stack.enter_context(self._serving(data, count))
                asyncio.run(_sign_in(servers[count], min(AT_ONCE, many), plan.folder))  # to warm up

            def work(_: int, count: int) -> Round:
                running = servers[count]
                return _clocked(running, many, lambda: asyncio.run(_sign_in(running, many, plan.folder)))

            return {"sign-ins": self._by_turns(min(plan.rounds, ROUNDS_MOST), work)}

    def resumes(self, _: list[str]) -> dict[str, dict[int, list[Round]]]:
        """Measure resumes: of sessions without a home, then of the same ones, in another order."""
        plan = self._plan
        many = plan.few(RESUMED, QUICK_RESUMED)
        again: dict[int, list[Round]] = {count: [] for count in COUNTS}
        with ExitStack() as stack:
            stack.enter_context(on_core(self.both))
            servers, tokens = {}, {}
            for count in COUNTS:
                data = plan.folder / f"workers-resumes-{count}"
                tokens[count] = seed_sessions(data, many * plan.rounds)
                servers[count] = stack.enter_context(self._serving(data, count))

            def work(number: int, count: int) -> Round:
                its = tokens[count][number * many :][:many]
                first = _clocked(servers[count], many, lambda: _resume(servers[count], its))
                random.Random(number).shuffle(its)  # or each would come to its home
                again[count].append(_clocked(servers[count], many, lambda: _resume(servers[count], its)))
                return first

            return {"resumes": self._by_turns(plan.rounds, work), "resumes-again": again}

    def _by_turns(self, rounds: int, work: Work) -> dict[int, list[Round]]:
        done: dict[int, list[Round]] = {count: [] for count in COUNTS}
        for number in range(rounds):
            for count in COUNTS:
                done[count].append(work(number, count))
        return done

    @contextmanager
    def _serving(self, data: Path, count: int) -> Iterator[RunningServer]:
        """Run a server with `count` workers, all of which serve."""
        with self._started(data, count) as running:
            _wait_for_workers(data, count)
            yield running

    def _started(self, data: Path, count: int, *, secure: bool = False) -> AbstractContextManager[RunningServer]:
        return antiphon("echo", "--workers", str(count))(Placement(self.both, data, secure))

    def others(self) -> Iterator[Row]:
        """Measure starts; after each the memory of the processes at rest, then how even the dispatch is."""
        plan, wanted = self._plan, self._plan.wanted
        many = files_for(plan.few(HELD, QUICK_HELD))
        figures: dict[str, list[float]] = {name: [] for name in OTHERS}
        warm_up = plan.few(WARM_UP, 0)
        for number in range(warm_up + plan.rounds):
            data = plan.folder / f"workers-start-{number}"
            began = time.perf_counter()
            with self._started(data, COUNTS[-1], secure=True) as running:
                took = time.perf_counter() - began
                if number < warm_up:
                    continue
                figures[START].append(took)
                _wait_for_workers(data, COUNTS[-1])
                running.rest()
                supervisor, *workers = (_private_mib(pid) for pid in running.pids())
                figures[SUPERVISOR].append(supervisor)
                figures[WORKER].append(sum(workers) / len(workers))
                if wanted(f"workers/{EVENNESS}"):
                    figures[EVENNESS].append(_evenness(running, seed_sessions(data, many)))
        what: dict[str, tuple[str, str, Unit]] = {
            EVENNESS: (f"{many:,} connections of two workers: the most of one", "the mean", "of the mean"),
            WORKER: ("an idle worker of two: private memory", "", "MiB"),
            SUPERVISOR: ("the supervisor of two workers: private memory", "", "MiB"),
            START: ("`antiphon serve --workers 2` with an empty data folder, until it listens", "", "s"),
        }
        for name, its in figures.items():
            if wanted(f"workers/{name}"):
                yield Row(f"workers/{name}", *what[name], None, Spread(its))


def _clocked(running: RunningServer, count: int, work: Callable[[], object]) -> Round:
    """Return the measurements of `count` sign-ins or resumes of this process."""
    running.rest()
    began, spent, own = time.perf_counter(), running.processor_seconds(), time.process_time()
    work()
    took = time.perf_counter() - began
    cpu = running.processor_seconds() - spent
    return Round(count / took, cpu / count * 1e6, cpu / took, (time.process_time() - own) / took)


async def _sign_in(running: RunningServer, count: int, folder: Path) -> None:
    known = known_servers(folder)
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        for connection in await asyncio.gather(*(signed_in(running, known, number) for number in numbers)):
            connection.abort()


def _resume(running: RunningServer, tokens: list[bytes]) -> None:
    for sock in resumed_connections(running.port, tokens, secure=False):
        sock.close()


def _wait_for_workers(data: Path, count: int) -> None:
    if count == 1:  # a process without a supervisor
        return
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if (data / "server.log").read_text("utf-8").count(" worker-started ") >= count:
            return
        time.sleep(0.02)
    raise SystemExit(f"bench: not all of {count} workers serve after {READY_SECONDS} s.")


def _evenness(running: RunningServer, tokens: list[bytes]) -> float:
    """Return how many connections the worker with the most has, divided by the mean."""
    held = resumed_connections(running.port, tokens, secure=True)
    counts = [_connections(pid, running.port) for pid in running.pids()[1:]]
    for sock in held:
        sock.close()
    return max(counts) / (sum(counts) / len(counts))


def _connections(pid: int, port: int) -> int:
    """Return how many connections to `port` a process holds."""
    lines = [entry.split() for entry in Path(f"/proc/{pid}/net/tcp").read_text("ascii").splitlines()[1:]]
    here = {f"socket:[{entry[9]}]" for entry in lines if int(entry[1].partition(":")[2], 16) == port}
    links = (_link(descriptor) for descriptor in Path(f"/proc/{pid}/fd").iterdir())
    return sum(link in here for link in links)


def _link(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:  # closed meanwhile
        return ""


def _private_mib(pid: int) -> float:
    """Return the memory that a process shares with no other."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    return sum(int(entry.split()[1]) for entry in rollup.splitlines() if entry.startswith("Private_")) / 1024


# --- the table of the workers -------------------------------------------------------------------------------


def _detail(name: str, count: int, rounds: list[Round]) -> dict[str, Any]:
    return {
        "work": name,
        "workers": count,
        "per_s": Spread([one.per_s for one in rounds]).as_json(),
        "server_us_each": Spread([one.cpu_us for one in rounds]).as_json(),
        "server_cores": Spread([one.server_cores for one in rounds]).as_json(),
        "load_core_share": Spread([one.load_core for one in rounds]).as_json(),
    }


def _line(detail: dict[str, Any]) -> str:
    rate, cost = detail["per_s"], detail["server_us_each"]
    return line(
        (
            detail["work"],
            str(detail["workers"]),
            f"{rate['median']:,.0f} ({rate['min']:,.0f}-{rate['max']:,.0f})",
            f"{cost['median']:,.2f} ({cost['min']:,.2f}-{cost['max']:,.2f})",
            f"{detail['server_cores']['median']:.2f}",
            f"{detail['load_core_share']['median']:.2f}",
        )
    )


def table(details: list[dict[str, Any]]) -> str:
    """Return the summaries of both servers as a Markdown table."""
    return "\n".join([head(HEAD), *map(_line, details)])
