"""Memory of an idle session: over plain TCP, and over TLS in comparison with other servers' TLS."""

import contextlib
import resource
import socket
from collections.abc import Callable, Iterator

from idle_connections import echo_connections, resumed_connections
from plan import Plan
from processes import Placement, RunningServer, antiphon, echoes, on_core
from rows import Row, Spread
from sessions import seed_sessions

HELD, QUICK_HELD = 20_000, 200
HELD_TLS, QUICK_HELD_TLS = 1_000, 40
SPARE_FILES = 100
"""Files that server and client open beside the connections, with a reserve."""
FIRST = 0.1
"""Share of the sessions opened before the first measurement: the server does its one-time allocations in them."""
LONG = ("--heartbeat-seconds", "3600", "--silence-seconds", "7200")
"""Options that keep heartbeats away, however long it takes to open all sessions."""
TARGET_KIB = 6
TLS = {
    "antiphon": "Antiphon",
    "blind": "uvloop's own TLS, no session",
    "blind-asyncio": "asyncio's own TLS, no session",
}

Open = Callable[[int, int], list[socket.socket]]
"""Opens the connections numbered from the first argument up to, but not including, the second."""


def names() -> list[str]:
    """Return the name of every row."""
    return ["memory-tcp/antiphon", *(f"memory-tls/{name}" for name in TLS)]


def rows(plan: Plan) -> Iterator[Row]:
    """Measure the wanted rows."""
    wanted = [name for name in names() if plan.wanted(name)]
    for name in wanted:
        secure = name.startswith("memory-tls")
        server = name.partition("/")[2]
        count = plan.few(HELD_TLS, QUICK_HELD_TLS) if secure else files_for(plan.few(HELD, QUICK_HELD))
        what = "an idle session over TLS" if secure else "a signed-in idle session, plain TCP"
        kib = _held(plan, server, count, secure=secure) / 1024
        target = None if secure else TARGET_KIB
        title = TLS[server] if secure else "Antiphon"
        yield Row(name, f"{what}, {count:,} held", title, "KiB", target, Spread([kib]))


def files_for(count: int) -> int:
    """Raise the limit on open files for `count` connections; return how many are possible."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (max(hard, count + SPARE_FILES), hard):  # the first needs root
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), most))
            break
    return min(count, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES)


def _held(plan: Plan, server: str, count: int, *, secure: bool) -> float:
    """Return the bytes of memory that one of `count` idle connections takes."""
    data = plan.folder / f"memory-{server}-{secure}"
    tokens = seed_sessions(data, count) if server == "antiphon" else []
    start = antiphon("echo", *LONG) if server == "antiphon" else echoes(server)

    def open_some(first: int, end: int) -> list[socket.socket]:
        if server == "antiphon":
            return resumed_connections(running.port, tokens[first:end], secure=secure)
        return echo_connections(running.port, end - first, secure=secure)

    with start(Placement(plan.server_core, data, secure)) as running, on_core(plan.load_core):
        return _growth(running, count, open_some)


def _growth(running: RunningServer, count: int, open_some: Open) -> float:
    first = int(count * FIRST)
    with contextlib.ExitStack() as held:
        for sock in open_some(0, first):
            held.enter_context(sock)
        before = running.resident_bytes()
        for sock in open_some(first, count):
            held.enter_context(sock)
        return (running.resident_bytes() - before) / (count - first)
