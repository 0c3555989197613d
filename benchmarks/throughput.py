"""Messages a second: Antiphon and other servers under the same load, in interleaved rounds."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import processes
import workloads
from generator import Figures, Load, Run, measure
from plan import Plan
from processes import Placement, RunningServer, Start, Unavailable, antiphon, echoes
from rows import MARK, Row, Spread, head, line
from sessions import seed_sessions
from workloads import Shape

QUICK_CONNECTIONS = 10
LIMIT_SHARE = 0.95
"""Share of its core above which the generator was the limit, not the server."""
HEAD = ("load", "server", "messages/s", "p50 / p99, µs", "server's µs a message", "server's core", "load's core")


@dataclass(frozen=True)
class Contender:
    """A server to measure."""

    title: str
    start: Start
    load: Callable[[Shape, list[bytes]], Load]
    """Returns the load for this server; Antiphon's contains the tokens of its sessions."""

    @property
    def is_antiphon(self) -> bool:
        """Whether the server is an Antiphon, with its own data folder and sessions."""
        return self.load is workloads.antiphon


CONTENDERS = {
    "antiphon": Contender("Antiphon", antiphon(), workloads.antiphon),
    "plain": Contender("a plain handler", antiphon("plain"), workloads.antiphon),
    "at-once": Contender("Antiphon, async def that returns at once", antiphon("at_once"), workloads.antiphon),
    "timer": Contender("Antiphon, await of a timer", antiphon("timer"), workloads.antiphon),
    "queue": Contender("Antiphon, await of a queue", antiphon("queue"), workloads.antiphon),
    "valkey": Contender("Valkey ECHO, authenticated", processes.valkey, workloads.resp_echo),
    "redis": Contender("Redis ECHO over TLS, authenticated", processes.redis, workloads.resp_echo),
    "epoll": Contender("blind echo in C on epoll", processes.c_echo, workloads.blind),
    "blind": Contender("blind echo on uvloop", echoes("blind"), workloads.blind),
    "websockets": Contender("websockets on uvloop", echoes("websockets", "websockets"), workloads.websockets),
    "twisted": Contender("Twisted Int32StringReceiver", echoes("twisted", "twisted"), workloads.length_prefixed),
    "streams": Contender("asyncio streams on uvloop", echoes("streams"), workloads.length_prefixed),
    "streams-timer": Contender(
        "asyncio streams doing the same", echoes("streams-timer"), workloads.length_prefixed
    ),
    "streams-queue": Contender(
        "asyncio streams doing the same", echoes("streams-queue"), workloads.length_prefixed
    ),
}


@dataclass(frozen=True)
class Case:
    """One load, put on the group's own server and on each server in `targets`; None means without a target."""

    name: str
    what: str
    shape: Shape
    targets: Mapping[str, float | None]

    @property
    def title(self) -> str:
        """The load in words."""
        shape = self.shape
        size = f"{shape.size // 1024} KiB" if shape.size >= 1024 else f"{shape.size} B"
        plural = "" if shape.connections == 1 else "s"
        return f"{self.what}: {shape.connections} connection{plural}, depth {shape.depth}, {size}"


@dataclass(frozen=True)
class Group:
    """Cases that are measured on the same running servers."""

    ours: str
    cases: tuple[Case, ...]
    secure: bool = False


ONE, MANY, DEEP, LARGE = Shape(1, 1, 64), Shape(50, 1, 64), Shape(50, 16, 64), Shape(50, 1, 16384)
CROWD, DEEP_CROWD = Shape(200, 1, 64), Shape(200, 16, 64)
"""The loads for a 1 ms timer: a connection gets at most 1,000 answers a second, so the server needs many."""
TCP, TLS = "echo, plain TCP", "echo, TLS 1.3"
BESIDE: dict[str, float | None] = {"epoll": None, "blind": None, "websockets": 4, "twisted": 3}
OVER_TLS = {"redis": 1, "blind": None}
ASYNC = "async def that returns at once"

GROUPS = (
    Group(
        "antiphon",
        (
            Case("tcp-single", TCP, ONE, {"blind": None}),
            Case("tcp-depth1", TCP, MANY, {"valkey": 0.95, **BESIDE, "streams": 1.5}),
            Case("tcp-depth16", TCP, DEEP, {"valkey": 1.5, **BESIDE, "streams": 8}),
            Case("tcp-16k", TCP, LARGE, {"valkey": 1, **BESIDE, "streams": 2.5}),
        ),
    ),
    Group(
        "antiphon",
        (
            Case("tls-depth1", TLS, MANY, OVER_TLS),
            Case("tls-depth16", TLS, DEEP, OVER_TLS),
            Case("tls-16k", TLS, LARGE, OVER_TLS),
        ),
        secure=True,
    ),
    Group(
        "at-once",
        (
            Case("async-depth1", ASYNC, MANY, {"plain": 0.85}),
            Case("async-depth16", ASYNC, DEEP, {"plain": 0.85}),
        ),
    ),
    Group(
        "timer",
        (
            Case("timer", "await of a timer", CROWD, {"streams-timer": 1}),
            Case("timer-depth16", "await of a timer", DEEP_CROWD, {"streams-timer": 1}),
        ),
    ),
    Group(
        "queue",
        (
            Case("queue", "await of a queue", MANY, {"streams-queue": 1}),
            Case("queue-depth16", "await of a queue", DEEP, {"streams-queue": 1}),
        ),
    ),
)


