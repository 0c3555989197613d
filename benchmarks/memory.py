"""What an idle session costs the server in memory, over plain TCP and over TLS beside other servers' TLS."""

import contextlib
import resource
import socket
from collections.abc import Callable, Iterator

from clients import echoed, resumed
from plan import Plan
from processes import Place, Running, antiphon, echoes, on_core
from rows import Row, Spread
from sessions import seed_sessions

HELD, QUICK_HELD = 20_000, 200
HELD_TLS, QUICK_HELD_TLS = 1_000, 40
SPARE_FILES = 100
"""What server and client open beside the connections, with room."""
FIRST = 0.1
"""The part of the sessions that come before we look first: what the server makes once is made by then."""
LONG = ("--heartbeat-seconds", "3600", "--silence-seconds", "7200")
"""So that it is let lie, however long it takes to open them all."""
TARGET_KIB = 6
TLS = {
    "antiphon": "Antiphon",
    "blind": "uvloop's own TLS, no session",
    "blind-asyncio": "asyncio's own TLS, no session",
}

Open = Callable[[int, int], list[socket.socket]]
"""Opens the connections with the numbers from the first to before the second."""


def names() -> list[str]:
    """Return the name of every row."""
    return ["memory-tcp/antiphon", *(f"memory-tls/{name}" for name in TLS)]


def rows(plan: Plan) -> Iterator[Row]:
    """Measure what is wanted."""
    wanted = [name for name in names() if plan.wanted(name)]
    for name in wanted:
        secure = name.startswith("memory-tls")
        server = name.partition("/")[2]
        count = plan.few(HELD_TLS, QUICK_HELD_TLS) if secure else _files_for(plan.few(HELD, QUICK_HELD))
        what = "an idle session over TLS" if secure else "a signed-in idle session, plain TCP"
        kib = _held(plan, server, count, secure=secure) / 1024
        target = None if secure else TARGET_KIB
        title = TLS[server] if secure else "Antiphon"
        yield Row(name, f"{what}, {count:,} held", title, "KiB", target, Spread([kib]))


def _files_for(count: int) -> int:
    """Let this process and its servers have so many connections; return how many they can."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (max(hard, count + SPARE_FILES), hard):  # the first needs root
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), most))
            break
    return min(count, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES)


def _held(plan: Plan, server: str, count: int, *, secure: bool) -> float:
    """Return the bytes of memory that each of `count` idle connections takes."""
    data = plan.folder / f"memory-{server}-{secure}"
    tokens = seed_sessions(data, count) if server == "antiphon" else []
    start = antiphon("echo", *LONG) if server == "antiphon" else echoes(server)

    def open_some(first: int, end: int) -> list[socket.socket]:
        if server == "antiphon":
            return resumed(running.port, tokens[first:end], secure=secure)
        return echoed(running.port, end - first, secure=secure)

    with start(Place(plan.server_core, data, secure)) as running, on_core(plan.load_core):
        return _growth(running, count, open_some)


def _growth(running: Running, count: int, open_some: Open) -> float:
    first = int(count * FIRST)
    with contextlib.ExitStack() as held:
        for sock in open_some(0, first):
            held.enter_context(sock)
        before = running.resident_bytes()
        for sock in open_some(first, count):
            held.enter_context(sock)
        return (running.resident_bytes() - before) / (count - first)
