"""The clients: ours beside redis-py, websockets and bare sockets, each with its own server, in interleaved rounds.

`client_loads.py` has the clients. The servers run on one core, the clients on another, one at a time.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import processes
from plan import Plan
from processes import HERE, Placement, RunningServer, Start, Unavailable, antiphon, echoes, environment, pinned
from rows import Row, Spread, head, line
from sessions import seed

import ping

WARMUP = 0.1
"""Seconds of warm-up at the most, in each round."""
SECONDS = 1.0
"""Seconds of a round at the most: there are many clients, and few of them vary."""
PING = "ping-depth16/cpu"
PING_TARGET_US = 6
HEAD = ("load", "client", "messages/s", "client's µs a message")
STOP_SECONDS = 30


@dataclass(frozen=True)
class Client:
    """A client to measure."""

    title: str
    server: str
    """The name in `servers`."""


@dataclass(frozen=True)
class Case:
    """A way to ask, as ours does it and as each client in `targets` does; None means without a target."""

    name: str
    what: str
    loops: tuple[str, ...]
    targets: Mapping[str, float | None]


@dataclass(frozen=True)
class Figures:
    """The measurements of one client in one round."""

    messages_per_s: float
    cpu_us: float
    """Microseconds of processor time for a message, kernel included."""


OURS = "antiphon"
CLIENTS = {
    OURS: Client("Antiphon", "antiphon"),
    "redis": Client("redis-py with hiredis", "valkey"),
    "websockets": Client("websockets", "websockets"),
    "streams": Client("bare streams, 96 B", "blind"),
    "socket": Client("a bare socket, 96 B", "blind"),
}
LOOPS, BLOCKING = ("asyncio", "uvloop"), ("blocking",)
CASES = (
    Case("ask", "`ask`, one after another", LOOPS, {"redis": 1, "websockets": 1.8, "streams": None}),
    Case("gather", "`ask`, 50 at once", LOOPS, {"redis": 2.5}),
    Case("many", "`ask_many`", LOOPS, {"redis": 1.2}),
    Case("ask", "`ask`, one after another", BLOCKING, {"redis": 1.2, "socket": None}),
    Case("many", "`ask_many`", BLOCKING, {"redis": 0.6}),
)
"""redis-py has no `ask_many`: it sends pipelines of 256."""
TRANSPORTS = {"tcp": False, "tls": True}
"""Whether each has TLS."""


def servers(*, secure: bool) -> dict[str, Start]:
    """Return how to start each server; Valkey comes without TLS, so Redis takes its place there."""
    return {
        "antiphon": antiphon(),
        "valkey": processes.redis if secure else processes.valkey,
        "websockets": echoes("websockets", "websockets"),
        "blind": echoes("blind"),
    }


def names() -> list[str]:
    """Return the name of every row."""
    return [
        *(_name(transport, case, loop, other) for transport, case, loop in _cases() for other in case.targets),
        PING,
    ]


def rows(plan: Plan, details: list[dict[str, Any]]) -> Iterator[Row]:
    """Measure the wanted rows; append to `details` what each client did."""
    plan.say(f"\n{head(HEAD)}")
    for transport, secure in TRANSPORTS.items():
        wanted = [
            (case, loop, others)
            for its, case, loop in _cases()
            if its == transport
            and (others := [each for each in case.targets if plan.wanted(_name(transport, case, loop, each))])
        ]
        if wanted:
            yield from _measured(plan, transport, wanted, details, secure=secure)
    if plan.wanted(PING):
        yield _ping(plan)


def _cases() -> Iterator[tuple[str, Case, str]]:
    for transport in TRANSPORTS:
        for case in CASES:
            for loop in case.loops:
                yield transport, case, loop


def _load(transport: str, case: Case, loop: str) -> str:
    return f"{transport}-{loop}-{case.name}"


def _name(transport: str, case: Case, loop: str, other: str) -> str:
    return f"{_load(transport, case, loop)}/{other}"


def _measured(
    plan: Plan,
    transport: str,
    wanted: list[tuple[Case, str, list[str]]],
    details: list[dict[str, Any]],
    *,
    secure: bool,
) -> Iterator[Row]:
    folder = plan.folder / f"clients-{transport}"
    folder.mkdir()
    seed(folder, 1)
    placement = Placement(plan.server_core, folder, secure)
    chosen = [(loop, case.name, name) for case, loop, others in wanted for name in (OURS, *others)]
    missing: dict[str, str] = {}
    figures: dict[tuple[str, str, str], list[Figures]] = {}
    with ExitStack() as stack:
        running = {
            name: _start(stack, servers(secure=secure)[name], placement, name, missing)
            for name in dict.fromkeys(CLIENTS[client].server for _, _, client in chosen)
        }
        if find_spec("redis") is None:
            missing["valkey"] = "no redis is installed"
        clients = {
            each: stack.enter_context(_client(plan, each, server, placement))
            for each in chosen
            if (server := running[CLIENTS[each[2]].server]) is not None and CLIENTS[each[2]].server not in missing
        }
        for _ in range(plan.rounds):
            for each, client in clients.items():
                one = _round(client, min(WARMUP, plan.warmup), min(SECONDS, plan.seconds))
                figures.setdefault(each, []).append(one)
    for case, loop, others in wanted:
        for name in (OURS, *others):
            if (loop, case.name, name) in figures:
                detail = _detail(_load(transport, case, loop), name, figures[loop, case.name, name])
                details.append(detail)
                plan.say(_line(detail))
        for other in others:
            peer = CLIENTS[other]
            what = f"{loop} {case.what}, {transport.upper()}"
            row = Row(_name(transport, case, loop, other), what, peer.title, "ratio", case.targets[other])
            if peer.server in missing:
                yield replace(row, missing=missing[peer.server])
            else:
                ours, theirs = (figures[loop, case.name, each] for each in (OURS, other))
                yield replace(row, figure=_ratios(ours, theirs))


def _start(
    stack: ExitStack, start: Start, placement: Placement, name: str, missing: dict[str, str]
) -> RunningServer | None:
    try:
        return stack.enter_context(start(placement))
    except Unavailable as reason:
        missing[name] = str(reason)
        return None


@contextmanager
def _client(
    plan: Plan, which: tuple[str, str, str], server: RunningServer, placement: Placement
) -> Iterator["subprocess.Popen[str]"]:
    """Run a client that has connected; at the end of the block it leaves."""
    loop, case, name = which
    program, place = HERE / "client_loads.py", (server.address, str(server.port))
    with subprocess.Popen(
        pinned(
            plan.load_core, sys.executable, program, f"{name}-{case}", loop, *place, *placement.certificate()[:1]
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        text=True,
    ) as process:
        try:
            if _read(process)["checksum"] != _checksum():
                raise SystemExit(f"bench: {name}-{case} gave other answers.")
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _checksum() -> int:
    """Return the checksum of the right answers to the first messages."""
    from client_loads import AT_ONCE, batches, checksum  # noqa: PLC0415 - it imports both clients

    return checksum([text for batch in batches("", AT_ONCE) for text in batch])


def _round(client: "subprocess.Popen[str]", warmup: float, seconds: float) -> Figures:
    assert client.stdin is not None
    client.stdin.write(f"{warmup} {seconds}\n")
    client.stdin.flush()
    return Figures(**_read(client))


def _read(client: "subprocess.Popen[str]") -> dict[str, Any]:
    assert client.stdout is not None
    said = client.stdout.readline()
    if not said:
        raise SystemExit("bench: a client failed; its messages are above.")
    return dict(json.loads(said))


def _ratios(ours: list[Figures], theirs: list[Figures]) -> Spread:
    return Spread([one.messages_per_s / other.messages_per_s for one, other in zip(ours, theirs, strict=True)])


def _ping(plan: Plan) -> Row:
    """Measure the processor time that `antiphon ping` takes for a message."""
    folder = plan.folder / "ping"
    folder.mkdir()
    seconds = min(SECONDS, plan.seconds)
    with ping.serving(folder, plan.server_core) as server:
        costs = [
            ping.by_ping(server.port, (1, 16), seconds, plan.load_core, folder).cpu_us for _ in range(plan.rounds)
        ]
    return Row(PING, "`antiphon ping --depth 16`, TCP: processor time", "", "µs", PING_TARGET_US, Spread(costs))


# --- the table of the clients -------------------------------------------------------------------------------


def _detail(case: str, name: str, figures: list[Figures]) -> dict[str, Any]:
    return {
        "case": case,
        "client": name,
        "messages_per_s": Spread([one.messages_per_s for one in figures]).as_json(),
        "client_us_per_message": Spread([one.cpu_us for one in figures]).as_json(),
    }


def _line(detail: dict[str, Any]) -> str:
    rate, cost = detail["messages_per_s"], detail["client_us_per_message"]
    return line(
        (
            detail["case"],
            CLIENTS[detail["client"]].title,
            f"{rate['median']:,.0f} ({rate['min']:,.0f}-{rate['max']:,.0f})",
            f"{cost['median']:.2f} ({cost['min']:.2f}-{cost['max']:.2f})",
        )
    )


def table(details: list[dict[str, Any]]) -> str:
    """Return the summaries of all clients as a Markdown table."""
    return "\n".join([head(HEAD), *map(_line, details)])