def names() -> list[str]:
    """Return the name of every row."""
    return [_name(case, other) for group in GROUPS for case in group.cases for other in case.targets]


def rows(plan: Plan, details: list[dict[str, Any]]) -> Iterator[Row]:
    """Measure the wanted rows; append to `details` what each server did under each load."""
    plan.say(head(HEAD))
    for number, group in enumerate(GROUPS):
        wanted = []
        for case in group.cases:
            targets = {other: aim for other, aim in case.targets.items() if plan.wanted(_name(case, other))}
            shape = replace(case.shape, connections=plan.few(case.shape.connections, QUICK_CONNECTIONS))
            if targets:
                wanted.append(replace(case, targets=targets, shape=shape))
        if wanted:
            folder = plan.folder / f"group{number}"
            folder.mkdir()
            yield from _group(plan, replace(group, cases=tuple(wanted)), folder, details)


def _name(case: Case, other: str) -> str:
    return f"{case.name}/{other}"


def _group(plan: Plan, group: Group, folder: Path, details: list[dict[str, Any]]) -> Iterator[Row]:
    """Start the servers of a group and measure its cases."""
    sessions = max(case.shape.connections for case in group.cases)
    others = dict.fromkeys(other for case in group.cases for other in case.targets)
    running: dict[str, tuple[RunningServer, list[bytes]]] = {}
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        for name in (group.ours, *others):
            contender = CONTENDERS[name]
            data = folder / (name if contender.is_antiphon else group.ours)
            tokens = seed_sessions(data, sessions) if contender.is_antiphon else running[group.ours][1]
            try:
                server = stack.enter_context(contender.start(Placement(plan.server_core, data, group.secure)))
            except Unavailable as reason:
                missing[name] = str(reason)
            else:
                running[name] = server, tokens
        for case in group.cases:
            servers = {name: running[name] for name in (group.ours, *case.targets) if name in running}
            figures = _measure(plan, case.shape, servers, folder, secure=group.secure)
            for name, measured in figures.items():
                details.append(_detail(case, name, measured))
                plan.say(_line(details[-1]))
            for other in case.targets:
                yield _row(case, group.ours, other, figures, missing.get(other, ""))


def _measure(
    plan: Plan, shape: Shape, servers: dict[str, tuple[RunningServer, list[bytes]]], folder: Path, *, secure: bool
) -> dict[str, list[Figures]]:
    """Return the figures of every server in each round."""
    run = Run(shape.connections, plan.seconds, plan.warmup, plan.load_core, folder, secure)
    given = {
        name: CONTENDERS[name].load(shape, tokens[: shape.connections]) for name, (_, tokens) in servers.items()
    }
    figures: dict[str, list[Figures]] = {name: [] for name in servers}
    for _ in range(plan.rounds):
        for name, (server, _tokens) in servers.items():
            figures[name].append(measure(given[name], server, run))
    return figures


def _row(case: Case, ours: str, other: str, figures: dict[str, list[Figures]], missing: str) -> Row:
    row = Row(_name(case, other), case.title, CONTENDERS[other].title, "ratio", case.targets[other])
    if missing:
        return replace(row, missing=missing)
    pairs = list(zip(figures[ours], figures[other], strict=True))
    return replace(
        row,
        figure=Spread([a.batches_per_s / b.batches_per_s for a, b in pairs]),
        load_was_limit=any(_was_limit(one) for pair in pairs for one in pair),
    )


def _was_limit(figures: Figures) -> bool:
    return figures.load_core_share > LIMIT_SHARE


# --- the first table: each server under each load -----------------------------------------------------------


def _detail(case: Case, name: str, figures: list[Figures]) -> dict[str, Any]:
    """Return the summary of all rounds of one server, for the JSON report."""
    return {
        "case": case.name,
        "server": name,
        "shape": asdict(case.shape),
        "messages_per_s": Spread([one.batches_per_s * case.shape.depth for one in figures]).as_json(),
        "batch_p50_us": Spread([one.p50_us for one in figures]).as_json(),
        "batch_p99_us": Spread([one.p99_us for one in figures]).as_json(),
        "server_us_per_message": Spread([_cost(one, case.shape) for one in figures]).as_json(),
        "server_core_share": Spread([one.server_core_share for one in figures]).as_json(),
        "load_core_share": Spread([one.load_core_share for one in figures]).as_json(),
    }


def _cost(figures: Figures, shape: Shape) -> float:
    """Return the server's processor time for a message in microseconds, kernel included."""
    return figures.server_core_share / (figures.batches_per_s * shape.depth) * 1e6


def _line(detail: dict[str, Any]) -> str:
    """Return the summary as a line of the table."""
    rate, load = detail["messages_per_s"], detail["load_core_share"]["max"]
    return line(
        (
            detail["case"],
            CONTENDERS[detail["server"]].title,
            f"{rate['median']:,.0f} ({rate['min']:,.0f}-{rate['max']:,.0f})",
            f"{detail['batch_p50_us']['median']:,.0f} / {detail['batch_p99_us']['median']:,.0f}",
            f"{detail['server_us_per_message']['median']:.2f}",
            f"{detail['server_core_share']['median']:.2f}",
            f"{load:.2f}{MARK if load > LIMIT_SHARE else ''}",
        )
    )


def table(details: list[dict[str, Any]]) -> str:
    """Return the summaries of all servers as a Markdown table."""
    return "\n".join([head(HEAD), *map(_line, details)])
